"""A run with folds from its template to its last check: every training sample is answered by who never saw it."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from template_cells import BASIC, explicit, linear

from netpick import Run
from netpick.cli import main
from netpick.core.errors import DataError, NetpickError, RunError, TemplateError
from netpick.sessions import Options, estimate_run, generate_run, train_run, verify_run
from netpick.sessions.settle import settled
from netpick.store.folder import Store
from netpick.store.shards import write_groups

FOLDS, SAMPLES = 3, 120
TEMPLATE = f"""
title = "Folds"
dataset = "digits"

[recipe]
batch_size = 20
epochs = 2
replicates = 2
train_samples = {SAMPLES}
folds = {FOLDS}
{BASIC}{explicit("Two", '"Flatten"', linear("pixels", 9), '"ReLU"', linear(9, "classes"), '"LogSoftmax"')}
[[cells]]
kind = "explicit"
name = "Mean"
layers = [{{ op = "baseline:nearest_mean" }}]

[[cells]]
kind = "explicit"
name = "Near"
layers = [{{ op = "sklearn:KNeighborsClassifier" }}]
"""
OPTIONS = Options(device="cpu", workers=1, plan="eager", estimate=False, weights="none")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "folds.toml"
    path.write_text(TEMPLATE)
    return str(path)


@pytest.fixture(scope="module")
def folder(template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds") / "run"
    generate_run(template, folder, overrides=["recipe.folds=0"])
    train_run(folder, replace(OPTIONS, overrides=[f"recipe.folds={FOLDS}"]))  # before the first training it may be said
    return folder


@pytest.fixture(scope="module")
def run(folder):
    return Run(folder)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".lock" not in path.name}


def test_every_training_sample_is_answered_by_those_who_left_it_out(run):
    assert set(run.trainings["status"]) == {"done"}
    rows = run.samples[run.samples["split"] == "left_out"]
    assert len(rows) == SAMPLES
    fold = rows["fold"].to_numpy()
    assert np.ptp(np.bincount(fold.astype(int), minlength=FOLDS)) <= 1
    for training in run.trainings.astype({"network": str}).to_dict("records"):
        name, replicate = training["network"], training["replicate"]
        got = run.predictions(-1, "left_out", name, replicate)
        assert np.array_equal(got["sample"], np.flatnonzero(fold == training["fold"]))
        assert training["train_samples"] == SAMPLES - len(got)
    first = run.trainings[run.trainings["replicate"] == 0]["fold"]
    second = run.trainings[run.trainings["replicate"] == 1]["fold"]
    assert np.array_equal((first.to_numpy() + 1) % FOLDS, second.to_numpy())
    assert set(first) == set(range(FOLDS))


def test_trained_again_it_comes_out_to_the_bit_and_where_it_does_not_the_test_samples_are_compared(folder, tmp_path):
    """As on another machine: one training has other last bits, and is held against one from another seed."""
    run = shutil.copytree(folder, tmp_path / "run")
    store = Store.open(run)
    store.update_manifest(training={**store.manifest["training"], "python": "3.0"})
    (path,) = (run / "predictions").iterdir()
    table = pq.read_table(path)
    at, rows = table.column_names.index("score_0"), table.select(["network", "replicate", "predicted"]).to_pandas()
    mine = (rows["network"] == "Two") & (rows["replicate"] == 0) & (rows["predicted"] != 0)  # which stay the highest
    scores = table.column(at).to_numpy()
    other = np.where(mine, np.nextafter(scores, np.float32(-100)), scores)
    write_groups(path, table.schema, [table.set_column(at, table.schema.field(at), pa.array(other))])
    verified = verify_run(run, replace(OPTIONS, weights=None), number=8)
    assert verified.faults == []
    (again,) = (r for r in verified.retrained if not r.to_the_bit)
    assert (again.network, again.replicate, again.agreement, len(verified.retrained)) == ("Two", 0, 1.0, 8)
    assert 0 < again.of_another_seed < 1


def test_a_fold_that_the_catalogue_does_not_give_is_found(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    store = Store.open(tmp_path / "run")
    situation = settled(store, OPTIONS)
    few = replace(situation, networks=situation.networks[1:2])
    assert few.fold(few.networks[0], 0) == situation.fold(situation.networks[1], 0)
    store.update_manifest(recipe={**store.manifest["recipe"], "folds": 2})
    faults = verify_run(store.path, OPTIONS).faults
    assert any("its fold is 2, and the catalogue gives" in fault for fault in faults)


def test_an_estimate_knows_what_is_left_out(template, tmp_path):
    estimates = []
    for folds in (0, 2):
        generate_run(template, tmp_path / str(folds), overrides=[f"recipe.folds={folds}"])
        estimates.append(estimate_run(tmp_path / str(folds), OPTIONS, seconds=0))
    without, with_folds = estimates
    assert with_folds.worker_seconds < without.worker_seconds
    assert with_folds.disk["predictions"] > without.disk["predictions"]
    assert with_folds.disk["samples"] == pytest.approx(without.disk["samples"] * (360 + SAMPLES) / 360, rel=0.01)


def test_folds_do_not_change_once_there_are_results(folder):
    with pytest.raises(RunError, match="folds from 3 to 0"):
        train_run(folder, replace(OPTIONS, overrides=["recipe.folds=0"]))


@pytest.mark.parametrize(
    ("overrides", "error", "said"),
    [
        (["recipe.folds=1"], TemplateError, "recipe.folds: wants 2 or more"),
        (["recipe.folds=-1"], TemplateError, "recipe.folds"),
        (["recipe.folds=[2, 3]"], TemplateError, "recipe.folds: can't be swept.*judged on the same samples"),
        (["recipe.train_samples=[60, 120]"], TemplateError, "recipe.folds: all networks .* train_samples = 60, 120"),
        (['recipe.order=["shuffled", "by_class"]'], TemplateError, "got order = shuffled, by_class"),
        (["recipe.folds=13"], DataError, "folds is 13.*'digits' has 12 at most"),
    ],
)
def test_folds_that_make_no_sense_are_refused_in_one_line(template, tmp_path, overrides, error, said):
    with pytest.raises(error, match=said) as refused:
        generate_run(template, tmp_path / "run", overrides=overrides)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_folds_that_a_class_is_too_small_for_leave_no_trace(template, tmp_path):
    generate_run(template, tmp_path / "run", overrides=["recipe.folds=0"], limit=1)
    before = contents(tmp_path / "run")
    with pytest.raises(NetpickError, match=r"folds is 13: class '\d' has \d+ different images"):
        train_run(tmp_path / "run", replace(OPTIONS, overrides=["recipe.folds=13"]))
    assert contents(tmp_path / "run") == before


def test_status_says_how_many_answers_there_are(folder, capsys):
    with pytest.raises(SystemExit):
        main(["status", str(folder)])
    said = " ".join(capsys.readouterr().out.split())
    assert (
        f"each of {SAMPLES} training samples was left out by 2 to 3 trainings, and answered: the split left_out" in said
    )
