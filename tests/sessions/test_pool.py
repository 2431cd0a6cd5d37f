from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from pool_work import work

from netpick.core.recipe import Recipe
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.sessions.workers import pool, process
from netpick.sessions.workers.pool import stream, stream_together
from netpick.sessions.workers.process import attempt, train_task
from netpick.sessions.workers.task import Ended, Failure, Task, result_of
from netpick.training import Job, Plan


def task(name, folder="", number=0, **changes):
    """A task whose hash follows from name and number."""
    layers = (layer("Reshape", shape=[1 + number, 1 + sum(map(ord, name))]),)
    job = Job(NetworkSpec(name, "Linear", "None", layers), Recipe(), 5, Plan())
    return Task(job, str(folder), **changes)


def tasks(folder, *names):
    return [task(f"{name}_{i}", folder, i) for i, name in enumerate(names)]


def run(folder, names, workers=2, **options):
    return list(stream(tasks(folder, *names), work, workers, **options))


def name_of(ended):
    return ended.task.job.spec.name


def failed(ended):
    return isinstance(ended.outcome, Failure)


def ends(results):
    """Name without number -> (status, attempts) of each."""
    return Counter((name_of(r).split("_")[0], "failed" if failed(r) else "done", r.task.attempts) for r in results)


def spans(folder):
    """When each task that ended began and ended, by name and attempt."""
    lines = [line.split() for line in (folder / "log").read_text().splitlines()]
    return {(name, int(attempt)): (float(began), float(ended)) for name, attempt, began, ended in lines}


# Streaming


def test_one_worker_does_one_after_the_other_in_the_given_order(tmp_path):
    started = []
    due = tasks(tmp_path, *12 * ["plain"])
    results = stream(due, work, 1, on_start=lambda t: started.append(t.job.spec.name))
    first = next(results)
    assert name_of(first) == "plain_0"
    assert len(started) < 12  # the first result is there before the last task has been handed out
    rest = list(results)
    names = [f"plain_{i}" for i in range(12)]
    assert [name_of(r) for r in [first, *rest]] == started == names
    times = [spans(tmp_path)[name, 1] for name in names]
    assert all(ended <= began for (_, ended), (began, _) in pairwise(times))
    assert psutil.Process().pid not in {r.outcome for r in [first, *rest]}  # which must survive what they do


def test_two_workers_work_at_the_same_time_and_every_task_comes_back_once(tmp_path):
    results = run(tmp_path, ["meet", "meet", *20 * ["plain"]])
    assert sorted(name_of(r) for r in results) == sorted(
        t.job.spec.name for t in tasks(tmp_path, "meet", "meet", *20 * ["plain"])
    )
    assert len({r.outcome for r in results}) == 2
    assert all((failed(r), r.task.attempts) == (False, 1) for r in results)


def test_no_more_is_done_than_is_taken_but_for_a_few(tmp_path):
    started = []
    results = stream(tasks(tmp_path, *60 * ["plain"]), work, 2, on_start=lambda t: started.append(t))
    pids = {next(results).outcome}
    before = 0
    while len(started) > before:  # until workers rest
        before = len(started)
        time.sleep(0.5)
    assert before < 20
    rest = list(results)
    assert len(started) == 60 == 1 + len({r.task.key for r in rest})
    assert len(pids | {r.outcome for r in rest}) == 2  # the same workers all the time


def test_outcomes_that_wait_are_taken_together(tmp_path):
    groups = stream_together(tasks(tmp_path, *40 * ["plain"]), work, 2)
    taken = [next(groups)]
    time.sleep(1)  # meanwhile others end
    taken += groups
    sizes = [len(group) for group in taken]
    assert sum(sizes) == 40
    assert 3 <= max(sizes) <= pool.TOGETHER
    assert {name_of(one) for group in taken for one in group} == {f"plain_{i}" for i in range(40)}


def test_what_lies_ready_is_not_called_begun(tmp_path):
    started, results = [], []
    ready = stream(tasks(tmp_path, *6 * ["hold"]), work, 2, on_start=lambda one: started.append(one.key))
    taking = threading.Thread(target=lambda: results.extend(ready))
    taking.start()
    while len(list(tmp_path.glob("*.pid"))) < 2:
        time.sleep(0.01)
    time.sleep(0.5)
    begun, marks = len(started), len(list(tmp_path.glob("*.pid")))
    (tmp_path / "go").touch()
    taking.join(60)
    assert begun == marks == 2
    assert len(started) == len(results) == 6


