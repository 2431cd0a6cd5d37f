from __future__ import annotations

from collections import Counter

import psutil
import pytest
import torch
from card_work import prepare, prepare_in_vain
from test_pool import ends, task
from test_train import CONV, DATA, LINEAR

from netpick.core.errors import WorkError
from netpick.networks.catalogue.template import Recipe
from netpick.networks.paper.spec import NetworkSpec
from netpick.sessions.workers import gpu_processes as cards
from netpick.sessions.workers.gpu_budget import Budget, Layout
from netpick.sessions.workers.gpu_feeder import DeviceLost, Feeder
from netpick.sessions.workers.pool import Task
from netpick.training.engines.graphs.lanes import Lane
from netpick.training.engines.graphs.training import training
from netpick.training.loop import train
from netpick.training.plan import Plan


def tasks(folder, *names):
    return [task(f"{name}_{i}", folder, i, memory=10, params=10) for i, name in enumerate(names)]


def run(folder, names, devices=("cpu",), layout=Layout(1, 2), **options):  # noqa: B008  frozen
    return list(cards.stream(tasks(folder, *names), devices, layout, prepare=prepare, **options))


def spans(folder):
    lines = [line.split() for line in (folder / "log").read_text().splitlines()]
    return {(name, int(attempt)): (float(began), float(ended)) for name, attempt, began, ended, _ in lines}


# One process


class FakeLane(Lane):
    def __init__(self):
        super().__init__()
        self.busy, self.released = 0, 0

    def idle(self):
        self.busy -= 1
        return self.busy < 0

    def release(self):
        self.released += 1


def feed(feeder, due):
    for one in due:
        feeder.add(one)
    happened = []
    while feeder.busy:
        happened.extend(feeder.turn())
    return happened


def test_a_feeder_begins_in_order_and_takes_turns(tmp_path):
    turns = []

    def counting(task, lane):
        for number in range(3):
            turns.append((task.spec.name, number))
            yield None
        return task.failure("done", None, None, 0)

    due = tasks(tmp_path, "a", "b", "c")
    happened = feed(Feeder([FakeLane(), FakeLane()], Budget(10**12), counting), due)
    begun = [one.spec.name for one in happened if isinstance(one, Task)]
    assert begun == ["a_0", "b_1", "c_2"]
    assert turns[:6] == [("a_0", 0), ("b_1", 0), ("a_0", 1), ("b_1", 1), ("a_0", 2), ("b_1", 2)]
    assert [one.network for one in happened if not isinstance(one, Task)] == ["a_0", "b_1", "c_2"]


def test_a_lane_that_waits_holds_back_no_other(tmp_path):
    class Wait:
        over = False

        def done(self):
            return self.over

    gate = Wait()

    def waiting(task, lane):
        if task.spec.name == "slow_0":
            yield gate
        else:
            yield None
            gate.over = task.spec.name == "quick_3"
        return task.failure("done", None, None, 0)

    due = tasks(tmp_path, "slow", "quick", "quick", "quick")
    happened = feed(Feeder([FakeLane(), FakeLane()], Budget(10**12), waiting), due)
    assert [one.network for one in happened if not isinstance(one, Task)][-1] == "slow_0"


def test_a_failure_frees_its_lane_only_when_its_work_has_ended(tmp_path):
    lane, room = FakeLane(), []

    def failing(task, lane):
        yield None
        if task.spec.name == "oom_0":
            lane.busy = 3  # work that was given before still runs
            raise torch.OutOfMemoryError("CUDA out of memory. Tried")
        assert lane.released == 1
        return task.failure("done", None, None, 0)

    budget = Budget(10**12)
    feeder = Feeder([lane], budget, failing, make_room=lambda: room.append(lane.released))
    happened = feed(feeder, tasks(tmp_path, "oom", "plain"))
    results = [one for one in happened if not isinstance(one, Task)]
    assert [(r.status, r.error) for r in results] == [
        ("failed", "out of memory: CUDA out of memory. Tried"),
        ("done", None),
    ]
    assert (lane.released, room, budget.used) == (2, [1], 0)


