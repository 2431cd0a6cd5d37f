"""Whole trainings of tiny networks on real digits: what is written, and that nothing disturbs it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from safetensors.torch import load_file
from template_cells import BASIC, explicit, linear

from netpick.core.errors import DataError, DeviceError, NetpickError, RunError, TemplateError
from netpick.data import DataRequest, load
from netpick.networks.catalogue.template import Recipe
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import NetworkSpec, seed_of
from netpick.sessions import Listener, Options, estimate_run, signals, tasks, train_run
from netpick.sessions.generate import generate_run
from netpick.sessions.settle import settled
from netpick.sessions.workers import pool
from netpick.store import folder as run_folder
from netpick.store.folder import Store
from netpick.training import choose

BROKEN = explicit(
    "Broken", '"Flatten"', linear("pixels", "classes"), '"BatchNorm1d", num_features = "classes"', '"LogSoftmax"',
    more="recipe = { batch_size = 1 }\n",
)  # fmt: skip
"""A batch norm of single values can't learn from batches of one: it fails."""

STEEP = explicit(
    "Steep", '"Flatten"', linear("pixels", 300), *2 * [linear(300, 300)], linear(300, "classes"), '"LogSoftmax"'
)
"""It diverges, since SGD at this rate is too much for linear layers on linear layers."""

TEMPLATE = f"""
title = "Tiny"
dataset = "digits"

[recipe]
optimizer = "SGD"
optimizer_args = {{ momentum = 0.5 }}
lr = 0.5
batch_size = 25
epochs = 8
train_samples = 101
{BASIC}{BROKEN}{STEEP}
[[cells]]
kind = "sampled"
computation = "Linear"
count = 2
activation = "Tanh"
depth = 2
features = [5, 20]

[[cells]]
kind = "sampled"
computation = "Conv2d"
count = 2
activation = "Tanh"
depth = 2
channels = 2
"""

STATUSES = Counter(done=5, failed=1, diverged=1)
# What may differ between two runs that gave the same: times, and the circumstances.
CIRCUMSTANCES = ["started", "seconds", "train_seconds", "eval_seconds", "workers", "attempts"]
KEYS = ["network", "replicate", "epoch", "split", "sample"]


class Recorder(Listener):
    """Remembers what it hears."""

    def __init__(self):
        self.start, self.tasks, self.results, self.notes = None, [], [], []

    def begin(self, start):
        self.start = start

    def started(self, task):
        self.tasks.append(task)

    def finished(self, result):
        self.results.append(result)

    def note(self, text):
        self.notes.append(text)


def tables(folder):
    """Everything that a run says of its networks, as pandas alone reads it, in an order of its own."""
    out = {}
    for table in ("trainings", "epochs", "predictions"):
        frame = pd.read_parquet(folder / table)
        frame = frame.drop(columns=CIRCUMSTANCES, errors="ignore").astype({"network": str})
        out[table] = frame.sort_values([key for key in KEYS if key in frame], ignore_index=True)
    out["samples"] = pd.read_parquet(folder / "samples.parquet")
    return out


