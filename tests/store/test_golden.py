"""Runs that earlier versions wrote, which every later one must read to the last digit."""

import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from netpick import Run
from netpick.sessions import check_run
from netpick.store.folder import Store
from netpick.store.weights import kept_weights, read_weights

GOLDEN = Path(__file__).parent / "golden"
NUMBERS = json.loads((GOLDEN / "numbers.json").read_text())
TABLES = ("networks", "trainings", "epochs", "predictions", "samples", "timings", "layer_times", "distances")


@pytest.fixture(scope="module", params=sorted(NUMBERS))
def golden(request, tmp_path_factory):
    """A copy of a golden run: the run itself is never written to."""
    folder = tmp_path_factory.mktemp("golden") / request.param
    return shutil.copytree(GOLDEN / request.param, folder)


@pytest.fixture(scope="module")
def bare():
    sys.path.insert(0, str(GOLDEN))
    import numbers_of_golden as module

    sys.path.remove(str(GOLDEN))
    return module


def of_run(run, table):
    """The rows of a table as a user gets them."""
    return run.predictions(epoch=None, split=None, replicate=None) if table == "predictions" else getattr(run, table)


def as_now(row):
    """A row in the words of now: what schema 1 called `shuffle` is `order`, and is read from the run's recipe."""
    row = dict(row)
    if "shuffle" in row:
        row["order"] = "shuffled" if row.pop("shuffle") else "fixed"
    return row


def values(bare, frame, names):
    """Rows of a frame in the form of the numbers."""
    rows = [bare.plain(row) for row in frame[names].astype(object).to_dict("records")]
    rows = [{key: None if value is pd.NaT or value != value else value for key, value in row.items()} for row in rows]
    return sorted(rows, key=lambda row: [row[key] for key in bare.KEYS if key in row])


def test_the_files_are_those_that_the_numbers_are_of(bare):
    assert {name: bare.read(GOLDEN / name) for name in NUMBERS} == NUMBERS


def test_there_is_one_of_each_schema_and_it_has_all_forms():
    versions = {name: Store.open(GOLDEN / name).manifest["schema_version"] for name in NUMBERS}
    assert sorted(versions.values()) == [1, 2]
    for name in NUMBERS:
        for table in ("trainings", "epochs", "predictions"):
            files = [path.name.startswith("part-") for path in (GOLDEN / name / table).glob("*.parquet")]
            assert sorted(files) == [False, True]


@pytest.mark.parametrize("merged", [False, True], ids=["as it is", "merged"])
def test_all_tables_are_read_as_they_were_written(golden, bare, merged):
    expected = NUMBERS[golden.name]
    if merged:
        Store.open(golden).compact()
    run = Run(golden)
    for table in TABLES:
        if table in expected:
            rows = [as_now(row) for row in expected[table]]
            assert values(bare, of_run(run, table), list(rows[0])) == rows, table
    assert {table for table in TABLES if table not in expected} <= {"timings", "layer_times", "distances"}


def test_arrays_weights_and_labels_are_those_of_the_rows(golden):
    expected, run = NUMBERS[golden.name], Run(golden)
    last = max(row["epoch"] for row in expected["predictions"])
    rows = [row for row in expected["predictions"] if (row["epoch"], row["split"]) == (last, "test")]
    names = run.network_names()
    wanted = np.zeros((len(names), len(run.labels()), 3), np.float32)
    for row in rows:
        wanted[names.index(row["network"]), row["sample"]] = [row[f"score_{c}"] for c in range(3)]
    assert np.array_equal(run.scores(), wanted)
    assert run.labels().tolist() == [row["label"] for row in rows if row["network"] == names[0]]
    for name in names:
        arrays = read_weights(kept_weights(golden, name, 0))
        kept = {key: array.ravel().tolist() for key, array in arrays.items()}
        assert kept == expected["weights"][f"{name}-0"]


def test_it_holds_and_questions_have_answers(golden):
    checked = check_run(golden)
    assert checked.faults == []
    from netpick.exam import students

    found = students(Run(golden)).set_index("name")
    for name, row in found.iterrows():
        rows = [r for r in NUMBERS[golden.name]["predictions"] if (r["network"], r["split"]) == (name, "test")]
        last = [r for r in rows if r["epoch"] == max(r["epoch"] for r in rows)]
        assert math.isclose(row["accuracy"], sum(r["predicted"] == r["label"] for r in last) / len(last))
