"""What is said beforehand, held against what then happens, on real networks of real digits."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections import Counter
from functools import partial
from types import SimpleNamespace

import pytest

from netpick.core.devices import usable_cores
from netpick.core.errors import NetpickError, RunError
from netpick.networks.catalogue.template import Recipe
from netpick.networks.paper.spec import NetworkSpec
from netpick.sessions import Listener, Options, estimate_run, train_run
from netpick.sessions.forecast import bookkeeping, calibration, estimate, outlook
from netpick.sessions.forecast.bookkeeping import Bookkeeping, Overheads, of_epochs
from netpick.sessions.forecast.estimate import HANDLING_SECONDS, disk, predict, size
from netpick.sessions.forecast.model import Timed, fit, rough
from netpick.sessions.forecast.probe import Probed, time_task
from netpick.sessions.forecast.work import workloads_of
from netpick.sessions.generate import generate_run
from netpick.sessions.settle import settled
from netpick.sessions.situation import RunNetwork, Samples
from netpick.sessions.workers import pool
from netpick.sessions.workers.task import Ended
from netpick.store.folder import Store

CPU = Options(device="cpu", workers=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("estimate") / "run"
    generate_run("smoke", folder, dataset="digits", limit=8, overrides=["recipe.epochs=2", "recipe.train_samples=200"])
    return folder


@pytest.fixture(scope="module")
def calibrated(made, tmp_path_factory):
    """The run with a calibration, and the estimate that made it."""
    folder = shutil.copytree(made, tmp_path_factory.mktemp("calibrated") / "run")
    return folder, estimate_run(folder, CPU, seconds=5)


def on_disk(folder):
    names = ("trainings", "epochs", "predictions", "weights", "samples.parquet")
    files = [f for name in names for f in ((folder / name).rglob("*") if (folder / name).is_dir() else [folder / name])]
    return sum(f.stat().st_size for f in files if f.is_file())


def test_an_estimate_times_the_networks_and_changes_nothing_else(made, calibrated):
    folder, found = calibrated
    assert (found.due, found.total, found.workers, found.devices) == (8, 8, 1, ("cpu",))
    assert found.basis == "timed"
    assert 4 <= found.measured <= 8
    assert 0 < found.low <= found.seconds <= found.high
    assert found.seconds > found.worker_seconds / found.workers
    names = {file.name for file in folder.iterdir()} - {file.name for file in made.iterdir()}
    assert names <= {"calibration.json", ".lock"}
    assert (folder / "run.toml").read_text() == (made / "run.toml").read_text()
    assert not (folder / ".cache").exists()
    kept = json.loads((folder / calibration.FILE).read_text())
    assert all(0 < each["core"] < 1 for each in kept["bookkeeping"])
    assert not Store.open(folder).finished()
    shares = [row["share"] for row in found.costliest]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=0.01)
    assert {row["name"] for row in found.costliest} == {row["name"] for row in Store.open(folder).networks()}


def test_a_calibration_is_used_again_where_it_holds(calibrated, monkeypatch):
    folder, found = calibrated

    def never(*args):
        raise AssertionError("timed again")

    monkeypatch.setattr(calibration, "calibrate", never)
    again = estimate_run(folder, CPU)
    assert (again.basis, again.measured, again.seconds) == ("timed", found.measured, pytest.approx(found.seconds))
    longer = estimate_run(folder, dataclasses.replace(CPU, epochs=20))  # epochs change nothing that was timed
    assert longer.worker_seconds > 2 * again.worker_seconds
    assert longer.disk["predictions"] == pytest.approx(10 * again.disk["predictions"], rel=0.01)
    with pytest.raises(AssertionError, match="timed again"):
        estimate_run(folder, dataclasses.replace(CPU, overrides=["recipe.batch_size=16"]))
    monkeypatch.setattr(calibration, "engine", lambda: "another")
    with pytest.raises(AssertionError, match="timed again"):
        estimate_run(folder, CPU)


def test_a_calibration_holds_for_the_engines_as_they_are(tmp_path, monkeypatch):
    package = tmp_path / "netpick"
    for room in ("training", "networks", "exam"):
        shutil.copytree(calibration.PACKAGE / room, package / room, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(calibration, "PACKAGE", package)
    seen = {calibration.engine()}
    folders = (package / "training", package / "networks" / "modules")
    files = [file for folder in folders for file in folder.rglob("*.py")]
    assert {"explicit", "compiled", "graphs"} <= {file.parent.name for file in files}
    for file in files:
        file.write_text(f"{file.read_text()}\n# changed\n")
        assert calibration.engine() not in seen, file
        seen.add(calibration.engine())
    now = calibration.engine()
    (package / "exam/planted/planted.py").write_text("# decides over no training")
    assert calibration.engine() == now


def test_a_calibration_file_that_is_broken_is_made_again(calibrated, tmp_path):
    folder = shutil.copytree(calibrated[0], tmp_path / "run")
    for text in ("", "{}", "[]", '{"circumstances": 1', "\x00"):
        (folder / calibration.FILE).write_text(text)
        assert estimate_run(folder, CPU, seconds=0).basis == "rough"


def test_the_disk_is_as_was_said_and_the_rest_is_estimated_from_what_is_done(calibrated, tmp_path):
    folder = shutil.copytree(calibrated[0], tmp_path / "run")
    before = estimate_run(folder, CPU)
    heard = []

    class Listens(Listener):
        def begin(self, start):
            heard.append(start)

    train_run(folder, CPU, Listens())
    assert on_disk(folder) == pytest.approx(before.bytes, rel=0.15)
    (start,) = heard
    assert start.estimate.basis == "timed"  # the session uses the calibration that is there
    # It is asked when torch and the data are loaded, which the time said beforehand has in it.
    assert start.estimate.seconds == pytest.approx(before.seconds - estimate.LOADING_SECONDS)
    assert sum(start.cost.values()) == pytest.approx(sum(row["seconds"] for row in before.costliest), abs=0.005)
    over = estimate_run(folder, CPU)
    assert (over.due, over.text) == (0, f"{folder}: all 8 trainings have ended, nothing is left to do")


@pytest.mark.parametrize(("scores", "weights"), [("last", "none"), ("none", "none")])
def test_the_disk_follows_what_is_kept(made, tmp_path, scores, weights):
    folder = shutil.copytree(made, tmp_path / "run")
    options = dataclasses.replace(CPU, scores=scores, weights=weights, estimate=False)
    said = estimate_run(folder, options, seconds=0)
    train_run(folder, options)
    assert on_disk(folder) == pytest.approx(said.bytes, rel=0.2)


def test_finished_trainings_tell_of_the_others(made, tmp_path, monkeypatch):
    folder = shutil.copytree(made, tmp_path / "run")
    monkeypatch.setattr(outlook, "FINISHED", 5)
    monkeypatch.setattr(pool, "TOGETHER", 1)  # else it stops where others are written down with the sixth

    class Stops(Listener):
        left = 6

        def finished(self, result):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(folder, CPU, Stops())
    found = estimate_run(folder, CPU)
    assert (found.due, found.basis, found.measured) == (2, "finished", 6)
    assert "from 6 finished trainings" in found.text
    assert not (folder / calibration.FILE).exists()


def test_the_time_left_counts_merging_to_its_end(calibrated, tmp_path):
    folder, heard = shutil.copytree(calibrated[0], tmp_path / "run"), []

    class Listens(Listener):
        def begin(self, start):
            self.start = start

        def finished(self, result):
            heard.append(self.start.left.seconds(time.monotonic()))

        def merging(self, share, left):
            heard.append((share, left))

    listens = Listens()
    train_run(folder, CPU, listens)
    trained, merged = heard[:8], heard[8:]
    merge = listens.start.estimate.merge_seconds
    assert merge > 0
    assert trained[0] > merge
    assert trained[-1] > 0  # all are trained, and it is not over
    assert merged[0] == (0, pytest.approx(trained[-1], rel=0.1))
    assert merged[-1] == (1, None)
    assert all(left > 0 for share, left in merged if share < 1)
    (said,) = [event for event in Store.open(folder).events() if event["event"] == "merging"]
    assert said["left"] == pytest.approx(trained[-1], abs=0.1)


def test_where_nothing_is_merged_no_time_is_said_for_it(calibrated):
    with_, without = (
        estimate_run(calibrated[0], dataclasses.replace(CPU, compact=compact)) for compact in (True, False)
    )
    assert with_.merge_seconds > without.merge_seconds == 0
    assert with_.seconds == pytest.approx(without.seconds + with_.merge_seconds)


def test_files_of_trainings_that_had_ended_before_are_merged_too(calibrated, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "TOGETHER", 1)
    folder = shutil.copytree(calibrated[0], tmp_path / "run")
    planted = json.loads((folder / "calibration.json").read_text())
    planted["bookkeeping"] = [{**each, "merge": 0.25, "merge_together": 0.25} for each in planted["bookkeeping"]]
    (folder / "calibration.json").write_text(json.dumps(planted))
    assert estimate_run(folder, CPU).merge_seconds == pytest.approx(8 * 0.25 * planted["busy"])

    class Stops(Listener):
        def finished(self, result):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(folder, CPU, Stops())
    rest = estimate_run(folder, CPU)
    assert (rest.due, rest.merge_seconds) == (7, pytest.approx(8 * 0.25 * planted["busy"]))


def test_a_calibration_on_a_busy_machine_counts_that_all_takes_longer(made, tmp_path, monkeypatch):
    """Others had the cores for half of the time of planted timings, and the session's own are planted too."""
    each = Bookkeeping(commit=0.04, core=0.02, merge=0.01)
    monkeypatch.setattr(calibration, "time_bookkeeping", lambda *args: (each, each))
    found = {}
    for name, waited in (("calm", 0.0), ("busy", 1.0)):

        def stream(tasks, work, workers, devices, waited=waited):
            for task in tasks:
                yield Ended(task, Probed(Timed(task.key, 0.01, 1e-5, 0.1), 2.0, waited))

        monkeypatch.setattr(calibration.pool, "stream", stream)
        folder = shutil.copytree(made, tmp_path / name)
        found[name] = estimate_run(folder, dataclasses.replace(CPU, workers=usable_cores()), seconds=5)
    workers = usable_cores()
    # What is timed of the networks has the load in it. The session's own is computed twice as long.
    assert found["busy"].worker_seconds == pytest.approx(found["calm"].worker_seconds)
    rounds = -(-8 // workers)
    more = found["busy"].seconds - found["calm"].seconds
    assert more == pytest.approx(rounds * 0.02 + 8 * 0.01, rel=0.01)


def test_replicates_and_retries_are_due_as_in_training(made):
    found = estimate_run(made, dataclasses.replace(CPU, overrides=["recipe.replicates=3"]), seconds=0)
    assert (found.due, found.total) == (24, 24)
    assert len(found.costliest) == 8  # of a network's replicates the sum


def test_what_is_wrong_is_said_in_one_line(made, tmp_path):
    with pytest.raises(RunError, match="no run at"):
        estimate_run(tmp_path / "none", CPU)
    with pytest.raises(NetpickError, match="--workers: wants auto or a number from 1 on, got 0"):
        estimate_run(made, dataclasses.replace(CPU, workers=0))
    with pytest.raises(NetpickError, match="batch_siz"):
        estimate_run(made, dataclasses.replace(CPU, overrides=["recipe.batch_siz=3"]))


def test_json_has_all_of_it(made):
    found = estimate_run(made, CPU, seconds=0)
    read = json.loads(found.to_json())
    assert read["basis"] == "rough"
    assert read["disk_bytes"] == sum(read["disk"].values()) == found.bytes
    assert read["costliest"][0]["seconds"] == found.costliest[0]["seconds"]
    assert "nothing was measured on this machine" in found.text


# The parts


def works_of(folder):
    situation = settled(Store.open(folder), dataclasses.replace(CPU, epochs=1))
    return list(workloads_of(situation, Samples(1000, 200)).values())


def test_networks_are_chosen_of_every_kind_and_size(tmp_path):
    generate_run("smoke", tmp_path / "run", dataset="digits")
    works = works_of(tmp_path / "run")
    chosen = [works[place] for place in calibration.choose(works, 20)]
    assert len(chosen) == len({work.key for work in chosen}) <= 20
    assert {work.computation for work in chosen} == {work.computation for work in works}
    seconds = [rough().seconds(work) for work in chosen]
    assert seconds == sorted(seconds, reverse=True)
    assert max(map(rough().seconds, works)) == seconds[0]
    assert len(calibration.choose(works, 3)) == 3
    assert calibration.choose([], 3) == []


def test_wall_time_is_the_schedule_and_what_is_around_it(tmp_path, made):
    works = works_of(made)
    model = fit(works, [Timed(work.key, 0.01, 1e-5, 0.1) for work in works])
    each = works[0].steps * 0.01 + 200 * 1e-5 + 0.1
    said = predict(model, works, 3, 4, Overheads(Bookkeeping(commit=0.05, core=0.05, merge=0.5)))
    # Three workers on four cores: the coordinator has a core of its own. 8 equal ones on 3 workers: three rounds.
    assert said.seconds == pytest.approx(Overheads().start + 8 * 0.5 + 3 * each)
    assert said.worker_seconds == pytest.approx(8 * each)
    assert said.low < said.seconds < said.high
    # Without one it takes from the workers what it does on a core; waiting for the disk takes nothing from them.
    said = predict(model, works, 4, 4, Overheads(Bookkeeping(commit=0.04, core=0.02, merge=0.0), start=2.5))
    assert said.seconds == pytest.approx(2.5 + 2 * (each + 0.02 + HANDLING_SECONDS))
    assert said.worker_seconds == pytest.approx(8 * each)
    # However many workers there are, results are written down one after the other.
    slow = Bookkeeping(commit=1.0, core=0.1, merge=0.25, together=1.0, merge_together=0.25)
    for cores in (4, 64, None):
        said = predict(model, works, 4, cores, Overheads(slow, start=2.5))
        assert said.seconds == pytest.approx(2.5 + 8 * 1.0 + 8 * 0.25)
    # But those that end meanwhile together, in the same files.
    slow = dataclasses.replace(slow, together=0.01, merge_together=0.02)
    said = predict(model, works, 4, 4, Overheads(slow, start=2.5, scattered=3))
    assert said.merging == pytest.approx(8 * 0.02 + 3 * 0.25)
    assert said.seconds == pytest.approx(2.5 + said.merging + 2 * (each + 0.01 + HANDLING_SECONDS))


def test_writing_down_is_timed_without_the_wait_for_a_core_and_merging_by_the_training(monkeypatch):
    """On a clock that goes on by what a commit, a wait and a merged training are made to take."""
    clock, core, waited, held = [0.0], [0.0], [0.0], Counter()

    def commit(store, results, labels):
        first = not held[store.path]  # which loads what is loaded once
        held[store.path] += len(results)
        few = len(results) > 1  # several at once take a fourth
        clock[0] += 0.5 + (9.0 if first else 0.01 * len(results[0].epochs) * len(results) / (4 if few else 1))
        core[0] += 0.002
        waited[0] += 0.5

    def compact(store):
        clock[0] += 3.0 + 0.25 * held[store.path]

    monkeypatch.setattr(Store, "commit_all", commit)
    monkeypatch.setattr(Store, "compact", compact)
    clocks = SimpleNamespace(perf_counter=lambda: clock[0], thread_time=lambda: core[0], process_time=lambda: clock[0])
    monkeypatch.setattr(bookkeeping, "time", clocks)
    monkeypatch.setattr(bookkeeping, "waited_for_core", lambda: waited[0])
    timed = bookkeeping.time_bookkeeping(["a", "b"], 20)
    assert timed[0].commit == pytest.approx(0.01)
    assert timed[1].commit == pytest.approx(0.06)
    assert [each.core for each in timed] == pytest.approx([0.002, 0.002])
    assert [each.merge for each in timed] == pytest.approx([0.25, 0.25])
    assert [each.together for each in timed] == pytest.approx([0.0025, 0.015])
    assert [each.merge_together for each in timed] == pytest.approx([0.25, 0.25])
    assert of_epochs(timed, 3).commit == pytest.approx(0.03)


def test_bytes_by_hand():
    networks = [RunNetwork({"params": params}, None, Recipe(epochs=3)) for params in (100, 200)]
    keep = {"scores": "all", "weights": "last"}
    found = disk(networks, Samples(50, 1000), 10, keep, 64, first=True)
    rows = 2 * 3 * 1000
    assert found["predictions"] == round(rows * (10 * estimate.SCORE_BYTES + estimate.PREDICTED_BYTES))
    assert found["weights"] == 4 * 300
    none = disk(networks, Samples(50, 1000), 10, {"scores": "none", "weights": "none"}, 64, first=False)
    assert none["predictions"] == round(rows * estimate.PREDICTED_BYTES)
    assert set(none) == {"predictions", "rest"}


@pytest.mark.parametrize(
    ("number", "words"),
    [(999, "1 kB"), (45_600, "46 kB"), (1_400_000_000, "1.4 GB"), (146e6, "146 MB"), (2e13, "20 TB")],
)
def test_bytes_in_words(number, words):
    assert size(number) == words


def test_sessions_are_held_up_only_where_it_pays():
    assert outlook.before_training(100) == 0
    assert outlook.before_training(540) == pytest.approx(27)
    assert outlook.before_training(1e6) == 60
    assert outlook.on_request(None)(1e6) == 60
    assert outlook.on_request(None)(1) == 10
    assert outlook.on_request(7)(1) == 7


def test_a_network_that_fails_is_left_out_of_the_calibration(made, monkeypatch):
    """The worker's function, in this process: an error is a status, not an end."""
    from netpick.sessions.workers.process import attempt
    from netpick.sessions.workers.task import Failure, Task
    from netpick.training import Job

    store = Store.open(made)
    spec = NetworkSpec.from_dict(store.networks()[0])
    task = Task(Job(spec, Recipe(), 1, plan=None), shared=None)  # nothing to train with
    _, outcome = attempt(partial(time_task, budget=0.1), task)
    assert isinstance(outcome, Failure)
    assert outcome.error
