"""A session in which every training fails of the same error is given up; one in which only some do goes on."""

import json
import shlex
import shutil
from contextlib import nullcontext
from datetime import UTC, datetime

import pandas as pd
import pytest

from netpick import Run
from netpick.cli.app import main
from netpick.core.errors import NetpickError, WorkError
from netpick.sessions import Options, train_run
from netpick.sessions.generate import generate_run
from netpick.sessions.workers import pool
from netpick.sessions.workers.task import Ended, Failure
from netpick.training.job import Job

TEMPLATE = """
title = "Many"
dataset = "digits"
recipe = { epochs = 1, train_samples = 50 }
[[cells]]
kind = "grid"
computation = ["Linear"]
activation = ["ReLU", "Tanh", "GELU"]
features = [4, 5, 6, 7]
[[cells]]
kind = "grid"
computation = ["Conv2d"]
activation = ["ReLU"]
channels = [1, 2, 3]
"""
SAME = "OSError: kernels can't be loaded"
FAST = Options(device="cpu", workers=1, estimate=False, plan="eager/plain")


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    (folder / "many.toml").write_text(TEMPLATE)
    return generate_run(str(folder / "many.toml"), folder / "run").store.path


@pytest.fixture
def run(generated, tmp_path):
    return shutil.copytree(generated, tmp_path / "run $(it's mine)")


@pytest.fixture
def failing(monkeypatch):
    """Let every training fail, in an order of computations, of an error; gives what was left when the session ended."""
    left = []

    def prepare(order, error=lambda spec: SAME):
        def stream(tasks, work, workers, devices, on_start):
            waiting = sorted(tasks, key=lambda task: order(task.job.spec))
            try:
                while waiting:
                    task = waiting.pop(0)
                    on_start(task)
                    yield [Ended(task, Failure(error(task.job.spec), datetime.now(UTC), 0.1))]
            finally:
                left.append(len(waiting))

        monkeypatch.setattr(pool, "stream_together", stream)
        return left

    return prepare


def linear_first(spec):
    return spec.computation != "Linear"


def mixed(spec):
    return spec.activation


def rows(run):
    return pd.read_parquet(run / "trainings")


def test_the_tenth_failure_of_one_error_ends_the_session(run, failing):
    left = failing(mixed)
    with pytest.raises(WorkError, match=f"all 10 trainings of this session have failed of the same error: {SAME}"):
        train_run(run, FAST)
    assert left == [5]
    assert rows(run)["status"].tolist() == ["failed"] * 10
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert events[-1]["event"] == "stopped"
    assert SAME in events[-1]["error"]
    assert not (run / ".cache").exists()


def test_the_command_says_so_and_how_to_go_on(run, failing, capsys):
    failing(mixed)
    words = [str(run), "--device", "cpu", "--no-estimate", "--plan", "eager/plain"]
    with pytest.raises(SystemExit) as end:
        main(["train", *words])
    assert end.value.code == 1
    err = capsys.readouterr().err
    assert err.startswith("netpick: all 10 trainings")
    assert err.count("\n") == 1
    advised = shlex.split(err.rpartition("and then `")[2].removesuffix("`\n"))
    assert advised == ["netpick", "train", str(run), "--retry", "failed"]

    failing(mixed, lambda spec: spec.name)  # mended: now each has an error of its own
    with pytest.raises(SystemExit) as end:
        main([*advised[1:], *words[1:]])
    assert not end.value.code
    assert len(rows(run)) == 15
    assert "the last session is over: 15 of 15 due" in said(["status", str(run)], capsys)


def said(words, capsys):
    with pytest.raises(SystemExit):
        main(words)
    return capsys.readouterr().out


def test_the_same_command_goes_on_with_the_others(run, failing):
    left = failing(mixed)
    with pytest.raises(WorkError):
        train_run(run, FAST)
    assert train_run(run, FAST) == {"failed": 15}
    assert left == [5, 0]
    with pytest.raises(
        NetpickError, match=r"no finished training yet \(15 failed\): `netpick train .* --retry failed`"
    ):
        Run(run).ask("scores")


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (lambda spec: SAME if spec.computation == "Linear" else "TypeError: not that one", 0),
        (lambda spec: SAME if spec.name != "LinearReLU_1" else "TypeError: not that one", 0),
        (lambda spec: SAME, 2),
    ],
)
def test_one_computation_that_fails_is_no_reason_to_stop(run, failing, error, left):
    """Of the twelve that come first all are Linear: only another computation can tell."""
    stopped = failing(linear_first, error)
    with pytest.raises(WorkError) if left else nullcontext():
        train_run(run, FAST)
    assert stopped == [left]
    assert len(rows(run)) == 15 - left


def test_what_does_not_fail_is_no_reason_to_stop(run, failing, monkeypatch):
    failing(mixed)
    end = Job.result
    monkeypatch.setattr(Job, "result", lambda self, status, *more: end(self, "diverged", *more))
    assert train_run(run, FAST) == {"diverged": 15}