def assert_same(folder, other):
    """Equal to the bit: scores, metrics, statuses, errors, seeds, and the files of the weights."""
    one, two = tables(folder), tables(other)
    for name in one:
        pd.testing.assert_frame_equal(one[name], two[name], check_exact=True, check_dtype=True, check_categorical=False)
    weights = [{file.name: file.read_bytes() for file in (run / "weights").iterdir()} for run in (folder, other)]
    assert weights[0] == weights[1]
    assert len(weights[0]) == STATUSES["done"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run that nothing was trained of."""
    folder = tmp_path_factory.mktemp("session")
    template = folder / "tiny.toml"
    template.write_text(TEMPLATE)
    generate_run(str(template), folder / "made", seed=3)
    return folder / "made"


@pytest.fixture(scope="module")
def undisturbed(made, tmp_path_factory):
    """The same run trained by one worker, and what its listener heard."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    shutil.copytree(made, folder)
    heard = Recorder()
    assert train_run(folder, Options(device="cpu", workers=1), heard) == STATUSES
    return folder, heard


@pytest.fixture
def fresh(made, tmp_path):
    return shutil.copytree(made, tmp_path / "run")


@pytest.fixture
def trained(undisturbed, tmp_path):
    return shutil.copytree(undisturbed[0], tmp_path / "trained")


def small(folder, *names):
    """Leave only some of the networks in a run that was made."""
    store = Store.open(folder)
    rows = [row for row in store.networks() if row["name"] in names]
    manifest = {key: value for key, value in store.manifest.items() if key != "catalogue"}  # of all networks
    shutil.rmtree(folder)
    Store.create(folder, manifest, rows)
    return folder


# What is written


def test_every_network_is_a_row_whatever_became_of_it(undisturbed):
    folder, _ = undisturbed
    rows = pd.read_parquet(folder / "trainings").astype({"network": str}).set_index("network")
    networks = pd.read_parquet(folder / "networks.parquet").set_index("name")
    assert set(rows.index) == set(networks.index)
    assert Counter(rows["status"]) == STATUSES
    assert rows.loc["Steep", "status"] == "diverged"
    assert rows.loc["Broken", "status"] == "failed"
    assert rows.loc["Broken", "error"].startswith(
        "WorkError: a batch norm that sees one value a channel can't be trained on batches of one"
    )
    assert rows["error"].isna().sum() == 5
    assert (rows["attempts"] == 1).all()
    specs = {row["name"]: NetworkSpec.from_dict(row) for row in Store.open(folder).networks()}
    for name, row in rows.iterrows():
        if name != "Broken":  # its hash counts its recipe, a seed does not
            assert row["seed"] == seed_of(3, networks.loc[name, "hash"], 0)
        assert (row["device"], row["plan"], row["workers"]) == ("cpu", str(choose(Recipe(), "cpu", specs[name])), 1)


def test_every_epoch_and_prediction_is_there(undisturbed):
    found = tables(undisturbed[0])
    epochs = found["epochs"]
    done = set(found["trainings"].query("status == 'done'")["network"])
    assert set(epochs[epochs["epoch"] == 8]["network"]) == done
    assert len(epochs[epochs["network"].isin(done)]) == 5 * 8
    assert "Broken" not in set(epochs["network"])
    predictions = found["predictions"]
    assert len(predictions) == 360 * len(epochs)
    for (network, epoch), part in predictions.groupby(["network", "epoch"]):
        scores = part[[f"score_{c}" for c in range(10)]].to_numpy()
        assert list(part["sample"]) == list(range(360))
        np.testing.assert_array_equal(part["predicted"], scores.argmax(1))
        row = epochs[(epochs["network"] == network) & (epochs["epoch"] == epoch)].iloc[0]
        assert row["accuracy"] == pytest.approx((part["predicted"] == part["label"]).mean())
        picked = scores[np.arange(360), part["label"]]
        assert row["loss"] == pytest.approx(-picked.mean(), rel=1e-5)
    best = epochs[epochs["epoch"] == 8].set_index("network")["accuracy"]
    assert best["Basic"] > 0.8  # it did learn


def test_the_samples_are_those_of_the_data_set(undisturbed):
    samples = pd.read_parquet(undisturbed[0] / "samples.parquet")
    dataset = load(DataRequest("digits", "", 3, train_samples=101))
    assert list(samples["label"]) == dataset.split("test").labels.tolist()
    assert set(samples["split"]) == {"test"}


def test_weights_are_read_with_torch_alone_and_give_the_stored_scores(undisturbed):
    folder, _ = undisturbed
    dataset = load(DataRequest("digits", "", 3, train_samples=101))
    inputs = torch.from_numpy(dataset.inputs("test"))
    predictions = tables(folder)["predictions"]
    for row in Store.open(folder).networks():
        file = folder / "weights" / f"{row['name']}-0.safetensors"
        if row["name"] in ("Broken", "Steep"):
            assert not file.exists()
            continue
        model = build(NetworkSpec.from_dict(row).layers)
        model.load_state_dict(load_file(file))
        with torch.no_grad():
            scores = model.eval()(inputs).numpy()
        stored = predictions[(predictions["network"] == row["name"]) & (predictions["epoch"] == 8)]
        np.testing.assert_allclose(scores, stored[[f"score_{c}" for c in range(10)]], rtol=1e-5, atol=1e-5)


def test_trainings_say_how_far_they_are_to_those_who_watch_alone(undisturbed, fresh):
    assert {task.job.sign for task in undisturbed[1].tasks} == {None}
    told = {}

    class Watcher(Recorder):
        watches = True

        def finished(self, result):
            super().finished(result)
            sign = next(task.job.sign for task in self.tasks if task.key == (result.hash, result.replicate))
            told[result.network] = (len(result.epochs), int(Path(sign).read_text()) if Path(sign).exists() else 0)

    heard = Watcher()
    train_run(fresh, Options(device="cpu", workers=1), heard)
    assert len(told) == 7
    assert all(epochs == said for epochs, said in told.values())
    assert any(said > 1 for _, said in told.values())
    assert not Path(heard.tasks[0].job.sign).parent.exists()


def test_the_listener_hears_everything_in_order(undisturbed):
    folder, heard = undisturbed
    start = heard.start
    assert (start.total, start.due, start.workers, start.devices, start.finished) == (7, 7, 1, ["cpu"], Counter())
    assert [task.key for task in heard.tasks] == [(one.hash, one.replicate) for one in heard.results]
    cost = [start.cost[task.key] for task in heard.tasks]
    few = heard.start.workers  # one cheap one for each worker, to see something at once; then the costliest first
    assert sorted(cost)[:few] == cost[:few]
    assert cost[few:] == sorted(cost[few:], reverse=True)
    assert heard.tasks[0].job.spec.name == "Basic"
    assert set(start.cost) == {task.key for task in heard.tasks}
    assert start.estimate.basis == "rough"  # so short a session is not held up by timing
    assert not (folder / "calibration.json").exists()
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    kinds = Counter(event["event"] for event in events)
    assert kinds == Counter(begin=1, start=7, merging=1, end=1) + STATUSES
    assert [event["network"] for event in events if event["event"] == "start"] == [t.job.spec.name for t in heard.tasks]


def test_the_manifest_says_how_it_was_trained_and_nothing_else_is_left(undisturbed):
    folder, _ = undisturbed
    found = Store.open(folder).manifest
    assert found["training"]["devices"] == ["cpu"]
    assert found["training"]["workers"] == 1
    assert found["training"]["torch"] == torch.__version__
    assert found["keep"] == {"scores": "all", "weights": "last"}
    assert not (folder / ".cache").exists()
    assert len(list(folder.glob("predictions/*"))) == 1  # merged
    assert Store.open(folder).scattered() == 0


# Whoever trains, however often it is stopped


def test_two_workers_give_the_same_to_the_bit(undisturbed, fresh):
    heard = Recorder()
    assert train_run(fresh, Options(device="cpu", workers=2), heard) == STATUSES
    assert heard.start.workers == 2
    assert_same(fresh, undisturbed[0])


def test_ctrl_c_keeps_what_is_finished_and_the_rest_is_resumed(undisturbed, fresh, monkeypatch):
    """Pressed at the worst moment: a result is there, and not yet written."""
    commit, calls = Store.commit_all, []

    def commit_and_press(store, results, **given):
        calls.extend(results)
        if len(calls) >= 3:
            signal.raise_signal(signal.SIGINT)
        commit(store, results, **given)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    heard = Recorder()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "commit_all", commit_and_press)
        patch.setattr(pool, "TOGETHER", 2)
        with pytest.raises(KeyboardInterrupt):
            train_run(fresh, Options(device="cpu", workers=2), heard)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert 3 <= len(heard.results) == len(calls) <= 4
    finished = Store.open(fresh).finished()
    assert set(finished) == {(one.hash, one.replicate) for one in heard.results}
    assert json.loads((fresh / "events.jsonl").read_text().splitlines()[-1])["event"] == "interrupted"
    again = Recorder()
    assert train_run(fresh, Options(device="cpu", workers=1), again) == STATUSES
    assert (again.start.due, again.start.finished.total()) == (7 - len(calls), len(calls))
    assert {one.hash for one in again.results}.isdisjoint(one.hash for one in heard.results)
    assert_same(fresh, undisturbed[0])


