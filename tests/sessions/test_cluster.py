"""Trainings over a real Dask cluster of processes: the same bits, and nothing lost by what breaks."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pool_work import work

from netpick import Run
from netpick.core.errors import NetpickError, WorkError
from netpick.core.provenance import versions
from netpick.core.recipe import Recipe
from netpick.data import DataRequest, load
from netpick.data.shared import prepare
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.sessions import Listener, Options, estimate_run, generate_run, train_run
from netpick.sessions.workers import cluster as over
from netpick.sessions.workers import cluster_stream as streaming
from netpick.sessions.workers.address import Address
from netpick.sessions.workers.cluster import connected
from netpick.sessions.workers.cluster_stream import bundles, stream
from netpick.sessions.workers.process import train_task
from netpick.sessions.workers.task import Failure, Task
from netpick.training import Job, Plan

distributed = pytest.importorskip("distributed", reason="wants the extra cluster: pip install -e .[cluster]")
pytestmark = pytest.mark.usefixtures("short_waits")

QUIET = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": 1,
    "distributed.worker.multiprocessing-method": "spawn",
}


@pytest.fixture(scope="module")
def scheduler():
    import dask

    local = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with dask.config.set(QUIET), distributed.LocalCluster(**local, silence_logs=50) as there:
        yield there


def task(name, folder="", number=0):
    layers = (layer("Reshape", shape=[1 + number, 1 + sum(map(ord, name))]),)
    return Task(Job(NetworkSpec(name, "Linear", "None", layers), Recipe(), 5, Plan()), str(folder))


def tasks(folder, *names):
    return [task(f"{name}_{i}", folder, i) for i, name in enumerate(names)]


def run(scheduler, due, on_note=lambda text: None):
    with connected(Address(scheduler.scheduler_address)) as there:
        return list(stream(there, due, {t.key: 1.0 for t in due}, lambda t: None, on_note, work))


def ends(results):
    kinds = ((r.task.job.spec.name.split("_")[0], isinstance(r.outcome, Failure)) for r in results)
    return Counter(kinds)


# Packing


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 2)), max_size=60),
    st.integers(1, 20),
    st.none() | st.integers(1, 9),
)
def test_each_task_is_in_one_bundle_in_its_order_with_its_own_data_set(given_, workers, most):
    due = [task("t", folder, n) for n, (_, folder) in enumerate(given_)]
    seconds = {t.key: s for t, (s, _) in zip(due, given_, strict=True)}
    packs = bundles(due, seconds, workers, most)
    assert [t for pack in packs for t in pack] == due
    for pack in packs:
        assert len({t.shared for t in pack}) == 1
        assert most is None or len(pack) <= most
        total = sum(seconds[t.key] for t in pack)
        assert len(pack) == 1 or total <= streaming.BUNDLE_SECONDS + 1e-6


def test_a_thousand_short_trainings_are_few_messages_and_each_worker_has_several():
    due = [task("t", "", n) for n in range(1001)]
    packs = bundles(due, {t.key: 0.1 for t in due}, 4)
    assert 4 * streaming.SHARES <= len(packs) <= 4 * streaming.SHARES + 4


# Over a cluster


PLAN = {"plan": "reference", "estimate": False}


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planned") / "run"
    sets = ("recipe.epochs=2", "recipe.train_samples=200", "recipe.replicates=2", "recipe.folds=3")
    generate_run("smoke", str(folder), "digits", limit=4, overrides=sets)
    return folder


@pytest.fixture(scope="module")
def here(planned, tmp_path_factory):
    """The run, trained by workers of this machine."""
    folder = tmp_path_factory.mktemp("local") / "run"
    shutil.copytree(planned, folder)
    train_run(folder, Options(device="cpu", workers=1, **PLAN), Listener())
    return Run(folder)


def is_like(folder, here):
    there = Run(folder)
    for replicate in (0, 1):
        for split in ("test", "left_out"):
            one, other = (run.scores(split=split, replicate=replicate) for run in (here, there))
            assert np.array_equal(one, other, equal_nan=True)
    keys = ["network", "replicate"]
    seeds = [run.trainings.sort_values(keys)["seed"].tolist() for run in (here, there)]
    assert seeds[0] == seeds[1]
    for weights in (here.path / "weights").iterdir():
        assert weights.read_bytes() == (there.path / "weights" / weights.name).read_bytes()
    return True


def test_a_run_over_a_cluster_has_the_bits_of_a_local_one(scheduler, planned, here, tmp_path):
    folder, where = tmp_path / "there", Address(scheduler.scheduler_address)
    shutil.copytree(planned, folder)
    ahead = estimate_run(folder, Options(cluster=where, plan="reference"), seconds=4)
    assert (ahead.due, ahead.workers, ahead.basis, ahead.memory_free) == (8, 2, "timed", None)
    assert 0 < ahead.low <= ahead.seconds <= ahead.high
    assert ahead.cluster["workers"] == ahead.cluster["threads"] == 2
    assert f"cluster: {where.scheduler}: 2 workers with 2 threads on 1 machine: 2 on " in ahead.text
    assert train_run(folder, Options(cluster=where, **PLAN), Listener()) == {"done": 8}
    assert is_like(folder, here)
    assert Run(folder).manifest["training"]["workers"] == 2


@pytest.mark.parametrize("seconds", [1, 5], ids="the list of workers is {} s old".format)
def test_only_the_culprit_fails_when_workers_die(scheduler, tmp_path, monkeypatch, seconds):
    monkeypatch.setattr("netpick.sessions.workers.cluster.FRESH_SECONDS", seconds)
    due = tasks(tmp_path, *6 * ["plain"], "kill", *6 * ["plain"])
    results = run(scheduler, due)
    assert ends(results) == {("plain", False): 12, ("kill", True): 1}
    failure = next(r for r in results if isinstance(r.outcome, Failure))
    assert failure.task.attempts == 2
    assert "its worker process died twice" in failure.outcome.error
    assert len({r.task.key for r in results}) == 13


def test_what_fails_or_has_no_memory_is_a_failure_after_a_second_try_alone(scheduler, tmp_path):
    results = run(scheduler, tasks(tmp_path, "fail", "oom", "oom1", "plain"))
    assert ends(results) == {("fail", True): 1, ("oom", True): 1, ("oom1", False): 1, ("plain", False): 1}
    attempts = {r.task.job.spec.name.split("_")[0]: r.task.attempts for r in results}
    assert attempts == {"fail": 1, "oom": 2, "oom1": 2, "plain": 1}


def test_workers_that_are_there_are_seen_whatever_the_client_asks_beside(scheduler):
    """Dask's client asks now and then for no workers at all, and keeps that answer where the last one was."""
    import dask

    scheduler.wait_for_workers(2)
    often = {"distributed.client.scheduler-info-interval": "1 ms"}
    with dask.config.set(often), connected(Address(scheduler.scheduler_address)) as there:
        assert {len(there.workers(anew=True)) for _ in range(300)} == {2}


