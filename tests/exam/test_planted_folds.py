"""A planted run with folds: every left-out sample is answered by the networks of its fold alone, and all reads so."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from netpick.core.errors import NetpickError
from netpick.exam import plant
from netpick.exam.run import Run
from netpick.report.publication import publish_run
from netpick.sessions.recount import Evaluations
from netpick.sessions.verification import check_run
from netpick.store import whole
from netpick.store.folder import Store

FOLDS = 3


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds") / "run"
    truth = plant(folder, 24, 120, folds=FOLDS, replicates=2, epochs=2, failed=1)
    return Run(folder), truth


def test_each_training_answers_its_own_fold_alone(planted):
    run, truth = planted
    fold = run.samples[run.samples["split"] == "left_out"]["fold"].to_numpy()
    assert np.array_equal(fold, truth.fold)
    rows = run.predictions(epoch=None, split="left_out", replicate=None)
    key = run.trainings.astype({"network": str}).set_index(["network", "replicate"])["fold"]
    for (network, replicate, _), block in rows.groupby(["network", "replicate", "epoch"], observed=True):
        own = key[network, replicate]
        assert own == (truth.first_fold[truth.names.index(network)] + replicate) % FOLDS
        assert np.array_equal(block["sample"], np.flatnonzero(fold == own))
        assert np.array_equal(block["label"], run.labels("left_out")[block["sample"]])


def test_arrays_have_holes_where_a_network_did_not_answer(planted):
    run, truth = planted
    predicted, scores = run.predicted(split="left_out"), run.scores(split="left_out")
    names = run.network_names(split="left_out")
    first = truth.first_fold[[truth.names.index(name) for name in names]]
    answered = first[:, None] == truth.fold
    assert predicted.dtype == np.int16
    assert scores.dtype == np.float32
    assert np.array_equal(predicted >= 0, answered)
    assert np.array_equal(~np.isnan(scores).any(axis=2), answered)
    assert (predicted[~answered] == -1).all()
    assert np.array_equal(scores[answered].argmax(axis=1), predicted[answered])
    twice = run.predicted(split="left_out", networks=[names[0], names[0]])
    assert np.array_equal(twice, np.stack([predicted[0], predicted[0]]))


def test_all_samples_are_those_of_test_and_then_those_left_out(planted):
    run, _ = planted
    for read in (run.predicted, run.scores):
        both = np.concatenate([read(split="test"), read(split="left_out")], axis=1)
        assert np.array_equal(read(split="all"), both, equal_nan=True)
    assert np.array_equal(run.labels("all"), np.concatenate([run.labels("test"), run.labels("left_out")]))
    assert np.array_equal(run.image(120 + 7, "all"), run.image(7, "left_out"))
    assert run.network_names(split="all") == run.network_names()


def test_an_epoch_has_the_accuracy_over_those_that_were_answered(planted):
    run, _ = planted
    right = run.predictions(epoch=None, split="left_out", replicate=None)
    right = right.assign(right=right["predicted"] == right["label"])
    keys = ["network", "replicate", "epoch"]
    said = run.epochs[run.epochs["split"] == "left_out"].set_index(keys)["accuracy"]
    assert np.allclose(right.groupby(keys, observed=True)["right"].mean(), said)
    assert len(said) == 2 * 2 * 23


def test_what_was_planted_among_the_left_out_is_there(planted):
    run, truth = planted
    predicted, labels = run.predicted(split="left_out"), run.labels("left_out")
    answered = predicted >= 0
    good = [name not in truth.weak for name in run.network_names(split="left_out")]
    easy = (predicted == labels) | ~answered
    assert easy[good][:, truth.left_out.easy].all()
    wrong = (predicted != labels) & answered
    assert (wrong.sum(axis=0) / answered.sum(axis=0))[truth.left_out.weird].min() > 0.8


def test_merged_it_reads_the_same(planted, tmp_path):
    run, _ = planted
    plant(tmp_path / "merged", 24, 120, folds=FOLDS, replicates=2, epochs=2, failed=1, compact=True)
    merged = Run(tmp_path / "merged")
    assert np.array_equal(run.predicted(split="all"), merged.predicted(split="all"))
    assert np.array_equal(run.scores(split="left_out"), merged.scores(split="left_out"), equal_nan=True)


def test_a_run_without_folds_has_no_such_split(tmp_path):
    plant(tmp_path / "run", 12, 50, epochs=1)
    run = Run(tmp_path / "run")
    assert run.trainings["fold"].isna().all()
    for split in ("left_out", "all"):
        with pytest.raises(NetpickError, match="no split 'left_out'"):
            run.labels(split)
        with pytest.raises(NetpickError, match="left_out"):
            run.predicted(split=split)


def test_folds_that_are_too_many_are_refused(tmp_path):
    with pytest.raises(NetpickError, match="folds is 9"):
        plant(tmp_path / "run", 24, 80, folds=9)
    assert not (tmp_path / "run").exists()


def test_a_run_with_folds_is_checked_whole_and_its_numbers_anew(planted, tmp_path):
    run, _ = planted
    assert check_run(run.path).faults == []
    labels = {split: run.labels(split) for split in ("test", "left_out")}
    heard = Evaluations(run.epochs, labels, len(run.classes))
    assert list(whole.faults(Store.open(run.path), lambda network: True, heard.hear)) == []
    assert (heard.faults, heard.checked) == ([], len(run.epochs))


def test_answers_to_another_fold_are_found(planted, tmp_path):
    shutil.copytree(planted[0].path, tmp_path / "run")
    store = Store.open(tmp_path / "run")
    rows = pd.read_parquet(store.path / "samples.parquet")
    rows["fold"] = rows["fold"].map(lambda fold: None if fold != fold else (fold + 1) % FOLDS)
    store.write_samples(rows.astype(object).where(rows.notna(), None).to_dict("records"))
    faults = check_run(store.path).faults
    assert len(faults) == 2 * 2 * 23
    assert re.search("and not the 40 of its fold, [012]$", faults[0])


def test_a_published_run_with_folds_reads_the_same_and_is_described(planted, tmp_path):
    run, _ = planted
    publish_run(run.path, tmp_path / "out", "cc-by-4.0", "Ada")
    assert np.array_equal(Run(tmp_path / "out").predicted(split="all"), run.predicted(split="all"))
    fields = [
        f["name"]
        for r in json.loads((tmp_path / "out" / "croissant.json").read_text())["recordSet"]
        for f in r["field"]
    ]
    assert {"trainings/fold", "samples/fold"} <= set(fields)