def test_the_second_ctrl_c_or_sigterm_ends_at_once(monkeypatch):
    codes = []
    monkeypatch.setattr(signals.os, "_exit", codes.append)
    with (  # noqa: PT012  what happens in the middle is what is tested
        pytest.raises(KeyboardInterrupt),
        signals.interruptible(lambda: None) as uninterrupted,
        uninterrupted(),
    ):
        signal.raise_signal(signal.SIGINT)
        assert codes == []
        signal.raise_signal(signal.SIGTERM)
        assert codes == [130]
    with pytest.raises(KeyboardInterrupt), signals.interruptible(lambda: None):
        signal.raise_signal(signal.SIGTERM)
    assert codes == [130]


def test_an_error_of_the_listener_loses_nothing_either(undisturbed, fresh):
    class Clumsy(Recorder):
        def finished(self, result):
            super().finished(result)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train_run(fresh, Options(device="cpu", workers=1), Clumsy())
    assert len(Store.open(fresh).finished()) == 1
    train_run(fresh, Options(device="cpu", workers=1))
    assert_same(fresh, undisturbed[0])


class Assassin(Recorder):
    """Kills all workers, once, when the fourth training is in hand: later it might be through already."""

    def started(self, task):
        super().started(task)
        if len(self.tasks) == 4:
            for child in psutil.Process().children():
                if "loky" in " ".join(child.cmdline()) and "resource_tracker" not in " ".join(child.cmdline()):
                    child.kill()


