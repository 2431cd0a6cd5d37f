from __future__ import annotations

from collections import Counter

import psutil
import pytest
import torch
from card_work import prepare, prepare_in_vain
from test_loop import CONV, DATA, LINEAR
from test_pool import ends, failed, name_of, task

from netpick.core.errors import WorkError
from netpick.core.recipe import Recipe
from netpick.networks.paper.spec import NetworkSpec
from netpick.sessions.workers import gpu_processes as cards
from netpick.sessions.workers.gpu_budget import Budget, Layout
from netpick.sessions.workers.gpu_feeder import DeviceLost, Feeder
from netpick.sessions.workers.task import Task
from netpick.training import Job, Plan, train
from netpick.training.engines.graphs.lanes import Lane
from netpick.training.engines.graphs.training import training


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
            turns.append((task.job.spec.name, number))
            yield None
        return task.job.result("done", None, 0)

    due = tasks(tmp_path, "a", "b", "c")
    happened = feed(Feeder([FakeLane(), FakeLane()], Budget(10**12), counting), due)
    begun = [said.job.spec.name for said in happened if isinstance(said, Task)]
    assert begun == ["a_0", "b_1", "c_2"]
    assert turns[:6] == [("a_0", 0), ("b_1", 0), ("a_0", 1), ("b_1", 1), ("a_0", 2), ("b_1", 2)]
    assert [name_of(said) for said in happened if not isinstance(said, Task)] == ["a_0", "b_1", "c_2"]


def test_a_lane_that_waits_holds_back_no_other(tmp_path):
    class Wait:
        over = False

        def done(self):
            return self.over

    gate = Wait()

    def waiting(task, lane):
        if task.job.spec.name == "slow_0":
            yield gate
        else:
            yield None
            gate.over = task.job.spec.name == "quick_3"
        return task.job.result("done", None, 0)

    due = tasks(tmp_path, "slow", "quick", "quick", "quick")
    happened = feed(Feeder([FakeLane(), FakeLane()], Budget(10**12), waiting), due)
    assert [name_of(said) for said in happened if not isinstance(said, Task)][-1] == "slow_0"


def test_a_failure_frees_its_lane_only_when_its_work_has_ended(tmp_path):
    lane, room = FakeLane(), []

    def failing(task, lane):
        yield None
        if task.job.spec.name == "oom_0":
            lane.busy = 3  # work that was given before still runs
            raise torch.OutOfMemoryError("CUDA out of memory. Tried")
        assert lane.released == 1
        return task.job.result("done", None, 0)

    budget = Budget(10**12)
    feeder = Feeder([lane], budget, failing, make_room=lambda: room.append(lane.released))
    happened = feed(feeder, tasks(tmp_path, "oom", "plain"))
    results = [said for said in happened if not isinstance(said, Task)]
    assert [(failed(r), r.task.attempts) for r in results] == [(True, 1), (False, 1)]
    assert results[0].outcome.error == "out of memory: CUDA out of memory. Tried"
    assert results[0].deserves_another
    assert results[1].outcome.status == "done"
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
        Task(Job(NetworkSpec(f"n{seed}", "Linear", "None", spec.layers), recipe, seed, Plan(), replicate=seed), None)
        for seed, spec in enumerate([CONV, LINEAR, CONV, LINEAR, CONV])
    ]
    with ThreadPoolExecutor(1) as background:

        def real(task, lane):
            return training(task.job, lane, DATA, background)

        happened = feed(Feeder([Lane() for _ in range(3)], Budget(10**12), real), due)
    results = {said.task.key: said.outcome for said in happened if not isinstance(said, Task)}
    for one in due:
        alone = train(one.job, DATA)
        for ours, theirs in zip(results[one.key].epochs, alone.epochs, strict=True):
            assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)
            assert ours.splits[0].accuracy == theirs.splits[0].accuracy


# Several processes


def test_every_task_comes_back_once_from_any_of_the_processes(tmp_path):
    started = []
    results = run(
        tmp_path, ["meet", "meet", *10 * ["plain"], "fail"], layout=Layout(2, 1), on_start=lambda t: started.append(t)
    )
    assert ends(results) == {("plain", "done", 1): 10, ("meet", "done", 1): 2, ("fail", "failed", 1): 1}
    assert Counter(t.job.spec.name for t in started) == Counter(map(name_of, results))
    assert {t.job.device for t in started} == {"cpu"}
    assert next(filter(failed, results)).outcome.error == "ValueError: no"
    assert len({line.split()[-1] for line in (tmp_path / "log").read_text().splitlines()}) == 2


def test_deaths_and_lack_of_memory_are_tried_again_alone_and_take_nothing_else_down(tmp_path):
    names = ["plain", "kill", "plain", "oom", "plain", "oom1", "kill1", *6 * ["plain"]]
    results = run(tmp_path, names)
    counts = ends(results)
    assert {key: n for key, n in counts.items() if key[0] != "plain"} == {
        ("kill", "failed", 2): 1,
        ("kill1", "done", 2): 1,
        ("oom", "failed", 2): 1,
        ("oom1", "done", 2): 1,
    }
    assert sum(n for key, n in counts.items() if key[0] == "plain" and key[1] == "done") == 9
    assert len({name_of(r) for r in results}) == len(names)
    errors = {name_of(r).split("_")[0]: r.outcome.error for r in filter(failed, results)}
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
    assert name_of(next(results)) == "plain_0"
    results.close()
    assert list(tmp_path.glob("*.pid"))
    pids = [int(file.read_text()) for file in tmp_path.glob("*.pid")]
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=10)
    assert not alive


def test_nothing_to_do_starts_nothing():
    assert list(cards.stream([], ["cpu"], Layout(1, 1))) == []