def test_a_device_that_is_lost_ends_the_process_and_not_one_training(tmp_path):
    def failing(task, lane):
        yield None
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    feeder = Feeder([FakeLane()], Budget(1), failing, lost=lambda error: "illegal" in str(error))
    with pytest.raises(DeviceLost, match="illegal memory access"):
        feed(feeder, tasks(tmp_path, "bad"))


def test_networks_fed_together_learn_what_each_learns_alone(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    recipe = Recipe(batch_size=8, epochs=3, lr=0.01)
    due = [
        Task(NetworkSpec(f"n{seed}", "Linear", "None", spec.layers), seed, seed, recipe, Plan(), None)
        for seed, spec in enumerate([CONV, LINEAR, CONV, LINEAR, CONV])
    ]
    with ThreadPoolExecutor(1) as background:

        def real(task, lane):
            return training(task.spec, recipe, lane, DATA, task.seed, task.plan, task.replicate, background=background)

        happened = feed(Feeder([Lane() for _ in range(3)], Budget(10**12), real), due)
    results = {one.network: one for one in happened if not isinstance(one, Task)}
    for one in due:
        alone = train(one.spec, recipe, "cpu", DATA, one.seed, Plan())
        for ours, theirs in zip(results[one.spec.name].epochs, alone.epochs, strict=True):
            assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)
            assert ours.splits[0].accuracy == theirs.splits[0].accuracy


# Several processes


def test_every_task_comes_back_once_from_any_of_the_processes(tmp_path):
    started = []
    results = run(
        tmp_path, ["meet", "meet", *10 * ["plain"], "fail"], layout=Layout(2, 1), on_start=lambda t: started.append(t)
    )
    assert ends(results) == {("plain", "done", 1): 10, ("meet", "done", 1): 2, ("fail", "failed", 1): 1}
    assert Counter(t.spec.name for t in started) == Counter(r.network for r in results)
    assert {t.device for t in started} == {"cpu"}
    assert next(r.error for r in results if r.status == "failed") == "ValueError: no"
    assert len({line.split()[-1] for line in (tmp_path / "log").read_text().splitlines()}) == 2


def test_deaths_and_lack_of_memory_are_tried_again_alone_and_take_nothing_else_down(tmp_path):
    names = ["plain", "kill", "plain", "oom", "plain", "oom1", "kill1", *6 * ["plain"]]
    results = run(tmp_path, names)
    found = ends(results)
    assert {key: n for key, n in found.items() if key[0] != "plain"} == {
        ("kill", "failed", 2): 1,
        ("kill1", "done", 2): 1,
        ("oom", "failed", 2): 1,
        ("oom1", "done", 2): 1,
    }
    assert sum(n for key, n in found.items() if key[0] == "plain" and key[1] == "done") == 9
    assert len({r.network for r in results}) == len(names)
    errors = {r.network.split("_")[0]: r.error for r in results if r.error}
    assert errors["oom"] == "out of memory: tried to allocate 80 GiB"
    assert errors["kill"].startswith("its worker process died twice, the second time with nothing beside it")
    times = spans(tmp_path)
    for key, (began, ended) in times.items():
        if key[1] == 2:
            others = [span for other, span in times.items() if other != key]
            assert all(end <= began or ended <= start for start, end in others)


def test_a_process_that_never_begins_is_said_to_be_so(tmp_path):
    with pytest.raises(WorkError, match=r"the worker process on cpu ended twice \(exit code 3\) before"):
        list(cards.stream(tasks(tmp_path, *9 * ["plain"]), ["cpu"], Layout(1, 2), prepare=prepare_in_vain))


def test_closing_ends_the_processes(tmp_path):
    results = cards.stream(tasks(tmp_path, "plain", "sleep"), ["cpu"], Layout(1, 2), prepare=prepare)
    assert next(results).network == "plain_0"
    results.close()
    assert list(tmp_path.glob("*.pid"))
    pids = [int(file.read_text()) for file in tmp_path.glob("*.pid")]
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=10)
    assert not alive


def test_nothing_to_do_starts_nothing():
    assert list(cards.stream([], ["cpu"], Layout(1, 1))) == []