def test_a_worker_that_is_killed_is_replaced_and_its_task_tried_again(undisturbed, fresh):
    assert train_run(fresh, Options(device="cpu", workers=2), Assassin()) == STATUSES
    attempts = Counter(pd.read_parquet(fresh / "trainings")["attempts"])
    assert attempts[2] >= 1
    assert attempts.total() == 7
    assert_same(fresh, undisturbed[0])


SCRIPT = """
import sys
from netpick.sessions import Options, train_run
train_run(sys.argv[1], Options(device="cpu", workers=int(sys.argv[2])))
"""


def start(folder, workers):
    """Train in another process, the leader of a process group of its own."""
    command = [sys.executable, "-c", SCRIPT, str(folder), str(workers)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_modules_where_the_user_stands_are_no_concern_of_the_workers(fresh, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    for name in ("random", "queue", "numpy", "torch"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('executed')")
    netpick = [Path(sys.executable).with_name("netpick"), "train", fresh, "--device", "cpu", "--workers", "2"]
    subprocess.run(netpick, cwd=tmp_path, check=False, capture_output=True, timeout=300)
    assert Counter(Store.open(fresh).finished().values()) == STATUSES


def test_an_engine_that_is_missing_on_this_machine_is_in_no_plan(fresh, monkeypatch):
    situation = settled(Store.open(fresh), Options(device="cpu"))
    assert "compiled" in {plan.mode for plan in situation.plans.values()}
    monkeypatch.setattr(tasks, "make_ready", lambda plans, on_note: frozenset(plan.mode for plan in plans))
    ready = tasks.with_engines_ready(situation, situation.due)
    assert not {plan.mode for plan in ready.plans.values()} & {plan.mode for plan in situation.plans.values()}


def kill_and_wait_for_orphans(process):
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=4)
    assert not alive, "workers outlive their coordinator"
    return len(children)


def test_kill_9_at_any_moment_loses_only_what_is_in_flight(undisturbed, fresh):
    moments = random.Random(5)
    orphans = 0
    for round_ in range(3):
        had = len(list((fresh / "trainings").iterdir()))
        process = start(fresh, 1 + round_ % 2)
        deadline = time.monotonic() + 60
        while process.poll() is None and len(list((fresh / "trainings").iterdir())) <= had and round_:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.15) if round_ else moments.uniform(0.2, 2))
        if process.poll() is None:
            orphans += kill_and_wait_for_orphans(process)
    assert orphans > 0
    store = Store.open(fresh)
    store.recover()
    assert 0 < len(store.finished()) <= 7
    assert train_run(fresh, Options(device="cpu", workers=2)) == STATUSES
    assert_same(fresh, undisturbed[0])
    assert not list(fresh.rglob("*.tmp"))


