"""What is shown while networks are trained, on a terminal and elsewhere."""

import io
from collections import Counter
from datetime import UTC, datetime

import pytest
from rich.console import Console

from netpick import progress
from netpick.plan import Plan
from netpick.pool import Task
from netpick.progress import ProgressListener
from netpick.report.words import counted, duration
from netpick.session import Start
from netpick.spec import NetworkSpec, layer
from netpick.template import Recipe


def task(n):
    layers = (layer("Linear", in_features=n + 1, out_features=2),)
    return Task(NetworkSpec(f"Linear_{n}", "Linear", "None", layers), 0, n, Recipe(), Plan(), shared=None)


def start_of(tasks, total):
    cost = {t.spec.hash: 10.0 for t in tasks}
    return Start(total, Counter(done=total - len(tasks)), len(tasks), 2, ["cpu"], Recipe(), cost, 10.0 * len(tasks))


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
    with ProgressListener(Console(file=out, width=100)) as listener:
        listener.begin(start_of(tasks, 6))
        for one in tasks[:3]:
            listener.started(one)
            clock[0] += 10
            status = "diverged" if one.seed == 1 else "done"
            error = "loss became nan" if one.seed == 1 else None
            result = one.failure(status, error, datetime.now(UTC), 1.0)
            listener.finished(result)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("4 of 6 trainings to do, 2 there already")
    assert lines[1] == "Linear_1: diverged: loss became nan"
    # After 20 seconds two of four equal trainings are done: two more take 20 s.
    assert lines[2] == "4 of 6 networks (3 done, 1 diverged, 6 a minute, 20 s left)"
    assert len(lines) == 3


def test_on_a_terminal_the_bars_say_what_each_worker_does():
    out = io.StringIO()
    tasks = [task(n) for n in range(3)]
    with ProgressListener(Console(file=out, width=100, force_terminal=True)) as listener:
        listener.begin(start_of(tasks, 3))
        listener.started(tasks[0])
        listener.started(tasks[1])
        listener.finished(tasks[0].failure("done", None, datetime.now(UTC), 1.0))
        listener.live.refresh()
    text = out.getvalue()
    assert "1/3" in text
    assert "training  Linear_1" in text.replace("\x1b[2m", "").replace("\x1b[0m", "")
