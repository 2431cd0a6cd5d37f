"""Runs that are what they say, and runs that were damaged or made up: what each level finds."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from netpick.cli import main
from netpick.core.errors import RunError
from netpick.sessions import Listener, Options, generate_run, train_run, verify_run
from netpick.sessions.retraining import drawn, proof
from netpick.sessions.verification import check_run
from netpick.store.folder import Store
from netpick.store.shards import arrow_schema, write_groups

SETS = (
    *("recipe.epochs=2", "recipe.train_samples=300", "recipe.batch_size=50", "recipe.label_smoothing=0.1"),
    *("recipe.gradient_clip=0.5", "recipe.augment={shift=1, crop=0.8, erase=0.2}"),
)
OPTIONS = Options(device="cpu", workers=1, plan=None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verified") / "run"
    generate_run("smoke", str(folder), "digits", limit=4, overrides=SETS)
    train_run(folder, Options(device="cpu", workers=1, plan="reference", estimate=False), Listener())
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def rewritten(run, table, change):
    """Write a table anew as netpick would, with other values: its checksums are right."""
    files = [run / f"{table}.parquet"] if table in ("networks", "samples") else sorted((run / table).glob("part-*"))
    for path in files:
        old = pq.read_table(path)
        frame = old.to_pandas()
        change(frame)
        schema = arrow_schema(table, 10 if table in ("epochs", "predictions") else 0)
        metadata = old.schema.metadata or {}
        rows = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
        schema = schema.with_metadata({**schema.metadata, **metadata})
        write_groups(path, schema, [rows.replace_schema_metadata(schema.metadata)])


def contents(run):
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def faults(run, **options):
    return verify_run(run, OPTIONS, **options).faults


def test_a_run_is_what_it_says_and_stays_as_it_is(run):
    before = contents(run)
    verified = verify_run(run, OPTIONS, number=2, seed=1)
    assert verified.faults == []
    assert [r.to_the_bit for r in verified.retrained] == [True, True]
    assert all(r.agreement == 1 and r.accuracy == r.accuracy_then for r in verified.retrained)
    assert "2 of 4 trainings" in verified.said[-2]
    left = contents(run)
    left.pop(".lock", None)
    assert {k: v for k, v in left.items() if not k.startswith(".lock")} == {
        k: v for k, v in before.items() if not k.startswith(".lock")
    }


def test_a_flipped_bit_and_what_is_missing_are_found_by_reading(run):
    path = next((run / "predictions").glob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)
    assert any(str(path) in fault for fault in check_run(run).faults)
    weights = sorted((run / "weights").iterdir())
    weights[0].unlink()
    weights[1].write_bytes(weights[1].read_bytes()[:100])
    found = check_run(run).faults
    assert sum("weights are missing" in fault for fault in found) == 1
    assert sum("weights can't be read" in fault for fault in found) == 1


def test_missing_predictions_epochs_and_samples_are_found(run):
    next((run / "predictions").glob("*.parquet")).unlink()
    assert sum("no predictions of" in fault for fault in check_run(run).faults) == 4 * 2
    next((run / "epochs").glob("*.parquet")).unlink()
    assert sum("has 0 of 2 epochs" in fault for fault in check_run(run).faults) == 4
    (run / "samples.parquet").unlink()
    assert any("samples.parquet is missing" in fault for fault in check_run(run).faults)


def made_better(frame):
    frame["accuracy"] = 0.99


def made_cheaper(frame):
    frame.loc[1, "params"] -= 1


def other_seed(frame):
    frame.loc[0, "seed"] += 1


def other_images(frame):
    frame.loc[0, "augment"] = '{"shift": 2}'


def other_labels(frame):
    frame.loc[5, "label"] = (frame.loc[5, "label"] + 1) % 10


def other_classes(frame):
    frame["predicted"] = frame["label"]


def other_auc(frame):
    frame.loc[0, "auc_3"] = 0.5


@pytest.mark.parametrize(
    ("table", "change", "said"),
    [
        ("epochs", made_better, "accuracy is"),
        ("networks", made_cheaper, "params is"),
        ("trainings", other_seed, "the run's seed gives"),
        ("trainings", other_images, 'augment is {"shift": 2}, and the recipe says'),
        ("predictions", other_labels, "labels are not those"),
        ("predictions", other_classes, "not those of the highest scores"),
        ("epochs", other_auc, "auc_3 is"),
    ],
)
def test_what_does_not_follow_is_found(run, table, change, said):
    rewritten(run, table, change)
    found = faults(run)
    assert found
    assert all(said in fault for fault in found)
    with pytest.raises(RunError, match="is not what it says"):  # nothing is trained for it
        verify_run(run, OPTIONS, number=1)


def answered(run, scores_of):
    """Write other scores, (rows, 10) of a frame of predictions, with the epochs that follow: level 1 finds nothing."""
    from netpick.core.metrics import evaluate

    made = {}

    def predictions(frame):
        table = np.asarray(scores_of(frame), np.float32)
        frame["predicted"] = table.argmax(axis=1).astype("int16")
        for c in range(10):
            frame[f"score_{c}"] = table[:, c]
        for key, rows in frame.groupby(["network", "replicate", "epoch", "split"], observed=True):
            made[key] = evaluate("test", table[rows.index], rows["label"].to_numpy(), 0)

    def epochs(frame):
        for at, row in frame.iterrows():
            result = made[row["network"], row["replicate"], row["epoch"], row["split"]]
            values = {f"accuracy_{c}": v for c, v in enumerate(result.class_accuracy)}
            values |= {f"auc_{c}": v for c, v in enumerate(result.class_auc)}
            for name, value in {"accuracy": result.accuracy, "loss": result.loss, **values}.items():
                frame.loc[at, name] = value

    rewritten(run, "predictions", predictions)
    rewritten(run, "epochs", epochs)


def made_up(run):
    """Write scores that are nearly always right."""
    chance = np.random.default_rng(0)

    def scores(frame):
        wrong = chance.random(len(frame)) < 0.02
        answer = np.where(wrong, (frame["label"] + 1) % 10, frame["label"])
        return np.where(np.arange(10) == answer[:, None], math.log(0.91), math.log(0.01))

    answered(run, scores)


def elsewhere(run):
    """Let the run say that it was trained with another torch."""
    store = Store.open(run)
    with store.lock():
        store.update_manifest(training={**store.manifest["training"], "torch": "1.0"})


def test_consistent_inventions_are_found_by_training_again(run):
    made_up(run)
    assert faults(run) == []
    found = faults(run, number=2, seed=0)
    assert len(found) == 2
    assert all("came out otherwise" in fault for fault in found)


def test_on_another_machine_last_bits_may_differ_and_inventions_may_not(run):
    elsewhere(run)

    def nudged(frame):  # what another processor would make of it
        columns = [f"score_{c}" for c in range(10)]
        frame[columns] = frame[columns] * np.float32(1 + 2**-22)

    rewritten(run, "predictions", nudged)
    verified = verify_run(run, OPTIONS, number=2, seed=0)
    assert verified.faults == []
    assert not any(r.to_the_bit for r in verified.retrained)
    assert all(r.agreement == 1 > r.of_another_seed for r in verified.retrained)
    made_up(run)
    assert all("no more alike than by chance" in fault for fault in faults(run, number=2, seed=0))


BASELINES = """title = "baselines"
description = "no gradient trains them"
dataset = "digits"
[recipe]
epochs = 1
train_samples = 300
[[cells]]
kind = "explicit"
name = "Nearest"
layers = [{ op = "baseline:nearest_mean" }]
[[cells]]
kind = "explicit"
name = "Neighbours"
layers = [{ op = "sklearn:KNeighborsClassifier", n_neighbors = 3 }]
[[cells]]
kind = "explicit"
name = "Forest"
layers = [{ op = "sklearn:RandomForestClassifier", n_estimators = 5 }]
"""


def test_baselines_keep_what_they_have_learned_where_it_is_arrays_and_hang_on_no_seed(tmp_path):
    (tmp_path / "baselines.toml").write_text(BASELINES)
    run = tmp_path / "run"
    generate_run(str(tmp_path / "baselines.toml"), str(run))
    train_run(run, replace(OPTIONS, weights="last", estimate=False), Listener())
    assert check_run(run).faults == []
    elsewhere(run)

    def other(share):  # last bits, and so many of the answers
        def scores(frame):
            table = frame[[f"score_{c}" for c in range(10)]].to_numpy() * np.float32(1 - 2**-22)
            turned = frame["sample"] < share * (frame["sample"].max() + 1)
            return np.where(turned.to_numpy()[:, None], np.roll(table, 1, axis=1), table)

        return scores

    answered(run, other(0))
    verified = verify_run(run, OPTIONS, number=3, seed=0)
    assert verified.faults == []
    by_seed = {r.network: r.of_another_seed for r in verified.retrained}
    assert by_seed["Nearest"] is by_seed["Neighbours"] is None
    assert by_seed["Forest"] < 1
    answered(run, other(0.05))
    found = verify_run(run, OPTIONS, number=3, seed=0).faults
    assert len(found) == 2
    assert all("no seed that they could hang on" in fault for fault in found)
    next((run / "weights").glob("*Nearest*")).unlink()
    assert any("Nearest" in fault and "weights are missing" in fault for fault in check_run(run).faults)


def test_how_much_a_number_of_trainings_proves():
    # Drawn without putting back: the chance that none of 50 made-up ones of 1001 is among 60.
    none = math.prod((951 - i) / (1001 - i) for i in range(60))
    assert proof(60, 1001) == pytest.approx(1 - none)
    assert proof(60, 1001) > 0.95 > proof(55, 1001)
    assert proof(10, 10) == 1


def test_trainings_are_drawn_by_a_seed_or_so_that_nobody_can_know():
    every = [(f"n{i}", 0) for i in range(1000)]
    assert drawn(every, 5, 3) == drawn(every, 5, 3) != drawn(every, 5, 4)
    assert drawn(every, 5, None) != drawn(every, 5, None)
    assert drawn(every[:2], 5, None) == every[:2]


def test_the_command_line_says_what_does_not_hold(run, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["check", str(run)])
    assert ended.value.code == 0
    assert "All of it holds" in capsys.readouterr().out
    rewritten(run, "epochs", made_better)
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(run)])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "accuracy is" in said
    assert said.splitlines()[-1].startswith(f"netpick: {run} is not what it says: 8 faults")


def test_a_run_that_is_being_trained_is_left_alone(run):
    with Store.open(run).lock(), pytest.raises(RunError, match="is being trained"):
        check_run(run)