def test_a_run_that_is_complete_is_left_as_it_is(undisturbed, trained):
    before = {file: file.stat().st_mtime_ns for file in trained.rglob("*.parquet")}
    heard = Recorder()
    assert train_run(trained, Options(device="cpu", workers=2), heard) == STATUSES
    assert heard.tasks == []
    assert {file: file.stat().st_mtime_ns for file in trained.rglob("*.parquet")} == before
    assert_same(trained, undisturbed[0])


def test_what_a_kill_left_while_the_last_files_were_merged_is_cleared_by_the_same_command(undisturbed, fresh):
    train_run(fresh, Options(device="cpu", workers=1, compact=False), Listener())
    small = {path: path.read_bytes() for path in (fresh / "predictions").glob("*.parquet")}
    train_run(fresh, Options(device="cpu", workers=1), Listener())
    next(iter(small)).write_bytes(small[next(iter(small))])  # one that had not been removed yet
    assert len(pd.read_parquet(fresh / "predictions")) > len(pd.read_parquet(undisturbed[0] / "predictions"))
    train_run(fresh, Options(device="cpu", workers=1), Listener())
    assert_same(undisturbed[0], fresh)


# Options


def test_timeout_may_be_changed_and_timeouts_be_trained_again(undisturbed, fresh):
    found = train_run(fresh, Options(device="cpu", workers=2, overrides=["recipe.timeout=1e-9"]))
    assert found == {"timeout": 6, "failed": 1}
    rows = pd.read_parquet(fresh / "trainings")
    assert set(rows[rows["status"] == "timeout"]["error"]) == {"not finished after 1e-09 seconds"}
    options = Options(device="cpu", workers=2, retry=["timeout", "failed"], overrides=["recipe.timeout=1000"])
    assert train_run(fresh, options) == STATUSES
    assert Store.open(fresh).manifest["recipe"]["timeout"] == 1000
    assert_same(fresh, undisturbed[0])


def test_failed_ones_alone_are_trained_again(trained):
    heard = Recorder()
    assert train_run(trained, Options(device="cpu", workers=1, retry=["failed"]), heard) == STATUSES
    assert [task.job.spec.name for task in heard.tasks] == ["Broken"]