def test_the_data_set_is_sent_where_it_is_not(scheduler, tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 255, (60, 6, 6), dtype=np.uint8)
    labels = np.arange(60) % 3
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels, x_test=images[:9], y_test=labels[:9])
    request = DataRequest(f"npz:{tmp_path / 'own.npz'}", str(tmp_path), folds=3)
    shared = prepare(request, tmp_path / "cache")
    dataset = load(request)
    (tmp_path / "own.npz").unlink()  # so that no worker has it, nor the session's copy
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setattr(streaming, "load", lambda wanted: dataset)
    spec = NetworkSpec(
        "Basic", "Linear", "None",
        (layer("Reshape", shape=[36]), layer("Linear", in_features=36, out_features=3), layer("LogSoftmax", dim=1)),
    )  # fmt: skip
    job = Job(spec, Recipe(epochs=1), 1, Plan())
    due = [Task(replace(job, replicate=n, seed=n, fold=n), shared) for n in range(3)]
    notes = []
    with connected(Address(scheduler.scheduler_address)) as there:
        results = list(stream(there, due, {t.key: 1.0 for t in due}, lambda t: None, notes.append))
    assert notes.count("sending the data set to the workers") == 1
    assert [r.outcome.status for r in results] == 3 * ["done"]
    prepared = prepare(DataRequest("digits", ""), None)  # another data set is refused
    assert prepared.digest != shared.digest
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    expected = _trained_here(due[0], dataset)
    found = next(r.outcome for r in results if r.task.key == due[0].key)
    for one, other in zip(found.epochs[0].splits, expected.epochs[0].splits, strict=True):
        assert np.array_equal(one.scores, other.scores)
    assert [split.split for split in found.epochs[0].splits] == ["test", "left_out"]


