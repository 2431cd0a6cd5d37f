"""A whole session on two cards that are not there: what it hands to `cards`, and what it writes down.

In place of the processes of the cards one feeder trains here, on lanes that stand in for those of a card.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from test_session import STATUSES, TEMPLATE, Recorder

from netpick import Run
from netpick.core import devices as device
from netpick.data import DataRequest, load
from netpick.networks.paper.spec import NetworkSpec
from netpick.sessions import Options, session, train_run
from netpick.sessions.generate import generate_run
from netpick.sessions.workers import gpu_processes
from netpick.sessions.workers.task import Task
from netpick.store.folder import Store
from netpick.training import Job, Plan, cards, train

CARDS = ["cuda:0", "cuda:1"]


@pytest.fixture
def given(monkeypatch):
    """Make the session see two cards; returns what it gives them."""
    found = {}

    def stream(tasks, devices, layout, on_start):
        found.update(tasks=tasks, devices=devices, layout=layout)
        with ThreadPoolExecutor(1) as background:
            feeder = gpu_processes.prepare_card("cpu", layout, background)
            for task in tasks:
                feeder.add(task.on("cpu"))
            while feeder.busy:
                for said in feeder.turn():
                    if isinstance(said, Task):
                        on_start(said.on(devices[0]))
                    else:
                        yield said

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(CARDS))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda name: f"A card, {name}")
    monkeypatch.setattr(device, "usable_cores", lambda: 8)
    monkeypatch.setattr(cards, "PROCESSES", 2)
    monkeypatch.setattr(cards, "STREAMS", 8)
    monkeypatch.setattr(session.gpu_processes, "stream", stream)
    monkeypatch.setattr(session.pool, "stream", None)  # not the way of the CPU
    return found


# Eight cores are enough for two processes on each of two cards. Seven trainings are four a card, three are two.
@pytest.mark.parametrize(
    ("choice", "plan", "workers", "layout"), [("auto", "auto", "auto", (2, 2)), ("cuda:0,cuda:1", "eager", 3, (2, 1))]
)
def test_a_session_on_two_cards(tmp_path, given, choice, plan, workers, layout):
    (tmp_path / "tiny.toml").write_text(TEMPLATE.replace("epochs = 8", "epochs = 3"))
    folder = generate_run(str(tmp_path / "tiny.toml"), tmp_path / "run").store.path
    heard = Recorder()
    options = Options(device=choice, workers=workers, plan=plan, estimate=False)
    assert train_run(folder, options, heard) == STATUSES

    assert given["devices"] == heard.start.devices == CARDS
    assert (given["layout"].processes, given["layout"].streams) == layout
    mode = "graph" if plan == "auto" else "eager"
    assert {task.job.plan.mode for task in given["tasks"]} == {mode}
    rows = {row["hash"]: row for row in Store.open(folder).networks()}
    for task in given["tasks"]:  # by which the budget of a card admits it
        row = rows[task.key[0]]
        assert (task.memory, task.params) == (row["memory"], row["params"])
        assert task.memory > 0
    assert len(heard.tasks) == len(heard.results) == 7
    manifest = Store.open(folder).manifest
    assert manifest["training"]["devices"] == CARDS
    assert manifest["training"]["device"] == "A card, cuda:0"

    run = Run(folder)
    ended = run.trainings.set_index("network")
    assert set(ended.loc[ended["status"] == "done", "plan"]) == {f"fp32/{mode}/fused/tuned"}
    basic = next(task.job for task in given["tasks"] if task.job.spec.name == "Basic")
    dataset = load(DataRequest("digits", "", train_samples=101))
    data = {
        name: (torch.from_numpy(dataset.inputs(name)), torch.from_numpy(split.labels))
        for name, split in dataset.splits.items()
    }
    alone = train(Job(NetworkSpec.from_dict(rows[basic.spec.hash]), basic.recipe, basic.seed, Plan()), data)
    ours = run.epochs[run.epochs["network"] == "Basic"]
    assert ours["train_loss"].tolist() == pytest.approx([epoch.train_loss for epoch in alone.epochs], rel=1e-4)
    assert run.scores(networks=["Basic"])[0] == pytest.approx(alone.epochs[-1].splits[0].scores, abs=1e-3)