@pytest.mark.parametrize(("scores", "kept"), [("all", [1, 2]), ("last", [2]), ("none", [])])
def test_scores_are_kept_as_asked_and_predictions_always(fresh, scores, kept):
    small(fresh, "Basic", "LinearTanh_1")
    weights = "none" if scores == "none" else "last"
    options = Options(device="cpu", workers=1, epochs=2, scores=scores, weights=weights, compact=False)
    assert train_run(fresh, options) == {"done": 2}
    rows = pd.read_parquet(fresh / "predictions")
    assert len(rows) == 2 * 2 * 360
    assert rows["predicted"].notna().all()
    there = rows[rows["score_0"].notna() & rows["score_9"].notna()]
    assert sorted(set(there["epoch"])) == kept
    assert len(there) == 2 * 360 * len(kept)
    assert Store.open(fresh).manifest["keep"] == {"scores": scores, "weights": weights}
    assert len(list(fresh.glob("weights/*"))) == (2 if weights == "last" else 0)
    assert Store.open(fresh).scattered() == 2  # not merged
    other = {"all": "last", "last": "none", "none": "all"}[scores]
    with pytest.raises(RunError, match=f"2 results with --scores {scores}, got {other}"):
        train_run(fresh, Options(scores=other))


def test_replicates_are_the_same_network_from_other_seeds(undisturbed, fresh):
    small(fresh, "Basic")
    options = Options(device="cpu", workers=2, overrides=["recipe.replicates=3"])
    assert train_run(fresh, options) == {"done": 3}
    found = tables(fresh)
    assert found["trainings"]["replicate"].tolist() == [0, 1, 2]
    assert found["trainings"]["seed"].nunique() == 3
    predictions = found["predictions"].set_index("replicate")
    wanted = tables(undisturbed[0])["predictions"].query("network == 'Basic'")
    pd.testing.assert_frame_equal(
        predictions.loc[0].reset_index(drop=True), wanted.drop(columns="replicate").reset_index(drop=True)
    )
    assert not np.array_equal(predictions.loc[0, "score_0"], predictions.loc[1, "score_0"])
    assert {file.name for file in fresh.glob("weights/*")} == {f"Basic-{i}.safetensors" for i in range(3)}


def test_a_recipe_without_results_may_change_and_the_samples_follow(fresh):
    class Hasty(Listener):
        def begin(self, start):
            raise KeyboardInterrupt

    small(fresh, "Basic")
    with pytest.raises(KeyboardInterrupt):
        train_run(fresh, Options(device="cpu", workers=1), Hasty())
    assert set(pd.read_parquet(fresh / "samples.parquet")["split"]) == {"test"}
    overrides = ["recipe.validation=0.25", "recipe.optimizer=Adam", "recipe.optimizer_args={}"]
    options = Options(device="cpu", workers=1, epochs=1, overrides=overrides)
    assert train_run(fresh, options) == {"done": 1}
    samples = pd.read_parquet(fresh / "samples.parquet")
    assert Counter(samples["split"]) == {"test": 360, "validation": round(0.25 * 1437)}
    assert Counter(pd.read_parquet(fresh / "predictions")["split"]) == Counter(samples["split"])
    assert Store.open(fresh).manifest["recipe"]["validation"] == 0.25


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"epochs": 9}, "epochs from 8 to 9"),
        ({"overrides": ["recipe.lr=0.25"]}, "lr from 0.5 to 0.25"),
        ({"overrides": ["recipe.optimizer_args.momentum=0.25"]}, "{'momentum': 0.5} to {'momentum': 0.25}"),
        ({"overrides": ["recipe.optimizer_args.nesterov=true"]}, "optimizer_args from "),
        ({"overrides": ["recipe.replicates=2"]}, "replicates from 1 to 2"),
        ({"overrides": ["recipe.lr=0.25", "recipe.timeout=5"], "retry": ["failed"]}, "lr from 0.5 to 0.25"),
    ],
)
def test_a_recipe_with_results_is_not_changed(trained, options, what):
    before = (trained / "run.toml").read_bytes()
    with pytest.raises(RunError) as caught:
        train_run(trained, Options(device="cpu", **options))
    message = str(caught.value)
    assert what in message
    assert "has 7 results of another recipe" in message
    assert "leave that out to go on, or make a new run with netpick generate" in message
    assert len(message.splitlines()) == 1
    assert (trained / "run.toml").read_bytes() == before
    assert Counter(Store.open(trained).finished().values()) == STATUSES


