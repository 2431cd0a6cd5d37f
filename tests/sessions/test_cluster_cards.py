"""Cards of a cluster's workers that are not there: who gets which, and what a session makes of a mixed cluster."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from itertools import cycle
from types import SimpleNamespace

import pytest
from test_session import STATUSES, TEMPLATE, Recorder

from netpick import Run
from netpick.core import devices
from netpick.core.errors import NetpickError
from netpick.sessions import Options, generate_run, train_run
from netpick.sessions.workers import cluster_card
from netpick.sessions.workers.address import Address
from netpick.sessions.workers.cluster import Cluster
from netpick.sessions.workers.cluster_worker import Device, Facts
from netpick.sessions.workers.gpu_budget import Budget
from netpick.sessions.workers.gpu_feeder import Feeder
from netpick.sessions.workers.gpu_processes import start_training
from netpick.store.folder import Store
from netpick.training import cards as figures
from netpick.training.engines.graphs.lanes import make_lane

distributed = pytest.importorskip("distributed", reason="wants the extra cluster: pip install -e .[cluster]")


# Who gets which card


class Client:
    """What a cluster asks of Dask: a scheduler that knows some workers, each of which sees some cards."""

    status = "running"
    scheduler = SimpleNamespace(identity=None)

    def __init__(self, seen):
        self.facts = {
            f"w{n:02}": replace(
                Facts.here(), devices=tuple(Device(f"cuda:{i}", "A card", 1, c) for i, c in enumerate(s))
            )
            for n, s in enumerate(seen)
        }

    def sync(self, identity, n_workers):
        return {"workers": {address: {"status": "running", "nthreads": 1} for address in self.facts}}

    def run(self, function, choice, token, workers, on_error):
        return {workers[0]: self.facts[workers[0]]}


@pytest.mark.parametrize(
    ("seen", "takers"),
    [
        (["abcd", "bcda", "cdab", "dabc"], [1, 1, 1, 1]),  # as dask cuda worker starts them
        (["a", "b"], [1, 1]),  # CUDA_VISIBLE_DEVICES of one card each
        (4 * ["abcd"], [1, 1, 1, 1]),  # as dask worker does
        (8 * ["abcd"], [2, 2, 2, 2]),
        (["abcd"], [1]),
    ],
)
def test_cards_are_dealt_out_among_the_workers_that_see_them(seen, takers):
    cluster = Cluster(Client(seen), "tcp://there")
    cluster.meet()
    workers = cluster.workers()
    assert len(workers) == len(seen)
    assert sorted(Counter(w.device.identity for w in workers).values()) == takers
    for worker in workers:  # a card by the name that its own worker has for it
        index = int(worker.device.name.partition(":")[2])
        assert worker.facts.devices[index].identity == worker.device.identity
    assert max(w.share for w in workers) == max(takers)  # it takes that part of the memory
    assert cluster.lanes == sum(w.lanes for w in workers) > len(workers)


# A session


@pytest.fixture
def cards(monkeypatch):
    """Make every other worker of this process see a card of its own; a lane of the CPU stands in for it."""
    layouts = []
    monkeypatch.setattr(figures, "STREAMS", 8)

    def prepare(device, layout, background):
        layouts.append(layout)
        lanes = [make_lane("cpu") for _ in range(layout.streams)]
        return Feeder(lanes, Budget(sys.maxsize), lambda task, lane: start_training(task.on("cpu"), lane, background))

    seen = cycle(["cuda:0", "cpu"])

    def resolve(choice):
        here = next(seen)
        if choice not in ("auto", here, here.partition(":")[0]):
            raise devices.DeviceError(f"no device '{choice}' on this machine: it has {here}")
        return [here]

    monkeypatch.setattr(devices, "resolve", resolve)
    monkeypatch.setattr(devices, "describe", lambda name: f"A model of {name.partition(':')[0]}")
    monkeypatch.setattr(devices, "card", lambda name: (1, "the card") if name == "cuda:0" else (None, ""))
    monkeypatch.setattr(cluster_card, "PREPARE", prepare)
    cluster_card.forget_cards()
    return layouts


@pytest.fixture
def scheduler():
    local = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**local, silence_logs=50) as there:
        yield Address(there.scheduler_address)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiny.toml").write_text(TEMPLATE.replace("epochs = 8", "epochs = 3"))
    return generate_run(str(tmp_path / "tiny.toml"), tmp_path / "run").store.path


@pytest.mark.parametrize(("choice", "kinds"), [("auto", {"cuda", "cpu"}), ("cuda", {"cuda"}), ("cpu", {"cpu"})])
def test_networks_are_trained_on_what_each_worker_has(cards, scheduler, folder, choice, kinds):
    heard = Recorder()
    options = Options(cluster=scheduler, device=choice, estimate=False)
    assert train_run(folder, options, heard) == STATUSES
    run = Run(folder)
    done = run.trainings[run.trainings["status"] == "done"]
    graphs = done["plan"].str.contains("/graph/")
    given = {task.job.spec.name: task for task in heard.tasks}
    assert len(given) == 7
    for network, on_card in zip(done["network"], graphs, strict=True):
        assert (given[network].job.device == "cuda:0") == on_card  # and its plan is one of a card
    assert {task.job.kind for task in given.values()} == kinds
    assert {task.where for task in given.values()} <= {event.get("worker") for event in Store.open(folder).events()}
    manifest = Store.open(folder).manifest["training"]
    assert {name.partition(":")[0] for name in manifest["devices"]} == kinds
    assert manifest["workers"] == (8 if "cuda" in kinds else 0) + ("cpu" in kinds)
    assert manifest["device"] == ", ".join(f"A model of {kind}" for kind in sorted(kinds))
    assert [layout.processes for layout in cards] == [1] * ("cuda" in kinds)


def test_what_no_worker_has_is_refused_by_name(cards, scheduler, folder):
    with pytest.raises(NetpickError, match=r"none of the 2 workers can train: \S+: no device 'mps' on this machine"):
        train_run(folder, Options(cluster=scheduler, device="mps"))
    # tf32 is of cards alone: the processor is left out
    heard = Recorder()
    train_run(folder, Options(cluster=scheduler, precision="tf32", estimate=False), heard)
    assert {task.job.device for task in heard.tasks} == {"cuda:0"}