def test_a_worker_that_is_stopped_when_all_is_done_does_not_stay(tmp_path):
    results = stream(tasks(tmp_path, "meet", "meet", "nap"), work, 2)
    pids = {next(results).outcome, next(results).outcome}
    while not (mark := tmp_path / "nap_2-1.pid").exists() or not mark.read_text():
        time.sleep(0.01)
    (idle,) = pids - {int(mark.read_text())}
    os.kill(idle, signal.SIGSTOP)
    assert [name_of(r) for r in results] == ["nap_2"]
    assert psutil.wait_procs([psutil.Process(idle)] if psutil.pid_exists(idle) else [], timeout=10)[1] == []


STOPPED_LATE = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from pool_work import work
from test_pool import tasks
from netpick.sessions.workers import pool, process
from netpick.sessions.workers.pool import stream

if __name__ == "__main__":
    process.STOPPED_LOOKS, process.LOOK_SECONDS, pool.LOOK_SECONDS = 3, 0.1, 0.1
    (one,) = {{ended.outcome for ended in stream(tasks(Path({folder!r}), "plain"), work, 1)}}
    os.kill(one, signal.SIGSTOP)
    print(one)
"""


def test_a_worker_that_is_stopped_after_that_does_not_outlast_the_coordinator(tmp_path):
    (script := tmp_path / "late.py").write_text(
        STOPPED_LATE.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    )
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    with (tmp_path / "said").open("w") as said:  # no pipe, which the worker would hold open
        command, env = [sys.executable, script], {**os.environ, "PYTHONPATH": path}
        subprocess.run(command, stdout=said, check=True, env=env, timeout=60)
    pid = int((tmp_path / "said").read_text())
    assert psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)[1] == []


def test_nothing_to_do_starts_nothing():
    assert list(stream([], work, 2)) == []


def test_a_failure_goes_through_as_it_is(tmp_path):
    assert ends(run(tmp_path, ["plain", "fail", "plain"])) == {("plain", "done", 1): 2, ("fail", "failed", 1): 1}


# Deaths


def test_a_task_that_kills_its_worker_is_tried_again_alone_and_then_failed(tmp_path):
    results = run(tmp_path, ["plain", "kill", "plain", "kill1", "plain", "kill", *6 * ["plain"]], workers=3)
    ended = ends(results)
    assert {key: n for key, n in ended.items() if key[0] != "plain"} == {
        ("kill", "failed", 2): 2,
        ("kill1", "done", 2): 1,
    }
    assert sum(n for key, n in ended.items() if key[0] == "plain") == 10 - 1
    assert {key[1] for key in ended if key[0] == "plain"} == {"done"}
    assert len({name_of(r) for r in results}) == len(results) == 12
    for failure in (r.outcome for r in results if failed(r)):
        assert failure.error.startswith("its worker process died twice, the second time with nothing beside it")
        assert "SIGKILL" in failure.error
        assert len(failure.error.splitlines()) == 1
        assert failure.seconds > 0
        assert failure.started.tzinfo is not None
    times = spans(tmp_path)
    for (name, number), (began, ended) in times.items():
        if number == 2:  # alone: nothing that ended overlaps with it
            others = [span for key, span in times.items() if key != (name, number)]
            assert all(other_end <= began or ended <= other_began for other_began, other_end in others)


def test_a_worker_that_dies_while_it_hands_in_its_result_is_noticed(tmp_path):
    results = run(tmp_path, ["plain", "torn", "plain", "plain"], workers=2)
    assert ends(results) == {("plain", "done", 1): 3, ("torn", "done", 2): 1} or sum(ends(results).values()) == 4
    assert not any(map(failed, results))
    assert {result.task.attempts for result in results if name_of(result).startswith("torn")} == {2}


def test_a_task_that_stops_its_worker_is_tried_again_alone_and_then_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "LOOK_SECONDS", 0.05)
    results = run(tmp_path, ["plain", "stop", "stop1", "plain", "plain"])
    assert {key for key in ends(results) if key[0] != "plain"} == {("stop", "failed", 2), ("stop1", "done", 2)}
    assert sum(n for key, n in ends(results).items() if key[:2] == ("plain", "done")) == 3


def test_a_worker_that_goes_on_soon_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "LOOK_SECONDS", 0.2)
    results = stream(tasks(tmp_path, "plain", "nap", "plain"), work, 2)
    stopped = [next(results)]
    while not (mark := tmp_path / "nap_1-1.pid").exists() or not mark.read_text():
        time.sleep(0.01)
    napping = psutil.Process(int(mark.read_text()))
    napping.suspend()
    time.sleep(0.6)
    napping.resume()
    assert {r.task.attempts for r in (*stopped, *results)} == {1}


def test_what_is_out_of_memory_is_tried_again_alone_once(tmp_path):
    results = run(tmp_path, ["plain", "oom", "oom1", "plain", "plain", "plain"])
    assert ends(results) == {("plain", "done", 1): 4, ("oom", "failed", 2): 1, ("oom1", "done", 2): 1}
    (ended,) = filter(failed, results)
    assert ended.outcome.error == "out of memory: tried to allocate 80 GiB"
    assert ended.outcome.out_of_memory
    (again,) = (r.outcome for r in results if name_of(r).startswith("oom1"))
    assert again not in {r.outcome for r in results if name_of(r).startswith("plain")}  # a worker that may lack memory


def test_closing_the_stream_leaves_no_worker_busy(tmp_path, recwarn):
    results = stream(tasks(tmp_path, "plain", "sleep", "sleep", "sleep"), work, 2)
    assert name_of(next(results)) == "plain_0"
    deadline = time.monotonic() + 30
    while len(list(tmp_path.glob("sleep_*.pid"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    results.close()
    assert not recwarn.list  # joblib warns of what it was told to drop
    sleepers = [int(file.read_text()) for file in tmp_path.glob("sleep_*.pid")]
    _, alive = psutil.wait_procs([psutil.Process(p) for p in sleepers if psutil.pid_exists(p)], timeout=10)
    assert not alive
    assert ends(run(tmp_path, ["plain"])) == {("plain", "done", 1): 1}  # and the next stream has workers again


def test_workers_are_started_with_ctrl_c_blocked():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with process.started_without_ctrl_c():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


# Devices


def test_a_task_goes_to_the_device_with_the_fewest(tmp_path):
    heard = []
    hand = pool._Hand(["cuda:0", "cuda:1", "cuda:2"], heard.append, workers=3)
    given = [hand.give(one) for one in tasks(tmp_path, *5 * ["plain"])]
    assert [one.job.device for one in given] == ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]
    assert heard == given[:3] == hand.begun()  # the others lie ready
    assert hand.take(given[1].key) == given[1]
    assert heard == given[:4]
    hand.take(given[3].key)
    assert heard == given
    hand.take(given[4].key)
    assert hand.give(task("other", number=9)).job.device == "cuda:1"  # 0 and 2 are there


def test_all_devices_are_used(tmp_path):
    devices = Counter(r.task.job.device for r in run(tmp_path, 12 * ["plain"], devices=("one", "other")))
    assert devices.total() == 12
    assert min(devices["one"], devices["other"]) >= 4


# Tasks


def test_a_task_is_plain_and_knows_its_key():
    one = task("plain", attempts=2, workers=3).on("cuda:1")
    assert pickle.loads(pickle.dumps(one)) == one
    assert one.key == (one.job.spec.hash, 0)
    now = datetime.now(UTC)
    row = result_of(Ended(one, Failure("why", now, 1.5)))
    assert (row.network, row.hash, row.replicate, row.status, row.error) == ("plain", one.key[0], 0, "failed", "why")
    assert (row.attempts, row.workers, row.device, row.seed, row.plan) == (2, 3, "cuda:1", 5, str(Plan()))
    assert (row.started, row.seconds, row.epochs, row.weights) == (now, 1.5, (), None)


@pytest.fixture
def in_process(monkeypatch):
    """Let train_task run here: with data of its own, and without taking over the process."""
    data = in_memory()
    monkeypatch.setattr(process, "prepare", lambda: None)
    monkeypatch.setattr(process, "resident", lambda shared, device: data)


def in_memory():
    images = torch.randn(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    return {"train": (images, torch.arange(8) % 3), "test": (images, torch.arange(8) % 3)}


def trained_job(*layers, keep_weights=True):
    spec = NetworkSpec("one", "Linear", "None", layers)
    return Job(spec, Recipe(epochs=1), 5, Plan(), replicate=1, keep_weights=keep_weights)


def trained(*layers, keep_weights=True):
    """The row of a task that is done here."""
    due = Task(trained_job(*layers, keep_weights=keep_weights), None, workers=4, attempts=2)
    key, outcome = attempt(train_task, due)
    assert key == due.key
    return result_of(Ended(due, outcome))


@pytest.mark.usefixtures("in_process")
def test_a_task_is_trained():
    good = (layer("Flatten"), layer("Linear", in_features=4, out_features=3), layer("LogSoftmax"))
    result = trained(*good)
    assert (result.status, result.attempts, result.workers, result.replicate) == ("done", 2, 4, 1)
    assert result.epochs[0].splits[0].scores.shape == (8, 3)
    assert set(result.weights) == {"1.weight", "1.bias"}
    without = trained(*good, keep_weights=False)
    assert without.weights is None
    assert np.array_equal(without.epochs[0].splits[0].scores, result.epochs[0].splits[0].scores)


@pytest.mark.usefixtures("in_process")
def test_what_an_engine_sets_up_late_is_in_no_networks_time(monkeypatch):
    """The first training of an engine in a process is one of a few steps, which is dropped."""
    monkeypatch.setattr(process, "WARM", set())
    real, trainings = process.train, []

    def slow_at_first(job, data):
        result = real(job, data)
        trainings.append(result)
        first = replace(result.epochs[0], train_seconds=5.0 if len(trainings) == 1 else 0.001)
        return result.with_(epochs=(first, *result.epochs[1:]))

    monkeypatch.setattr(process, "train", slow_at_first)
    good = (layer("Flatten"), layer("Linear", in_features=4, out_features=3), layer("LogSoftmax"))
    results = [trained(*good), trained(*good)]
    assert [result.epochs[0].train_seconds for result in results] == [0.001, 0.001]
    assert len(trainings) == 3
    scores = [result.epochs[0].splits[0].scores for result in (*results, real(trained_job(*good), in_memory()))]
    assert all(np.array_equal(scores[0], one) for one in scores)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("layers", "error"),
    [
        (
            (layer("Flatten"), layer("Linear", in_features=9, out_features=3)),
            "RuntimeError: mat1 and mat2 shapes cannot be",
        ),
        ((layer("Flatten"), layer("Linear", in_features=4, out_features=2)), "IndexError: Target 2 is out of bounds."),
    ],
)
def test_every_failure_becomes_a_row(layers, error):
    result = trained(*layers)
    assert result.status == "failed"
    assert result.error.startswith(error)
    assert len(result.error.splitlines()) == 1
    assert (result.attempts, result.workers, result.epochs) == (2, 4, ())


@pytest.mark.usefixtures("in_process")
def test_what_goes_wrong_before_the_training_becomes_a_row(monkeypatch):
    def full(shared, device):
        raise MemoryError("no room for\nthe data")

    monkeypatch.setattr(process, "resident", full)
    result = trained(layer("Flatten"))
    assert (result.status, result.error) == ("failed", "out of memory: no room for the data")


class OutOfMemoryError(RuntimeError):
    """By the name that torch gives it, whichever device it is of."""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no\n  such\tthing"), "ValueError: no such thing"),
        (ValueError(), "ValueError: ValueError"),
        (MemoryError(), "out of memory: MemoryError"),
        (OutOfMemoryError("tried 3 GiB"), "out of memory: tried 3 GiB"),
        (RuntimeError("CUDA out of memory. Tried"), "out of memory: CUDA out of memory. Tried"),
        (RuntimeError("MPS backend Out Of Memory"), "out of memory: MPS backend Out Of Memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            "out of memory: DefaultCPUAllocator: can't allocate memory: you tried",
        ),
        (RuntimeError("x" * 1000), "RuntimeError: " + "x" * 500),
    ],
)
def test_a_failure_is_one_line_and_knows_whether_memory_was_missing(error, text):
    failure = Failure.of(error, datetime.now(UTC))
    assert failure.error == text
    assert failure.out_of_memory == text.startswith("out of memory: ")


def test_what_may_have_lacked_memory_is_tried_again_and_not_called_so(tmp_path):
    failure = Failure.of(RuntimeError("could not create a primitive"), datetime.now(UTC))
    assert Ended(task("plain"), failure).deserves_another
    assert failure.error == "RuntimeError: could not create a primitive"


def test_torchs_own_lack_of_memory_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    failure = Failure.of(caught.value, datetime.now(UTC))
    assert failure.out_of_memory
    assert failure.error.startswith("out of memory: ")


def test_a_network_that_is_called_out_of_memory_has_memory():
    """What an error says first is no sign of what it is."""
    failure = Failure("out of memory: the name of a class", datetime.now(UTC), 0.0)
    assert not Ended(task("plain"), failure).deserves_another


# Endings


def test_the_ways_in_which_workers_ended_are_read_from_joblib():
    text = "A worker process...\n\nThe exit codes of the workers are {SIGKILL(-9), SIGSEGV(-11)}\nDetailed tracebacks"
    assert pool._exit_codes(RuntimeError(text)) == "{SIGKILL(-9), SIGSEGV(-11)}"
    assert pool._exit_codes(RuntimeError("something else")) == ""


def test_a_worker_ends_when_its_coordinator_has_gone(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(process.os, "_exit", lambda code: ended.set())
    process.watch(os.getppid())
    assert not ended.wait(0.1)
    process.watch(-1)  # nobody's parent
    assert ended.wait(10)
    monkeypatch.setattr(process.os, "getppid", lambda: -1)  # lets the first of the two threads end
    ended.clear()
    assert ended.wait(10)
