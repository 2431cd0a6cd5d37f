"""The page of hard images: its counts are those of the predictions; found label errors are counted by hand."""

import numpy as np
import pytest
from test_benchmarks import script  # noqa: F401  a fixture

from netpick import Run
from netpick.core.errors import NetpickError
from netpick.exam import plant


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("atlas") / "exam"
    plant(folder, networks=61, samples=200, folds=3)
    return Run(folder)


def rows_of(page, first):
    """Return the rows of the table whose head begins so, without head and rule."""
    lines = page[page.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_page_counts_what_the_predictions_say(run, script, tmp_path):  # noqa: F811
    page = script("atlas").block(run.path, tmp_path)
    frame = run.predictions(split="left_out").assign(right=lambda f: f["predicted"] == f["label"])
    by = frame[frame["epoch"] == frame["epoch"].max()].groupby("sample")["right"].agg(["mean", "size", "sum"])
    tests, left = rows_of(page, "images")[:2]
    assert left[1:3] == [str(len(by)), f"{by['size'].min()} to {by['size'].max()}"]
    assert [int(cell) for cell in left[4:]] == [
        (by["mean"] == 1).sum(), (by["mean"] < 0.5).sum(), (by["mean"] < 0.1).sum(), (by["sum"] == 0).sum()
    ]  # fmt: skip
    assert tests[1] == "200"
    classes = rows_of(page, "class")
    assert sum(int(row[2]) for row in classes) == int(left[5])
    assert {file.name for file in tmp_path.iterdir()} >= {"exam-weird.png", "exam-suspects.png"}


def test_a_run_without_folds_is_told_so(script, tmp_path):  # noqa: F811
    plant(tmp_path / "exam", networks=12, samples=50)
    with pytest.raises(NetpickError, match="without folds"):
        script("atlas").block(tmp_path / "exam", tmp_path)


def test_label_errors_are_counted_by_hand(script):  # noqa: F811
    score, flagged = np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False])
    found = script("label_errors").judged(score, flagged, np.array([0, 2]))
    assert found["precision of the first 2"] == 0.5
    assert found["average precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert (found["flagged"], found["precision of the flagged"], found["recall of the flagged"]) == (2, 1.0, 1.0)
    assert found["AUC"] == 0.75
