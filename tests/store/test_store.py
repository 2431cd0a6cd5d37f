import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from netpick.core.errors import RunError, WorkError
from netpick.core.metrics import evaluate
from netpick.core.result import EpochResult, TrainingResult
from netpick.exam.run import Run
from netpick.store import shards
from netpick.store.catalogue import catalogue_hash
from netpick.store.folder import Store
from netpick.store.runs import newest_run
from netpick.store.schema import SCHEMA_VERSION, columns

NAMES = ("Basic", "Conv2dReLU_1", "Conv2dReLU_0")
CLASSES = ("cat", "dog", "owl")
LABELS = {"test": np.array([0, 1, 2, 0, 1, 2, 0]), "validation": np.array([2, 1, 0, 0])}
KEYS = ["network", "replicate", "epoch", "split"]
SCORES = ["score_0", "score_1", "score_2"]
TABLES = ("trainings", "epochs", "predictions")
WHEN = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)


@pytest.fixture(autouse=True, scope="module")
def no_waiting_for_the_disk():
    """Skip fsync, which is most of the time of these tests and means nothing to a kill of the process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        yield


def network(name):
    numbers = {"params": 1, "memory": 2, "ops": 3, "depth": 1, "macs": 4, "thop_macs": None}
    layers = [{"op": "Reshape", "shape": [4]}]
    return {"name": name, "hash": f"h{name}", "computation": "C", "activation": "None", "layers": layers, **numbers}


def make_store(path, names=NAMES, **manifest):
    base = {"dataset": "pets", "seed": 0, "classes": list(CLASSES), "shape": [1, 2, 2], "recipe": {"lr": 0.1}}
    return Store.create(path, {**base, **manifest}, [network(n) for n in names])


def make_result(name="Basic", replicate=0, epochs=2, seed=0, splits=("test", "validation"), **changes):
    rng = np.random.default_rng([seed, replicate, sum(map(ord, name))])
    done = []
    for e in range(1, epochs + 1):
        raw = {s: rng.normal(size=(len(LABELS[s]), len(CLASSES))) for s in splits}
        logs = {s: (x - np.log(np.exp(x).sum(1, keepdims=True))).astype(np.float32) for s, x in raw.items()}
        results = tuple(evaluate(s, x, LABELS[s], 0.25) for s, x in logs.items())
        done.append(EpochResult(e, 1 / e, 0.5, None, results))
    result = TrainingResult(name, f"h{name}", replicate, "done", 5, "cpu", "float32", WHEN, 1.5, epochs=tuple(done))
    return result.with_(**changes)


def commit_all(store, **changes):
    for i, name in enumerate(NAMES):
        store.commit(make_result(name, epochs=(2, 1, 2)[i], **changes), LABELS)


def snapshot(path):
    """All rows of all tables, as a reader without any code of ours sees them, in an order of their own."""
    out = {}
    for table in TABLES:
        rows = []
        for file in sorted((path / table).glob("[!.]*.parquet")):
            rows += pq.ParquetFile(file).read().to_pylist()
        out[table] = sorted(map(repr, rows))
    return out


def hidden(path):
    return [p.name for p in path.rglob(".*.tmp")]


class Killed(BaseException):
    """Stands for kill -9: nothing that the code under test catches."""


def stop_at(monkeypatch, n, after, error=None):
    """Let the n-th rename or removal fail or be the last thing that happens; return the counter."""
    count = [0]

    def wrap(function):
        def step(*args, **kwargs):
            count[0] += 1
            if error is not None and count[0] == n:
                raise error
            if count[0] > n or (count[0] == n and not after):
                raise Killed
            out = function(*args, **kwargs)
            if count[0] == n:
                raise Killed
            return out

        return step

    if error is not None:  # only the n-th fails

        def failing(function):
            def step(*args, **kwargs):
                count[0] += 1
                if count[0] == n:
                    raise error
                return function(*args, **kwargs)

            return step

        monkeypatch.setattr(os, "replace", failing(os.replace))
        return count
    monkeypatch.setattr(os, "replace", wrap(os.replace))
    monkeypatch.setattr(os, "unlink", wrap(os.unlink))
    return count


# ---------------------------------------------------------------------------------------------- create and open


def test_created_run_opens_with_what_was_given(tmp_path):
    make_store(tmp_path / "run", git_commit=None)
    store = Store.open(tmp_path / "run")
    assert store.manifest["classes"] == list(CLASSES)
    assert store.manifest["schema_version"] == SCHEMA_VERSION
    assert "git_commit" not in store.manifest
    rows = store.networks()
    assert [r["name"] for r in rows] == list(NAMES)
    assert json.loads(rows[0]["layers"]) == [{"op": "Reshape", "shape": [4]}]
    assert rows[0]["thop_macs"] is None
    assert store.finished() == {}


def test_create_refuses_a_folder_with_something_in_it(tmp_path):
    make_store(tmp_path / "run")
    with pytest.raises(RunError, match="is a run already: train it, or give another folder"):
        make_store(tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("mine")
    with pytest.raises(RunError, match="not empty and not a run"):
        make_store(tmp_path / "other")
    with pytest.raises(RunError, match="is a file"):
        make_store(tmp_path / "other" / "x")


def test_create_takes_an_empty_folder(tmp_path):
    make_store(tmp_path)
    assert Store.open(tmp_path).classes == 3


def test_open_says_which_runs_lie_beside(tmp_path):
    make_store(tmp_path / "mnist")
    with pytest.raises(RunError, match=r"did you mean 'mnist'.*beside it are mnist"):
        Store.open(tmp_path / "mnits")
    with pytest.raises(RunError, match="netpick generate"):
        Store.open(tmp_path / "no" / "where")


def test_open_refuses_what_is_no_run(tmp_path):
    with pytest.raises(RunError, match="is not a run"):
        Store.open(tmp_path)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_kill_while_generating_leaves_a_run_that_is_known_as_half_written(tmp_path, monkeypatch, n):
    with monkeypatch.context() as patch:
        stop_at(patch, n, after=False)
        with pytest.raises(Killed):
            make_store(tmp_path / "run")
    with pytest.raises(RunError, match=r"half-written.*remove the folder and generate it again"):
        Store.open(tmp_path / "run")


def test_open_refuses_manifests_that_are_broken_newer_or_foreign(tmp_path):
    path = tmp_path / "run"
    make_store(path)
    good = (path / "run.toml").read_text()
    (path / "run.toml").write_text(good[: len(good) // 2] + "= [")
    with pytest.raises(RunError, match=r"not valid TOML.*generate it again"):
        Store.open(path)
    (path / "run.toml").write_text(good.replace("schema_version = 2", "schema_version = 99"))
    with pytest.raises(RunError, match="schema 99 and this netpick reads up to 2: upgrade netpick"):
        Store.open(path)
    (path / "run.toml").write_text("a = 1\n")
    with pytest.raises(RunError, match="lacks schema_version"):
        Store.open(path)
    (path / "run.toml").write_text(good)
    (path / "networks.parquet").unlink()
    with pytest.raises(RunError, match=r"no networks.parquet"):
        Store.open(path)


def test_manifest_is_updated_for_good(tmp_path):
    make_store(tmp_path / "run").update_manifest(device="cpu", recipe={"lr": 0.2, "momentum": None})
    manifest = Store.open(tmp_path / "run").manifest
    assert (manifest["device"], manifest["recipe"], manifest["seed"]) == ("cpu", {"lr": 0.2}, 0)


def test_newest_run_is_the_one_generated_last(tmp_path):
    with pytest.raises(RunError, match="netpick generate"):
        newest_run(tmp_path)
    make_store(tmp_path / "a", created=datetime(2024, 1, 2, tzinfo=UTC))
    make_store(tmp_path / "b", created="2024-01-01T00:00:00+00:00")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.toml").write_text("half = ")
    assert newest_run(tmp_path) == tmp_path / "a"


def test_events_are_lines_of_json_and_never_stop_the_work(tmp_path, monkeypatch):
    store = make_store(tmp_path / "run")
    store.append_event({"event": "begin", "at": tmp_path})
    store.append_event({"event": "end"})
    first, second = map(json.loads, (tmp_path / "run" / "events.jsonl").read_text().splitlines())
    assert first["event"] == "begin"
    assert datetime.fromisoformat(second["time"]).utcoffset().total_seconds() == 0
    monkeypatch.setattr("builtins.open", lambda *a, **k: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    store.append_event({"event": "lost"})


# ------------------------------------------------------------------------------------------------------- lock


def test_lock_refuses_a_second_holder_and_survives_kill_9(tmp_path):
    path = tmp_path / "run"
    store = make_store(path)
    code = (
        "import sys, time\nfrom netpick.store.folder import Store\n"
        "with Store.open(sys.argv[1]).lock():\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=rf"in use by another process \(pid {process.pid}\)"), store.lock():
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with store.lock(), pytest.raises(RunError, match="in use"), Store.open(path).lock():
        pass
    with store.lock():
        pass


# ---------------------------------------------------------------------------------------------- what is written


def in_pandas(path, table):
    frame = pd.read_parquet(path / table)
    if "started" in frame:
        frame["started"] = frame["started"].map(lambda t: int(t.value // 1000))
    keys = [k for k in ("network", "replicate", "epoch", "split", "sample") if k in frame]
    return frame.astype({k: str for k in ("network", "split") if k in frame}).sort_values(keys, ignore_index=True)


def same(a, b):
    pd.testing.assert_frame_equal(a, b[a.columns], check_dtype=False, check_exact=True, check_column_type=False)


@pytest.mark.parametrize("compacted", [False, True])
def test_pandas_duckdb_and_polars_read_the_same(tmp_path, compacted):
    path = tmp_path / "run"
    store = make_store(path)
    commit_all(store)
    store.commit(make_result("Basic", 1, epochs=0, status="failed", error="out of\nmemory"), LABELS)
    if compacted:
        store.compact()
    for table in TABLES:
        pandas = in_pandas(path, table)
        keys = [k for k in ("network", "replicate", "epoch", "split", "sample") if k in pandas]
        change = " replace (epoch_us(started) as started)" if table == "trainings" else ""
        duck = duckdb.sql(f"select *{change} from read_parquet('{path / table}/*.parquet') order by {', '.join(keys)}")
        rows = [tuple(r) for r in duck.fetchall()]
        polars = pl.read_parquet(path / table / "*.parquet")
        if table == "trainings":
            polars = polars.with_columns(pl.col("started").dt.epoch("us"))
        polars = polars.with_columns(pl.col(k).cast(pl.String) for k in keys if k in ("network", "split")).sort(keys)
        assert duck.columns == polars.columns == list(pandas.columns) == [c.name for c in columns(table, 3)]
        assert rows == polars.rows()
        same(pd.DataFrame(rows, columns=duck.columns).astype(pandas.dtypes.to_dict()), pandas)
    assert len(in_pandas(path, "predictions")) == 5 * 11
    failed = in_pandas(path, "trainings").query("status == 'failed'").iloc[0]
    assert failed["error"] == "out of memory"
    assert failed["started"] == int(WHEN.timestamp() * 1e6)


def test_values_are_those_of_the_result(tmp_path):
    store = make_store(tmp_path / "run")
    result = make_result(seed=3)
    store.commit(result, LABELS)
    rows = in_pandas(tmp_path / "run", "predictions").query("epoch == 2 and split == 'test'")
    scores = result.epochs[1].splits[0].scores
    assert np.array_equal(rows[["score_0", "score_1", "score_2"]].to_numpy(), scores)
    assert rows["predicted"].tolist() == [max(range(3), key=lambda c, r=r: r[c]) for r in scores.tolist()]
    assert rows["label"].tolist() == LABELS["test"].tolist()
    assert rows["sample"].tolist() == list(range(7))
    epochs = in_pandas(tmp_path / "run", "epochs")
    assert epochs["train_loss"].tolist() == [1, 1, 0.5, 0.5]
    assert epochs["peak_memory_bytes"].isna().all()
    assert epochs["auc_1"].tolist() == [s.class_auc[1] for e in result.epochs for s in e.splits]


def test_numbers_that_do_not_exist_are_null_and_scores_stay_nan(tmp_path):
    store = make_store(tmp_path / "run")
    labels = {"test": np.array([0, 0, 1])}
    scores = np.full((3, 3), np.nan, np.float32)
    epoch = EpochResult(1, float("nan"), 0.5, 12, (evaluate("test", scores, labels["test"], 0.1),))
    store.commit(make_result(epochs=0, status="diverged").with_(epochs=(epoch,)), labels)
    row = pq.read_table(tmp_path / "run" / "epochs").to_pylist()[0]
    assert (row["accuracy_2"], row["auc_0"], row["peak_memory_bytes"]) == (None, None, 12)
    assert row["loss"] is None
    column = pq.read_table(tmp_path / "run" / "predictions").column("score_1")
    assert column.null_count == 0
    assert np.isnan(column.to_numpy()).all()


@pytest.mark.parametrize(("scores", "epochs_with"), [("all", {1, 2}), ("last", {2}), ("none", set())])
def test_scores_are_kept_as_asked(tmp_path, scores, epochs_with):
    store = make_store(tmp_path / "run")
    store.commit(make_result(), LABELS, scores=scores)
    store.compact()
    rows = in_pandas(tmp_path / "run", "predictions")
    assert set(rows.loc[rows["score_2"].notna(), "epoch"]) == epochs_with
    assert rows["predicted"].notna().all()
    with pytest.raises(ValueError, match="allowed: all, last, none"):
        store.commit(make_result(replicate=1), LABELS, scores="some")


@pytest.mark.parametrize("compacted", [False, True])
def test_files_say_what_is_in_them_and_how(tmp_path, compacted):
    path = tmp_path / "run"
    store = make_store(path)
    commit_all(store)
    if compacted:
        store.compact()
    for table in TABLES:
        file = next((path / table).glob("*.parquet"))
        schema = pq.read_schema(file)
        assert schema.metadata[b"netpick.table"] == table.encode()
        assert schema.metadata[b"netpick.schema_version"] == str(SCHEMA_VERSION).encode()
        for column in columns(table, 3):
            metadata = schema.field(column.name).metadata
            assert metadata[b"unit"].decode() == column.unit
            assert metadata[b"meaning"].decode() == column.meaning
    file = pq.ParquetFile(next((path / "predictions").glob("*.parquet")))
    group = file.metadata.row_group(0)
    chunks = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert "BYTE_STREAM_SPLIT" in chunks["score_0"].encodings
    assert {c.compression for c in chunks.values()} == {"ZSTD" if compacted else "LZ4"}
    epochs = [file.metadata.row_group(g).column(2).statistics for g in range(file.num_row_groups)]
    assert all(s.min == s.max for s in epochs)
    assert [s.min for s in epochs] == ([1, 1, 2, 2] if compacted else [1, 2][: len(epochs)])


def test_weights_come_back_with_shapes_and_types(tmp_path):
    store = make_store(tmp_path / "run")
    weights = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3).T, "n": np.array(3)}
    store.commit(make_result(weights=weights), LABELS)
    got = load_file(tmp_path / "run" / "weights" / "Basic-0.safetensors")
    assert np.array_equal(got["a.weight"], weights["a.weight"])
    assert got["n"].shape == ()
    store.recover()
    assert (tmp_path / "run" / "weights" / "Basic-0.safetensors").exists()
    assert store.forget({"done"}) == 1
    assert not list((tmp_path / "run" / "weights").iterdir())


def test_samples_are_written(tmp_path):
    store = make_store(tmp_path / "run")
    rows = [
        {"split": "test", "sample": i, "index": 9 - i, "label": 1, "class_name": "dog", "image": b"x"} for i in range(3)
    ]
    store.write_samples(iter(rows))
    kept = pq.read_table(tmp_path / "run" / "samples.parquet").to_pylist()
    assert kept == [row | {"name": None, "fold": None} for row in rows]


def test_commit_refuses_strangers_and_second_results(tmp_path):
    store = make_store(tmp_path / "run")
    with pytest.raises(RunError, match="no network Basic with hash other"):
        store.commit(make_result(hash="other"), LABELS)
    store.commit(make_result(), LABELS)
    with pytest.raises(RunError, match="has a result"):
        store.commit(make_result(), LABELS)
    store.compact()
    for again in (store, Store.open(tmp_path / "run")):
        with pytest.raises(RunError, match="has a result"):
            again.commit(make_result(), LABELS)


# ------------------------------------------------------------------------------------------ failures and kills


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "disk is full; free some space"), (errno.EROFS, "read-only")]
)
@pytest.mark.parametrize(("n", "several"), [*((n, 1) for n in (1, 2, 3, 4)), *((n, 2) for n in (1, 2, 3, 4, 5))])
def test_full_disk_takes_back_the_training_and_says_how_to_go_on(tmp_path, monkeypatch, n, several, code, words):
    path = tmp_path / "run"
    store = make_store(path)
    store.commit(make_result("Conv2dReLU_1"), LABELS)
    before = snapshot(path)
    results = [make_result(name, weights={"w": np.ones(2)}) for name in ("Basic", "Conv2dReLU_0")[:several]]
    with monkeypatch.context() as patch:
        stop_at(patch, n, after=False, error=OSError(code, "no"))
        with pytest.raises(WorkError, match=words) as caught:
            store.commit_all(results, LABELS)
    assert "give the same command again; 1 finished training is safe" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert snapshot(path) == before
    assert not hidden(path)
    assert not list((path / "weights").iterdir())
    store.commit_all(results, LABELS)
    assert store.finished() == {(one.hash, 0): "done" for one in (make_result("Conv2dReLU_1"), *results)}


def test_writer_that_fails_in_the_middle_of_a_file_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "run"
    store = make_store(path)

    def failing(file, schema, compression):
        file.write(b"PAR1 and then")
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(shards, "parquet_writer", failing)
        with pytest.raises(WorkError, match="0 finished trainings are safe"):
            store.commit(make_result(), LABELS)
    assert not any(p.is_file() for t in TABLES for p in (path / t).iterdir())


def test_each_file_is_on_the_disk_before_it_gets_its_name_and_the_row_that_counts_is_last(tmp_path, monkeypatch):
    path = tmp_path / "run"
    store = make_store(path)
    store.recover()
    steps = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: steps.append(("sync", os.readlink(f"/proc/self/fd/{fd}"))))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append(("name", str(b))), replace(a, b)))
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc to know which file a descriptor is")
    store.commit(make_result(weights={"w": np.ones(2)}), LABELS)
    expected = []
    for folder in ("weights", "predictions", "epochs", "trainings"):
        name = "Basic-0.safetensors" if folder == "weights" else "hBasic-0.parquet"
        file = path / folder / name
        expected += [
            ("sync", str(file.with_name(f".{name}.{os.getpid()}.tmp"))),
            ("name", str(file)),
            ("sync", str(file.parent)),
        ]
    assert steps == expected


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("n", "several"), [*((n, 1) for n in (1, 2, 3, 4)), *((n, 2) for n in (1, 2, 3, 4, 5))])
def test_kill_during_commit_gives_all_or_nothing(tmp_path, monkeypatch, n, several, after):
    path = tmp_path / "run"
    store = make_store(path)
    store.commit(make_result("Conv2dReLU_1"), LABELS)
    before = snapshot(path)
    results = [make_result(name, weights={"w": np.ones(2)}) for name in ("Basic", "Conv2dReLU_0")[:several]]
    with monkeypatch.context() as patch:
        stop_at(patch, n, after)
        with pytest.raises(Killed):
            store.commit_all(results, LABELS)
    complete = n == 3 + several and after
    run = Run(path)
    assert len(run.trainings) == 1 + several * complete  # an orphan counts for nothing even before it is cleared away
    assert set(run.epochs["network"]) == set(run.predictions()["network"]) == set(run.trainings["network"])
    again = Store.open(path)
    again.recover()
    assert not hidden(path)
    assert (("hBasic", 0) in again.finished()) == complete
    assert (path / "weights" / "Basic-0.safetensors").exists() == complete
    if not complete:
        assert snapshot(path) == before
        again.commit_all(results, LABELS)
    Store.create(tmp_path / "calm", store.manifest, [network(n) for n in NAMES])
    calm = Store.open(tmp_path / "calm")
    calm.commit(make_result("Conv2dReLU_1"), LABELS)
    for result in results:
        calm.commit(result, LABELS)
    assert snapshot(path) == snapshot(tmp_path / "calm")


def mixed(path):
    """A store with a merged file and new shards, ready for another compaction."""
    store = make_store(path)
    store.commit(make_result("Basic"), LABELS)
    store.commit(make_result("Conv2dReLU_0", status="timeout"), LABELS)
    store.compact()
    store.commit(make_result("Conv2dReLU_1", epochs=1), LABELS)
    failed = make_result("Basic", 1, status="failed", error="x", epochs=0)
    store.commit_all([make_result("Conv2dReLU_0", 1), failed], LABELS)
    return store


def every_stop(tmp_path, monkeypatch, action):
    """Yield the path of a `mixed` store for each kill before or after a step of `action`, until it gets through."""
    mixed(tmp_path / "first")
    for n in range(1, 100):
        for after in (False, True):
            path = tmp_path / f"{n}{after}"
            shutil.copytree(tmp_path / "first", path)
            store = Store.open(path)
            with monkeypatch.context() as patch:
                stop_at(patch, n, after)
                try:
                    action(store)
                except Killed:
                    killed = True
                else:
                    killed = False
            if not killed:
                assert n > 5
                return
            yield path
    pytest.fail("the action does not come to an end")


def test_kill_during_compaction_neither_loses_nor_doubles(tmp_path, monkeypatch):
    mixed(tmp_path / "calm")
    expected = snapshot(tmp_path / "calm")
    frame = Run(tmp_path / "calm").predictions(None, None, replicate=None)
    for path in every_stop(tmp_path, monkeypatch, lambda s: s.compact()):
        run = Run(path)  # our own reader sees it right even before the repair
        assert run.predictions(None, None, replicate=None).equals(frame), path.name
        assert len(run.trainings) == 5
        bare = snapshot(path)
        assert all(set(bare[t]) == set(expected[t]) for t in TABLES)  # doubled at most, for a moment
        store = Store.open(path)
        store.recover()
        assert snapshot(path) == expected, path.name
        assert not hidden(path)
        store.compact()
        assert snapshot(path) == expected
        assert len(list((path / "predictions").iterdir())) == 1


def test_kill_during_forget_forgets_whole_trainings(tmp_path, monkeypatch):
    for path in every_stop(tmp_path, monkeypatch, lambda s: s.forget({"timeout", "failed"})):
        store = Store.open(path)
        store.recover()
        names = set(store.finished())
        assert {("hBasic", 0), ("hConv2dReLU_1", 0), ("hConv2dReLU_0", 1)} <= names
        rows = pd.read_parquet(path / "predictions")
        there = {(network, replicate) for network, replicate in zip(rows["network"], rows["replicate"], strict=True)}
        assert there == {(hash_[1:], replicate) for hash_, replicate in names if (hash_, replicate) != ("hBasic", 1)}
        assert len(rows) == 55 + 22 * (("hConv2dReLU_0", 0) in names)
        store.forget({"timeout", "failed"})
        store.commit(make_result("Conv2dReLU_0", seed=1), LABELS)
        assert len(pd.read_parquet(path / "predictions")) == 77


def test_full_disk_during_compaction_changes_nothing(tmp_path, monkeypatch):
    mixed(tmp_path / "first")
    before = snapshot(tmp_path / "first")
    for n in (1, 2, 3):
        shutil.copytree(tmp_path / "first", tmp_path / str(n))
        store = Store.open(tmp_path / str(n))
        with monkeypatch.context() as patch:
            stop_at(patch, n, after=False, error=OSError(errno.ENOSPC, "full"))
            with pytest.raises(WorkError, match="5 finished trainings are safe"):
                store.compact()
        store.recover()
        assert snapshot(tmp_path / str(n)) == before
        assert not hidden(tmp_path)


# -------------------------------------------------------------------------------------------- compact and forget


def test_compaction_again_and_again_keeps_all_rows(tmp_path):
    path = tmp_path / "run"
    store = make_store(path)
    calm = make_store(tmp_path / "calm")
    for replicate in range(4):
        for name in NAMES:
            store.commit(make_result(name, replicate), LABELS)
            calm.commit(make_result(name, replicate), LABELS)
        store.compact(rows_per_file=100)  # 22 rows a training: files of 66, large enough to be left alone
    assert snapshot(path) == snapshot(tmp_path / "calm")
    assert len(list((path / "predictions").iterdir())) == 4
    assert store.finished() == calm.finished()
    assert store.compact(rows_per_file=10_000) == {"trainings": (1, 1), "epochs": (1, 1), "predictions": (4, 1)}
    assert store.compact(rows_per_file=10_000)["predictions"] == (1, 1)
    assert snapshot(path) == snapshot(tmp_path / "calm")


def test_compacted_predictions_lie_by_epoch_split_and_network(tmp_path, monkeypatch):
    monkeypatch.setattr("netpick.store.compact.GROUP_ROWS", 10)
    store = make_store(tmp_path / "run")
    commit_all(store)
    store.compact()
    rows = pd.read_parquet(tmp_path / "run" / "predictions").astype({"network": str, "split": str})
    ordered = rows.sort_values(["epoch", "split", "network", "replicate", "sample"], ignore_index=True)
    pd.testing.assert_frame_equal(rows, ordered)
    file = pq.ParquetFile(tmp_path / "run" / "predictions" / "part-00001.parquet")
    assert max(file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)) <= 14


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("room", [2**28, 1])
def test_merging_says_its_share_and_gives_the_same_however_it_was_written(tmp_path, monkeypatch, room, together):
    monkeypatch.setattr("netpick.store.compact.GROUP_ROWS", 10)
    store, calm = make_store(tmp_path / "run"), make_store(tmp_path / "calm")
    commit_all(calm)
    calm.commit(make_result("Basic", 1), LABELS)
    first, second, third = (make_result(name, epochs=(2, 1, 2)[i]) for i, name in enumerate(NAMES))
    if together:  # networks of each file lie among those of the other
        store.commit_all([third, first], LABELS)
        store.commit_all([second, make_result("Basic", 1)], LABELS)
        assert len(list((tmp_path / "run" / "predictions").iterdir())) == 2
    else:
        commit_all(store)
        store.commit(make_result("Basic", 1), LABELS)
    assert snapshot(tmp_path / "run") == snapshot(tmp_path / "calm")
    calm.compact()
    monkeypatch.setattr("netpick.store.compact.GROUP_BYTES", room * 1000)
    assert store.scattered() == len(store.finished())
    shares = []
    store.compact(on_share=shares.append)
    assert store.scattered() == 0
    assert shares == sorted(shares)
    assert len(set(shares)) > (5 if not together else 3)
    assert (shares[-1], 0 < shares[0] < 0.5) == (1, True)
    assert snapshot(tmp_path / "run") == snapshot(tmp_path / "calm")
    for table in ("trainings", "epochs", "predictions"):
        one, other = (pq.read_table(*(tmp_path / name / table).iterdir()) for name in ("run", "calm"))
        assert one.to_pylist() == other.to_pylist()


@pytest.mark.parametrize("compacted", [False, True])
def test_forget_takes_out_only_these_statuses(tmp_path, compacted):
    path = tmp_path / "run"
    store = make_store(path)
    for name, status in zip(NAMES, ("done", "failed", "timeout"), strict=True):
        store.commit(make_result(name, status=status), LABELS)
    calm = make_store(tmp_path / "calm")
    calm.commit(make_result("Basic"), LABELS)
    if compacted:
        store.compact()
    assert store.forget({"diverged"}) == 0
    assert store.forget({"failed", "timeout"}) == 2
    assert snapshot(path) == snapshot(tmp_path / "calm")
    assert store.forget({"done"}) == 1
    assert store.finished() == {}
    for s in (store, calm):
        if s is store:
            s.commit(make_result("Basic"), LABELS)
        s.commit(make_result("Conv2dReLU_1"), LABELS)
        s.recover()
    assert snapshot(path) == snapshot(tmp_path / "calm")


def test_replicates_of_one_network_are_told_apart_in_merged_files(tmp_path):
    store = make_store(tmp_path / "run")
    for replicate in range(3):
        store.commit(make_result("Basic", replicate, status="failed" if replicate == 1 else "done"), LABELS)
    store.compact()
    assert store.forget({"failed"}) == 1
    assert set(pd.read_parquet(tmp_path / "run" / "predictions")["replicate"]) == {0, 2}


def test_broken_training_row_is_named(tmp_path):
    store = make_store(tmp_path / "run")
    commit_all(store)
    bad = tmp_path / "run" / "trainings" / "hBasic-0.parquet"
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(RunError, match=r"hBasic-0\.parquet is broken"):
        store.finished()


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_results_come_back_compacted_or_not(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "run"
    store = make_store(path)
    results = {}
    for name in NAMES:
        for replicate in range(data.draw(st.integers(0, 2))):
            epochs = data.draw(st.integers(0, 3))
            result = make_result(name, replicate, epochs, data.draw(st.integers(0, 99)))
            for epoch in result.epochs:
                for split in epoch.splits:
                    values = st.floats(width=32, max_value=0)
                    split.scores.flat[data.draw(st.integers(0, 11))] = data.draw(st.one_of(values, st.just(np.nan)))
            status = data.draw(st.sampled_from(["done", "diverged", "failed", "timeout"]))
            results[name, replicate] = result.with_(status=status)
            store.commit(results[name, replicate], LABELS)
    for compacted in (False, True):
        if compacted:
            store.compact(rows_per_file=data.draw(st.sampled_from([1, 60, 1000])))
        assert store.finished() == {(f"h{n}", r): x.status for (n, r), x in results.items()}
        run = Run(path)
        rows = run.predictions(None, None, replicate=None)
        got = {k: f.to_numpy() for k, f in rows.set_index(KEYS).groupby(level=KEYS, observed=True)[SCORES]}
        expected = {
            (name, replicate, epoch.epoch, split.split): split.scores
            for (name, replicate), result in results.items()
            for epoch in result.epochs
            for split in epoch.splits
        }
        assert got.keys() == expected.keys()
        assert all(np.array_equal(got[k], expected[k], equal_nan=True) for k in got)
        assert len(run.epochs) == len(expected)


def test_the_hash_of_a_catalogue_is_that_of_its_json_and_networks_may_come_one_by_one():
    networks = [
        {"name": "A", "computation": "Linear", "layers": [{"op": "ReLU"}]},
        {"name": "Ö", "layers": [1.5, None]},
    ]
    for some in (networks, networks[:1], []):
        whole = hashlib.sha256(json.dumps(some, sort_keys=True).encode()).hexdigest()
        assert catalogue_hash(iter(some)) == whole
