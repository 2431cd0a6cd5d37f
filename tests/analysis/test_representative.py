"""representative: alike where both splits come from one law, and not where they don't; who is far out, and hard."""

import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from netpick import exam
from netpick.core.errors import NetpickError
from netpick.exam.run import Run
from netpick.store.folder import Store


@pytest.fixture
def moved(planted, tmp_path):
    """The planted run, with the test images of class 3 farther away than its training images."""
    folder = shutil.copytree(planted[1].folder, tmp_path / "run")
    rows = pd.read_parquet(folder / "distances.parquet")
    rows.loc[(rows["split"] == "test") & (rows["label"] == 3), "nearest"] *= 1.5
    Store.open(folder).write_distances(rows.to_dict("records"))
    return Run(folder)


def test_splits_of_one_law_are_alike(planted):
    answer = planted[0].ask("representative")
    assert "that may be chance" in answer.text
    assert "of no class alone it is more than chance" in answer.text
    assert "Nothing shows" in " ".join(answer.figure().get_suptitle().split())


def test_a_class_that_lies_farther_away_is_named(moved):
    answer = moved.ask("representative")
    table = answer.table.set_index("class_name")
    assert table.index[table["p"] < 0.05].tolist()[:1] == ["3"]
    assert "of 1 of 10 classes it is more than chance: '3'" in answer.text
    assert table.loc["3", "farther"] > 0.8
    assert "Test images lie farther from" in " ".join(answer.figure().get_suptitle().split())


def test_numbers_by_hand(planted):
    run, _ = planted
    table, rows = run.ask("representative").table, run.distances
    frame = exam.students(run)
    right = run.predicted(networks=frame.loc[frame["good"], "name"].tolist()) == run.labels()
    for row in table.iloc[:-1].to_dict("records"):
        test, train = (rows[(rows["split"] == s) & (rows["label"] == row["label"])] for s in ("test", "train"))
        pairs = np.subtract.outer(test["nearest"].to_numpy(), train["nearest"].to_numpy())
        assert row["farther"] == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
        wrong = 1 - right[:, test["sample"]].mean(axis=0)
        assert row["correlation"] == pytest.approx(stats.spearmanr(test["nearest"], wrong).statistic)
    assert table["test"].iloc[-1] == 500


def test_samples_that_lie_farthest_out_come_first(planted):
    run, _ = planted
    table, rows = run.ask("representative", by="sample").table, run.distances
    assert sorted(table["sample"]) == list(range(500))
    assert table["outside"].is_monotonic_decreasing
    for row in table.head(20).to_dict("records"):
        train = rows.loc[(rows["split"] == "train") & (rows["label"] == row["label"]), "nearest"]
        assert row["outside"] == (train < row["nearest"]).mean()
    text = run.ask("representative").text
    assert f"{(table['outside'] >= 0.99).sum()} of 500 test images lie farther out than 99 %" in text


def test_what_is_missing_is_said_with_the_command(planted, tmp_path):
    folder = shutil.copytree(planted[1].folder, tmp_path / "run")
    (folder / "distances.parquet").unlink()
    with pytest.raises(NetpickError, match=r"it is not known how far .*: `netpick distances .*run` works it out"):
        Run(folder).ask("representative")
    with pytest.raises(NetpickError, match="by is 'clas'"):
        planted[0].ask("representative", by="clas")


def test_edges(edge):
    for options in ({}, {"everyone": True, "by": "sample"}):
        answer = edge[0].ask("representative", **options)
        assert len(answer.table)
        assert answer.figure().axes
