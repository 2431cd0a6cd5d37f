"""What is shown while networks are trained, on a terminal and elsewhere."""

import io
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from netpick.cli import progress
from netpick.cli.progress import ProgressListener
from netpick.cli.screen import Screen
from netpick.core.result import EpochResult, SplitResult
from netpick.core.words import counted, duration
from netpick.networks.catalogue.template import Recipe
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.sessions.forecast.estimate import Estimate
from netpick.sessions.forecast.remaining import TimeLeft
from netpick.sessions.listener import Start
from netpick.sessions.tasks import with_signs
from netpick.sessions.workers.task import Task
from netpick.training import Job, Plan
from netpick.training.course import Course


def task(n):
    layers = (layer("Linear", in_features=n + 1, out_features=2),)
    return Task(Job(NetworkSpec(f"Linear_{n}", "Linear", "None", layers), Recipe(), n, Plan()), shared=None)


def start_of(tasks, total, cost=10.0, basis="rough", workers=2):
    seconds = {t.key: cost for t in tasks}
    said = Estimate(
        run="runs/x", due=len(tasks), total=total, devices=("cpu",), workers=workers, basis=basis, measured=20,
        calibration_seconds=30.0, spread=0.2, seconds=100.0, low=80.0, high=130.0, worker_seconds=200.0,
        merge_seconds=0.0,
        disk={"predictions": 3_000_000, "rest": 1000}, disk_free=10**10, worker_memory=300_000_000, data_memory=10**8,
        memory_free=10**10, device_memory=None, costliest=(),
    )  # fmt: skip
    left = TimeLeft(seconds, 0.0, workers, basis != "rough")
    finished = Counter(done=total - len(tasks))
    return Start(total, finished, len(tasks), workers, ["cpu"], Recipe(), seconds, said, left)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (185, "3 min 05 s"), (3600, "1 h 00 min"), (7620, "2 h 07 min")],
)
def test_durations_are_said_in_words(seconds, words):
    assert duration(seconds) == words


def test_statuses_are_counted_in_their_own_order():
    assert counted(Counter(failed=1, done=997, diverged=3)) == "997 done, 3 diverged, 1 failed"
    assert counted(Counter()) == "none done"


def test_without_a_terminal_a_line_comes_every_so_often(monkeypatch):
    out = io.StringIO()
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    tasks = [task(n) for n in range(4)]
    with ProgressListener(Screen(file=out, width=200)) as listener:
        start = start_of(tasks, 6, workers=1)
        listener.begin(start)
        for one in tasks[:3]:
            start.left.started(one.key, clock[0])
            listener.started(one)
            clock[0] += 10
            status = "diverged" if one.job.seed == 1 else "done"
            error = "loss became nan" if one.job.seed == 1 else None
            result = one.job.result(status, datetime.now(UTC), 10.0).with_(error=error)
            start.left.finished({one.key: (10.0, status == "done")}, 0.0, clock[0])
            listener.finished(result)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("4 of 6 trainings to do, 2 there already")
    assert lines[1].startswith("time: roughly 1 min 40 s (1 min 20 s to 2 min 10 s)")
    assert lines[2] == "disk: 3.0 MB (predictions 3.0 MB); 10 GB are free"
    assert lines[3].startswith("memory: up to 300 MB for each of 1 worker, and 100 MB for the data set")
    assert lines[4] == "Linear_1: diverged: loss became nan"
    # After 20 seconds two of four equal trainings are done: two more take 20 s.
    assert lines[5] == "4 of 6 networks (3 done, 1 diverged, 6 a minute, 20 s left)"
    assert len(lines) == 6


def test_merging_is_said_with_what_is_left_of_it(monkeypatch):
    out = io.StringIO()
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with ProgressListener(Screen(file=out, width=200)) as listener:
        for at, share, left in ((0, 0.0, 40.0), (1, 0.02, 39.0), (20, 0.5, 20.0), (40, 1.0, None)):
            clock[0] = at
            listener.merging(share, left)
    assert out.getvalue().splitlines() == [
        "merging the small files into large ones, 40 s left ...",
        "merging the small files into large ones, 50 % done, 20 s left ...",
    ]
    out = io.StringIO()
    with ProgressListener(Screen(file=out, width=200, force_terminal=True)) as listener:
        listener.begin(start_of([task(0)], 1))
        listener.merging(0.5, 20.0)
        listener.live.refresh()
    assert "merging the small files into large ones, 50 % done, 20 s left" in out.getvalue()


def test_on_a_terminal_the_bars_say_what_each_worker_does(tmp_path):
    out = io.StringIO()
    tasks = with_signs([task(n) for n in range(3)], str(tmp_path))
    course = Course(tasks[1].job, 10)
    for epoch in (1, 2):
        course.add(EpochResult(epoch, 0.1, 0.1, None, ()))
    tested = SplitResult("test", 0.1, 0.875, (), (), 0.1, None)
    of_two = (EpochResult(1, 0.1, 0.1, None, (tested,)),)
    with ProgressListener(Screen(file=out, width=100, force_terminal=True)) as listener:
        listener.begin(start_of(tasks, 3))
        listener.started(tasks[0])
        listener.started(tasks[1])
        listener.finished(tasks[0].job.result("done", datetime.now(UTC), 1.0).with_(epochs=of_two))
        listener.live.refresh()
    text = re.sub(r"\x1b\[\d*m", "", out.getvalue())
    assert "1/3" in text
    assert re.search(rf"training +Linear_1 +epoch 3 of {tasks[1].job.recipe.epochs} +0 s", text)
    assert "best so far Linear_0 with 87.5 %" in text


@pytest.mark.parametrize("terminal", [False, True])
def test_names_are_shown_as_they_are(terminal):
    out = io.StringIO()
    nasty, written = "[/red]\x1b[35m[bold]", "[/red]\\x1b[35m[bold]"
    job = task(0).job
    named = Task(replace(job, spec=replace(job.spec, name=nasty)), shared=None)
    with ProgressListener(Screen(file=out, width=100, force_terminal=terminal)) as listener:
        listener.begin(start_of([named], 1))
        listener.started(named)
        if listener.live:
            listener.live.refresh()
        listener.finished(named.job.result("failed", datetime.now(UTC), 1.0).with_(error=nasty))
        listener.progress(nasty, 1, 2)
        listener.progress(nasty, 2, 2)
        listener.progress(nasty, 0, 0)
        listener.note(nasty)
    assert "\x1b[35m" not in out.getvalue()
    assert out.getvalue().count(written) >= 5


def test_the_time_left_is_asked_for_once_a_second_and_goes_down_in_between(monkeypatch):
    clock, asked = [100.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    start = start_of([task(0)], 1)
    monkeypatch.setattr(start.left, "seconds", lambda now: asked.append(now) or 10.0)
    with ProgressListener(Screen(file=io.StringIO(), width=100)) as listener:
        listener.begin(start)
        assert listener.seconds_left() == 10
        clock[0] += 0.5
        assert listener.seconds_left() == 9.5
        clock[0] += 0.5
        assert listener.seconds_left() == 10
    assert asked == [100, 101]


def test_the_time_left_is_never_0_before_the_last_training(monkeypatch):
    start = start_of([task(0)], 1)
    monkeypatch.setattr(start.left, "seconds", lambda now: 0.01)
    with ProgressListener(Screen(file=io.StringIO(), width=100)) as listener:
        listener.begin(start)
        assert listener._rates().endswith(", 1 s left")