def test_what_changes_nothing_is_no_change(trained):
    overrides = ["recipe.lr=0.5", "recipe.optimizer_args.momentum=0.5", "recipe.timeout=77"]
    assert train_run(trained, Options(device="cpu", epochs=8, overrides=overrides)) == STATUSES
    assert Store.open(trained).manifest["recipe"]["timeout"] == 77
    assert (trained / "samples.parquet").is_file()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"workers": 0}, RunError, "--workers: wants auto or a number from 1 on, got 0"),
        ({"workers": -3}, RunError, "--workers: wants auto or a number from 1 on, got -3"),
        ({"scores": "some"}, RunError, "--scores: wants one of all, last, none, got 'some'"),
        ({"weights": "all"}, RunError, "--weights: wants one of last, none, got 'all'"),
        ({"retry": ["failed", "done"]}, RunError, "--retry: wants diverged, failed, timeout, got 'done'"),
        ({"epochs": 0}, TemplateError, "recipe.epochs: expected int >= 1, got 0"),
        ({"overrides": ["recipe.batch_size=-1"]}, TemplateError, "recipe.batch_size: expected int >= 1, got -1"),
        ({"overrides": ["recipe.epoch=3"]}, TemplateError, "recipe.epoch: unknown key (did you mean 'epochs'?)"),
        ({"overrides": ["recipe.lr"]}, TemplateError, "wants key=value"),
        ({"overrides": ["defaults.depth=3"]}, RunError, "training can set recipe.* only"),
        ({"overrides": ["recipe.optimizer=Adm"]}, TemplateError, "did you mean 'Adam'?"),
        ({"overrides": ["recipe.precision=tf32"]}, DeviceError, "precision tf32 exists on CUDA GPUs only"),
        ({"overrides": ["recipe.train_samples=5000"]}, NetpickError, "'digits' has 1437 to train on"),
        ({"device": "gpu"}, DeviceError, "unknown device 'gpu'"),
    ],
)
def test_bad_options_are_refused_before_anything_is_trained(fresh, options, kind, message):
    with pytest.raises(kind) as caught:
        train_run(fresh, Options(**{"device": "cpu", **options}))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert Store.open(fresh).finished() == {}


def contents(folder):
    """Everything in a run's folder but its lock, which holds nothing."""
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != ".lock"}


@pytest.mark.parametrize(
    "options",
    [
        {"plan": "graph"},
        {"precision": "tf32"},
        {"overrides": ["recipe.lr=0.25", "recipe.timeout=5"], "device": "gpu"},
        {"overrides": ["recipe.train_samples=5000", "recipe.lr=0.25"], "scores": "last", "plan": "eager"},
        {"weights": "none", "plan": "explicit", "precision": "bf16"},
    ],
)
def test_options_that_are_refused_leave_no_trace(fresh, options):
    before = contents(fresh)
    with pytest.raises(NetpickError):
        train_run(fresh, Options(**{"device": "cpu", **options}))
    assert contents(fresh) == before
    assert not (fresh / ".cache").exists()
    assert settled(Store.open(fresh), Options(device="cpu")).recipe.lr == 0.5  # a plain `train` is not refused


def test_a_retry_that_is_refused_forgets_nothing(trained):
    store = Store.open(trained)
    store.update_manifest(input={**store.manifest["input"], "digests": {"101": "of other samples"}})
    before = contents(trained)
    options = {"device": "cpu", "retry": ["failed", "diverged"], "overrides": ["recipe.timeout=5"]}
    with pytest.raises(RunError, match="has 7 results with --plan auto, got eager"):
        train_run(trained, Options(plan="eager", **options))
    with pytest.raises(DataError, match="has changed since"):
        train_run(trained, Options(**options))
    assert contents(trained) == before


