"""Tables as a stranger may have written them: a file is what its name and run.toml say, or is refused in one line."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from netpick.core.errors import RunError
from netpick.exam import Run, plant
from netpick.store import Store, rows


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows") / "run"
    plant(folder, 12, 50, classes=3, epochs=2, replicates=2)
    return folder


@pytest.fixture
def run(planted, tmp_path):
    shutil.copytree(planted, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def merged(run):
    store = Store.open(run)
    with store.lock():
        store.compact()
    return run


def rewrite(path, change):
    """Write a file of the same metadata, but the checksum, with another table in it."""
    table = pq.ParquetFile(path).read()
    metadata = {k: v for k, v in (table.schema.metadata or {}).items() if k != b"netpick.footer_crc32"}
    path.unlink()
    pq.write_table(change(table).replace_schema_metadata(metadata), path)


def put(table, column, values):
    at = table.schema.get_field_index(column)
    return table.set_column(at, column, pa.array(values).cast(table.schema.field(at).type))


def constant(column, value):
    return lambda table: put(table, column, [value] * len(table))


def read_all(folder):
    run = Run(folder)
    return [run.networks, run.samples, run.trainings, run.epochs, run.predictions(None, None, None, None), run.labels()]


def refused(folder, read=read_all):
    with pytest.raises(RunError) as caught:
        read(folder)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def shard(run, table, which=0):
    return sorted((run / table).glob("*.parquet"))[which]


COLUMNS = {
    "removed": lambda name: lambda t: t.drop_columns([name]),
    "renamed": lambda name: lambda t: t.rename_columns([f"{c}x" if c == name else c for c in t.column_names]),
    "twice": lambda name: lambda t: t.append_column(name, t[name]),
    "of another type": lambda name: (
        lambda t: t.set_column(t.schema.get_field_index(name), name, pa.nulls(len(t), pa.timestamp("s")))
    ),
}


@pytest.mark.parametrize("way", COLUMNS)
@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("trainings", "status"),
        ("epochs", "split"),
        ("predictions", "network"),
        ("predictions", "score_1"),
        ("networks", "ops"),
        ("samples", "split"),
    ],
)
def test_a_table_of_other_columns_is_refused(run, table, column, way):
    path = run / f"{table}.parquet" if table in ("networks", "samples") else shard(run, table)
    rewrite(path, COLUMNS[way](column))
    said = refused(run)
    assert str(path) in said
    assert column in said


def test_columns_in_another_order_and_further_ones_are_read(run):
    before = read_all(run)
    for table in ("trainings", "epochs", "predictions"):
        rewrite(shard(run, table), lambda t: t.select(t.column_names[::-1]).append_column("later", t.columns[0]))
    after = read_all(run)
    for a, b in zip(before[:-1], after[:-1], strict=True):
        pd.testing.assert_frame_equal(a, b)
    np.testing.assert_array_equal(before[-1], after[-1])


def test_a_run_of_before_lacks_the_columns_that_came_later(run):
    for path in (run / "trainings").glob("*.parquet"):
        rewrite(path, lambda t: t.drop_columns(["optimizer", "lr", "train_samples"]))
    assert Run(run).trainings["train_samples"].isna().all()


@pytest.mark.parametrize("table", ["trainings", "epochs", "predictions"])
def test_a_file_under_the_name_of_another_training_is_refused(run, table):
    first, second = shard(run, table, 0), shard(run, table, -1)
    aside = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(aside)
    said = refused(run)
    assert "is not the file of that" in said
    assert str(first) in said or str(second) in said
    opened = Run(run, skip_broken=True)
    _ = opened.trainings, opened.epochs, opened.predictions(None, None, None, None)
    assert first in opened.broken


@pytest.mark.parametrize("table", ["trainings", "epochs", "predictions"])
def test_rows_of_another_network_or_replicate_are_refused(run, table):
    name = next(n for n in Run(run).networks["name"] if n != Run(run).networks["name"].iloc[0])
    path = next(p for p in sorted((run / table).glob("*.parquet")) if p.stem.endswith("-0"))
    before = path.read_bytes()
    for column, value in (("replicate", 1), ("replicate", -1), ("network", "nobody"), ("network", name)):
        path.write_bytes(before)
        if pq.read_table(path)[column][0].as_py() != value:
            rewrite(path, constant(column, value))
            assert str(path) in refused(run)


@pytest.mark.parametrize("table", ["trainings", "epochs", "predictions"])
def test_a_merged_file_that_holds_others_than_it_says_is_refused(merged, table):
    path = shard(merged, table)
    table_ = pq.ParquetFile(path).read()
    metadata = dict(table_.schema.metadata)
    holds = json.loads(metadata[b"netpick.holds"])
    metadata[b"netpick.holds"] = json.dumps(holds[:-1]).encode()
    metadata.pop(b"netpick.footer_crc32", None)
    path.unlink()
    pq.write_table(table_.replace_schema_metadata(metadata), path)
    assert str(path) in refused(merged)


@pytest.mark.parametrize("table", ["trainings", "epochs", "predictions", "samples", "networks"])
@pytest.mark.parametrize("base", ["run", "merged"])
def test_rows_that_are_there_twice_are_refused(request, base, table):
    folder = request.getfixturevalue(base)
    path = folder / f"{table}.parquet" if table in ("networks", "samples") else shard(folder, table)
    rewrite(path, lambda t: pa.concat_tables([t, t]))
    refused(folder)


VALUES = [
    ("trainings", "status", "fine"),
    ("trainings", "network", None),
    ("epochs", "epoch", 0),
    ("epochs", "accuracy", None),
    ("predictions", "predicted", 3),
    ("predictions", "predicted", -1),
    ("predictions", "label", 99),
    ("predictions", "sample", -1),
    ("predictions", "sample", 0),
    ("predictions", "split", None),
    ("samples", "label", 3),
    ("samples", "split", None),
    ("samples", "sample", 7),
    ("networks", "params", -1),
    ("networks", "macs", None),
    ("networks", "layers", "[" * 99_999),
    ("networks", "layers", '[{"op": []}]'),
    ("networks", "layers", '[{"op": "ReLU", "x": ' + "9" * 5000 + "}]"),
    ("networks", "recipe", '{"replicates": "many"}'),
    ("networks", "recipe", '{"odd": 1}'),
]


@pytest.mark.parametrize(("table", "column", "value"), VALUES)
def test_values_that_cannot_be_are_refused(run, table, column, value):
    path = run / f"{table}.parquet" if table in ("networks", "samples") else shard(run, table)
    rewrite(path, constant(column, value))
    assert refused(run, lambda folder: [*read_all(folder), Run(folder).scores()]).count(str(run)) >= 1


def test_files_are_read_some_at_a_time(run, monkeypatch):
    whole = Run(run)
    expected = whole.trainings, whole.epochs
    monkeypatch.setattr(rows, "AT_ONCE", 5)
    again = Run(run)
    for found, wanted in zip((again.trainings, again.epochs), expected, strict=True):
        pd.testing.assert_frame_equal(found, wanted)
    path = max((run / "trainings").glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RunError, match=path.name):
        Run(run).trainings  # noqa: B018


def test_samples_and_predictions_of_other_numbers_are_noticed(run):
    rewrite(run / "samples.parquet", lambda t: t.slice(0, len(t) - 1))
    assert "others, or samples.parquet, 49" in refused(run, lambda folder: Run(folder).scores())


@pytest.mark.parametrize("name", ["networks.parquet", "samples.parquet", "trainings", "epochs", "predictions"])
def test_a_pipe_in_the_place_of_a_table_does_not_hang(run, name):
    path = run / name if name.endswith(".parquet") else shard(run, name)
    path.unlink()
    os.mkfifo(path)
    said = refused(run)
    assert name in said


def test_a_pipe_in_the_place_of_the_note_of_the_lock_does_not_hang(run):
    os.mkfifo(run / ".lock.pid")
    store = Store.open(run)
    with store.lock():
        (run / ".lock.pid").unlink()
        os.mkfifo(run / ".lock.pid")
        with pytest.raises(RunError, match="in use by another process"), Store.open(run).lock():
            pass


@pytest.mark.parametrize("table", ["trainings", "epochs", "predictions"])
@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_words_may_be_of_any_form_as_other_programs_write_them(run, table, kind):
    before = Run(run)
    frames = before.trainings, before.epochs, before.predictions()

    def recast(rows):
        for at, field in enumerate(rows.schema):
            if pa.types.is_dictionary(field.type):
                rows = rows.set_column(at, field.name, rows.column(at).cast(pa.string()).cast(kind))
        return rows

    for file in (run / table).glob("*.parquet"):
        rewrite(file, recast)
    after = Run(run)
    for old, new in zip(frames, (after.trainings, after.epochs, after.predictions()), strict=True):
        pd.testing.assert_frame_equal(old, new)