def _trained_here(due, dataset):
    import torch

    from netpick.training import train

    data = {
        name: (torch.from_numpy(dataset.inputs(name)), torch.from_numpy(split.labels))
        for name, split in dataset.splits.items()
    }
    data["train"] += (torch.from_numpy(dataset.folds),)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    return train(due.job, data)


def test_closing_the_stream_cancels_what_is_out(scheduler, tmp_path):
    due = tasks(tmp_path, *40 * ["plain"])
    with connected(Address(scheduler.scheduler_address)) as there:
        results = stream(there, due, {t.key: 30.0 for t in due}, lambda t: None, lambda text: None, work)
        next(results)
        results.close()
    assert len(list(tmp_path.glob("*.pid"))) < 40


# What can't be


def test_a_scheduler_that_goes_is_one_line_and_what_came_back_is_safe(tmp_path):
    local = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    there = distributed.LocalCluster(**local, silence_logs=50)
    due = tasks(tmp_path, *3 * ["plain"], *200 * ["plain"])
    seen = []

    def consume():
        with connected(Address(there.scheduler_address)) as cluster:
            for ended in stream(cluster, due, {t.key: 30.0 for t in due}, lambda t: None, lambda text: None, work):
                seen.append(ended)
                if len(seen) == 3:
                    threading.Thread(target=there.close, daemon=True).start()

    with pytest.raises(WorkError, match=r"the cluster at \S+ was lost .* safe"):
        consume()
    assert 3 <= len(seen) < 203


def test_other_versions_are_refused_by_name(scheduler, monkeypatch):
    others = {**versions(), "torch": "1.0"}
    monkeypatch.setattr("netpick.sessions.workers.cluster_worker.versions", lambda: others)
    with pytest.raises(NetpickError, match=r"none of the 2 workers can train: .* torch .* and not 1\.0: install"):
        connected(Address(scheduler.scheduler_address)).__enter__()


def test_no_scheduler_is_one_line(monkeypatch):
    monkeypatch.setattr(over, "CONNECT_SECONDS", 1)
    with pytest.raises(NetpickError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9 "):
        connected(Address("tcp://127.0.0.1:9")).__enter__()


@pytest.mark.parametrize("adaptive", [False, True])
def test_workers_may_come_late(tmp_path, monkeypatch, adaptive):
    monkeypatch.setattr(streaming, "PATIENCE_SECONDS", 0.2)
    local = {"n_workers": 0, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**local, silence_logs=50) as late:
        notes = []

        def on_note(text):
            notes.append(text)
            if not adaptive:  # one that is starts them by itself, as soon as there is work
                late.scale(1)

        if adaptive:
            late.adapt(minimum=0, maximum=1, interval="100 ms")
        assert ends(run(late, tasks(tmp_path, "plain", "plain"), on_note)) == {("plain", False): 2}
    assert adaptive or "has no worker now" in notes[0]


def test_refused_options_leave_no_trace(tmp_path, monkeypatch):
    monkeypatch.setattr(over, "CONNECT_SECONDS", 1)
    generate_run("smoke", str(tmp_path / "run"), "digits", limit=2)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    for options in (Options(cluster=Address("tcp://127.0.0.1:9")), Options(cluster=Address("x"), device="cuda")):
        with pytest.raises(NetpickError):
            train_run(tmp_path / "run", options, Listener())
    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {path for path in after.keys() ^ before.keys() if not path.name.startswith(".lock")} == set()
    assert all(after[path] == content for path, content in before.items() if not path.name.startswith(".lock"))


def test_a_scheduler_needs_no_netpick():
    code = "import pickle, sys; sys.modules['netpick'] = None; pickle.load(sys.stdin.buffer)"
    call = distributed.protocol.pickle.dumps(streaming.CALL)
    assert subprocess.run([sys.executable, "-c", code], input=call, check=False).returncode == 0


def test_the_work_of_a_worker_is_that_of_the_local_pool():
    assert train_task is streaming.train_task