def test_the_networks_are_read_once_and_the_manifest_is_written_once(fresh, monkeypatch):
    small(fresh, "Basic", "LinearTanh_1")
    seen = Counter()
    read, written = run_folder.read_catalogue, Store.update_manifest

    def read_catalogue(path, *rest):
        seen[path.name] += 1
        return read(path, *rest)

    def update_manifest(self, **keys):
        seen["run.toml"] += 1
        written(self, **keys)

    monkeypatch.setattr(run_folder, "read_catalogue", read_catalogue)
    monkeypatch.setattr(Store, "update_manifest", update_manifest)
    options = Options(device="cpu", workers=1, epochs=1, plan="eager", scores="last", overrides=["recipe.lr=0.25"])
    estimate_run(fresh, options, seconds=0)
    assert seen == {"networks.parquet": 1}
    seen.clear()
    assert train_run(fresh, options) == {"done": 2}
    assert seen == {"networks.parquet": 1, "run.toml": 1}
    manifest = Store.open(fresh).manifest
    assert (manifest["plan"], manifest["keep"]["scores"], manifest["recipe"]["lr"]) == ("eager", "last", 0.25)
    assert manifest["input"]["digest"]
    assert manifest["training"]["workers"] == 1


def test_a_run_that_is_missing_or_in_use_is_refused(fresh):
    with pytest.raises(RunError, match="no run at"):
        train_run(fresh / "nothing", Options())
    with Store.open(fresh).lock(), pytest.raises(RunError, match="in use by another process"):
        train_run(fresh, Options(device="cpu", workers=1))


def test_auto_is_a_worker_a_core(fresh):
    small(fresh, "Basic")
    heard = Recorder()
    train_run(Path(fresh), Options(epochs=1), heard)
    assert heard.start.workers >= 1
    assert heard.start.devices


# Plans


def run_of(made, folder):
    shutil.copytree(made, folder)
    return folder


def test_a_plan_that_was_fixed_is_kept_with_the_run(made, tmp_path):
    folder = run_of(made, tmp_path / "run")
    train_run(folder, Options(device="cpu", workers=1, epochs=1, plan="eager/plain", estimate=False))
    assert Store.open(folder).manifest["plan"] == "eager/plain"
    plans = set(pd.read_parquet(folder / "trainings")["plan"])
    assert plans == {"fp32/eager/fused/plain"}
    train_run(folder, Options(device="cpu", workers=1, estimate=False, plan="plain/eager"))  # says the same
    with pytest.raises(RunError, match="has 7 results with --plan eager/plain, got reference: leave it out to go on"):
        train_run(folder, Options(device="cpu", plan="reference"))


def test_the_reference_plan_gives_the_same_scores_but_for_rounding(made, tmp_path):
    scores = {}
    for plan in ("auto", "reference"):
        folder = run_of(made, tmp_path / plan)
        train_run(folder, Options(device="cpu", workers=1, epochs=2, plan=plan, estimate=False))
        found = tables(folder)
        scores[plan] = found["predictions"].filter(like="score_").to_numpy()
        assert all(f"/{'compiled' if plan == 'auto' else plan}/" in text for text in found["trainings"]["plan"])
    np.testing.assert_allclose(scores["auto"], scores["reference"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "bf61"}, r"--precision: wants one of fp32, tf32, bf16, auto, got 'bf61' \(did you mean 'bf16'"),
        ({"plan": "explicti"}, r"--plan: no 'explicti' \(did you mean 'explicit'"),
        ({"precision": "fp32", "plan": "bf16"}, "--precision fp32 and --plan bf16 contradict each other"),
        ({"precision": "tf32"}, "precision tf32 exists on CUDA GPUs only"),
    ],
)
def test_plans_that_make_no_sense_are_refused(made, tmp_path, options, said):
    folder = run_of(made, tmp_path / "run")
    with pytest.raises(NetpickError, match=said):
        train_run(folder, Options(device="cpu", **options))
    assert not list((folder / "trainings").glob("*.parquet"))
