"""What breaks while a run is trained over a cluster: the tables are those of a cluster where nothing broke."""

from __future__ import annotations

import os
import shutil
import signal

import numpy as np
import pytest

from netpick import Run
from netpick.core.errors import NetpickError, WorkError
from netpick.sessions import Listener, Options, generate_run, train_run
from netpick.sessions.workers import cluster as over
from netpick.sessions.workers.address import Address

distributed = pytest.importorskip("distributed", reason="wants the extra cluster: pip install -e .[cluster]")
pytestmark = pytest.mark.usefixtures("short_waits")

NUMBER = 8


def cluster(**more):
    """Return a cluster of threads of this process: it starts at once."""
    local = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    return distributed.LocalCluster(**{**local, **more}, silence_logs=50)


def options(there, **more):
    return Options(cluster=Address(there.scheduler_address), plan="reference", estimate=False, **more)


class At(Listener):
    """Does something when so many trainings have ended."""

    def __init__(self, **actions):
        self.actions, self.ended = {int(name[1:]): action for name, action in actions.items()}, 0

    def finished(self, result):
        self.ended += 1
        self.actions.get(self.ended, lambda: None)()


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A run with nothing trained in it."""
    folder = tmp_path_factory.mktemp("planned") / "run"
    sets = ("recipe.epochs=1", "recipe.train_samples=200", "recipe.replicates=2")
    generate_run("smoke", str(folder), "digits", limit=NUMBER // 2, overrides=sets)
    return folder


@pytest.fixture(scope="module")
def expected(planned, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    shutil.copytree(planned, folder)
    with cluster() as there:
        assert train_run(folder, options(there)) == {"done": NUMBER}
    return Run(folder)


@pytest.fixture
def folder(planned, tmp_path):
    shutil.copytree(planned, tmp_path / "run")
    return tmp_path / "run"


def is_like(folder, expected):
    run = Run(folder)
    keys = ["network", "replicate"]
    ours, theirs = (r.trainings.sort_values(keys).reset_index(drop=True) for r in (run, expected))
    assert ours[[*keys, "status", "seed", "plan"]].equals(theirs[[*keys, "status", "seed", "plan"]])
    for replicate in (0, 1):
        assert np.array_equal(run.scores(replicate=replicate), expected.scores(replicate=replicate))
    for weights in (expected.path / "weights").iterdir():
        assert (folder / "weights" / weights.name).read_bytes() == weights.read_bytes()
    return True


def test_half_of_the_workers_lost_then_all_and_replaced(folder, expected):
    with cluster(n_workers=2) as there:

        def lose(number):
            lost = [worker for worker in there.workers.values() if worker.status.name == "running"][:number]
            for worker in lost:
                there.sync(worker.close, executor_wait=False, reason="test")
            there.scale(len(there.worker_spec) + len(lost))

        assert train_run(folder, options(there), At(n2=lambda: lose(1), n5=lambda: lose(9))) == {"done": NUMBER}
    assert is_like(folder, expected)


def test_the_scheduler_lost_and_the_same_command_goes_on(folder, expected):
    there = cluster()
    with pytest.raises(WorkError, match=r"the cluster at \S+ was lost .* safe; give the same command"):
        train_run(folder, options(there), At(n3=there.close))
    assert 3 <= len(Run(folder).trainings) < NUMBER
    with cluster() as there:
        assert train_run(folder, options(there)) == {"done": NUMBER}
    assert is_like(folder, expected)


def test_ctrl_c_and_the_same_command_goes_on(folder, expected):
    with cluster() as there:
        with pytest.raises(KeyboardInterrupt):
            train_run(folder, options(there), At(n2=lambda: os.kill(os.getpid(), signal.SIGINT)))
        assert 2 <= len(Run(folder).trainings) < NUMBER
        assert train_run(folder, options(there)) == {"done": NUMBER}
    assert is_like(folder, expected)


def test_workers_leave_when_their_lifetime_is_over_and_others_come_late(folder, expected):
    with cluster() as there:

        def change_shifts():
            there.sync(there.workers[0].close_gracefully)  # what --lifetime calls
            there.scale(2)

        assert train_run(folder, options(there), At(n2=change_shifts)) == {"done": NUMBER}
    assert is_like(folder, expected)


# Results that workers write themselves


def test_workers_that_see_the_folder_write_into_it(folder, expected):
    with cluster() as there:
        assert train_run(folder, options(there, commit="worker")) == {"done": NUMBER}
    assert is_like(folder, expected)
    assert not (folder / ".cache").exists()


def test_what_a_worker_left_half_written_does_not_count(folder, expected):
    """A session is stopped while files of a worker lie there without their row."""
    with cluster() as there:
        with pytest.raises(KeyboardInterrupt):
            train_run(
                folder,
                options(there, commit="worker", compact=False),
                At(n2=lambda: os.kill(os.getpid(), signal.SIGINT)),
            )
        ended = len(Run(folder).trainings)
        row = next((folder / "trainings").glob("*.parquet"))
        row.unlink()
        assert len(Run(folder).trainings) == ended - 1
        assert train_run(folder, options(there, commit="worker")) == {"done": NUMBER}
    assert is_like(folder, expected)


def test_a_receipt_of_a_file_that_is_not_whole_is_not_counted(folder, monkeypatch):
    from netpick.sessions.workers import landing

    real = landing._light

    def torn(result):  # the last thing that a worker does
        path = folder / "predictions" / f"{result.hash}-{result.replicate}.parquet"
        path.write_bytes(path.read_bytes()[:-1])
        return real(result)

    monkeypatch.setattr(landing, "_light", torn)
    with cluster() as there, pytest.raises(WorkError, match=r"written by a worker and is not whole here"):
        train_run(folder, options(there, commit="worker"))
    assert len(Run(folder).trainings) == 0


def test_a_worker_that_does_not_see_the_folder_is_not_used(folder, monkeypatch):
    before = sorted(path for path in folder.rglob("*") if not path.name.startswith(".lock"))
    monkeypatch.setattr(over.Facts, "here", classmethod(_elsewhere(over.Facts.here.__func__)))
    with (
        cluster() as there,
        pytest.raises(
            NetpickError,
            match=r"none of the 1 workers can train: \S+: no access to \S+run, which --commit worker wants",
        ),
    ):
        train_run(folder, options(there, commit="worker"))
    assert sorted(path for path in folder.rglob("*") if not path.name.startswith(".lock")) == before


def _elsewhere(here):
    def inner(cls, choice="cpu", token=None):
        return here(cls, choice, token and token.with_name("another"))

    inner.__name__ = here.__name__  # by which it travels
    return inner


def test_who_writes_is_said_of_clusters_alone(folder):
    with pytest.raises(NetpickError, match="--commit worker goes with --scheduler"):
        train_run(folder, Options(commit="worker"))
