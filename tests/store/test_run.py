import subprocess
import sys
from io import BytesIO

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from test_store import CLASSES, LABELS, NAMES, commit_all, make_result, make_store

from netpick import Run
from netpick.core.errors import RunError
from netpick.exam import plant
from netpick.store.checksums import KEY
from netpick.store.schema import columns

SCORES = ["score_0", "score_1", "score_2"]


def png(value):
    file = BytesIO()
    Image.fromarray(np.full((2, 2), value, np.uint8)).save(file, "png")
    return file.getvalue()


def write_samples(store):
    store.write_samples(
        {"split": s, "sample": i, "index": i, "label": int(c), "class_name": CLASSES[c], "image": png(10 * i)}
        for s, labels in LABELS.items()
        for i, c in enumerate(labels)
    )


@pytest.fixture(params=[False, True], ids=["shards", "compacted"])
def run(tmp_path, request):
    """Basic and Conv2dReLU_0 with two epochs, Conv2dReLU_1 with one; Basic twice."""
    store = make_store(tmp_path / "pets")
    commit_all(store)
    store.commit(make_result("Basic", 1), LABELS)
    write_samples(store)
    if request.param:
        store.compact()
    return Run(tmp_path / "pets")


def test_run_knows_itself(run, tmp_path):
    assert (run.name, run.path, run.classes) == ("pets", tmp_path / "pets", list(CLASSES))
    assert run.recipe == {"lr": 0.1}
    assert run.manifest["dataset"] == "pets"
    assert repr(run) == f"Run('{tmp_path / 'pets'}')"
    assert run.broken == []


def test_frames_have_the_columns_of_the_schema_in_catalogue_order(run):
    for table in ("networks", "trainings", "epochs", "samples"):
        frame = getattr(run, table)
        assert list(frame.columns) == [c.name for c in columns(table, 3)]
        assert getattr(run, table) is frame
    assert run.networks["name"].tolist() == list(NAMES)
    assert list(run.trainings["network"]) == ["Basic", "Basic", "Conv2dReLU_1", "Conv2dReLU_0"]
    assert list(run.trainings["network"].cat.categories) == list(NAMES)
    assert str(run.trainings["started"].dtype).startswith("datetime64[us, UTC")
    assert len(run.epochs) == 2 * (2 + 2 + 1 + 2)


def test_predictions_of_the_last_epoch_that_each_training_reached(run):
    rows = run.predictions()
    assert len(rows) == 3 * 7
    assert rows.groupby("network", observed=True)["epoch"].max().to_dict() == {
        "Basic": 2, "Conv2dReLU_1": 1, "Conv2dReLU_0": 2,
    }  # fmt: skip
    assert list(rows["network"].unique()) == list(NAMES)
    expected = make_result("Conv2dReLU_0").epochs[1].splits[0].scores
    assert np.array_equal(rows.loc[rows["network"] == "Conv2dReLU_0", SCORES].to_numpy(), expected)


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({"epoch": None, "split": None, "replicate": None}, 7 * 11),
        ({"epoch": 2}, 2 * 7),
        ({"epoch": [1, 2], "split": "validation"}, 5 * 4),
        ({"epoch": [1, -1]}, 5 * 7),
        ({"networks": "Basic", "replicate": None}, 2 * 7),
        ({"networks": ["Conv2dReLU_1", "Basic"], "epoch": 1}, 2 * 7),
        ({"networks": ["Conv2dReLU_1"], "epoch": 2}, 0),
        ({"networks": []}, 0),
    ],
)
def test_predictions_can_be_narrowed(run, arguments, count):
    rows = run.predictions(**arguments)
    assert len(rows) == count
    assert not rows.duplicated(["network", "replicate", "epoch", "split", "sample"]).any()
    assert list(rows.columns) == [c.name for c in columns("predictions", 3)]
    bare = pd.read_parquet(run.path / "predictions")
    both = rows.astype({"network": str, "split": str}).merge(bare.astype({"network": str, "split": str}))
    assert len(both) == count


def test_only_the_columns_asked_for_are_read(run):
    rows = run.predictions(columns=["sample", "predicted"])
    assert list(rows.columns) == ["sample", "predicted"]
    assert np.array_equal(rows["predicted"], run.predictions()["predicted"])
    with pytest.raises(RunError, match=r"no column 'scores_0' .did you mean 'score_0'"):
        run.predictions(columns=["scores_0"])


def test_arrays_agree_with_the_frame(run):
    assert run.network_names() == list(NAMES)
    scores, predicted = run.scores(), run.predicted()
    assert (scores.dtype, scores.shape) == (np.float32, (3, 7, 3))
    assert (predicted.dtype, predicted.shape) == (np.int16, (3, 7))
    rows = run.predictions()
    assert np.array_equal(scores.reshape(-1, 3), rows[SCORES].to_numpy())
    assert np.array_equal(predicted.ravel(), rows["predicted"])
    assert run.network_names(epoch=2) == ["Basic", "Conv2dReLU_0"]
    assert np.array_equal(run.scores(epoch=2), scores[[0, 2]])
    assert run.network_names(replicate=1) == ["Basic"]
    assert np.array_equal(
        run.scores(1, "validation", replicate=1)[0], make_result("Basic", 1).epochs[0].splits[1].scores
    )


def test_arrays_come_in_the_order_of_the_names(run):
    back = ["Conv2dReLU_0", "Basic", "Conv2dReLU_0"]
    assert np.array_equal(run.scores(networks=back), run.scores()[[2, 0, 2]])
    assert np.array_equal(run.predicted(networks="Conv2dReLU_1"), run.predicted()[1:2])


def test_labels_and_images(run):
    assert run.labels().dtype == np.int16
    assert run.labels().tolist() == LABELS["test"].tolist()
    assert run.labels("validation").tolist() == LABELS["validation"].tolist()
    assert run.image(2).tolist() == [[20, 20], [20, 20]]
    assert run.image(3, "validation").dtype == np.uint8
    with pytest.raises(RunError, match="samples 0 to 3"):
        run.image(4, "validation")
    with pytest.raises(RunError, match=r"did you mean 'test'.*test, validation"):
        run.labels("tset")


def test_what_is_not_there_is_said(run):
    with pytest.raises(RunError, match=r"no network 'basic' .did you mean 'Basic'"):
        run.scores(networks=["basic"])
    with pytest.raises(RunError, match=r"no network 'Conv2dRelu_1' .did you mean 'Conv2dReLU_1'"):
        run.predictions(networks="Conv2dRelu_1")
    with pytest.raises(RunError, match=r"replicates 0 to 1, epochs 1 to 2"):
        run.predictions(epoch=7)
    with pytest.raises(RunError, match=r"splits test, validation"):
        run.scores(split="train")
    with pytest.raises(RunError, match="no predictions of Conv2dReLU_1 at epoch 2"):
        run.scores(epoch=2, networks=["Basic", "Conv2dReLU_1"])


def test_run_without_results_gives_empty_frames(tmp_path):
    make_store(tmp_path / "run")
    run = Run(tmp_path / "run")
    for table in ("trainings", "epochs"):
        assert list(getattr(run, table).columns) == [c.name for c in columns(table, 3)]
        assert len(getattr(run, table)) == 0
    assert list(run.predictions().columns) == [c.name for c in columns("predictions", 3)]
    assert run.predictions(columns=["label"]).shape == (0, 1)
    assert run.network_names() == []
    assert run.scores().shape == (0, 0, 3)
    assert run.predicted().shape == (0, 0)
    assert run.trainings["seconds"].dtype == float
    with pytest.raises(RunError, match=r"no samples\.parquet"):
        run.labels()


def test_scores_of_the_true_classes_alone(run):
    for asked in ({}, {"networks": ["Conv2dReLU_0", "Basic", "Basic"]}, {"replicate": 1}):
        whole, own = run.scores(**asked), run.label_scores(**asked)
        assert own.dtype == np.float32
        assert np.array_equal(own, [[row[c] for row, c in zip(one, run.labels(), strict=True)] for one in whole])


@pytest.mark.parametrize("compacted", [False, True])
def test_scores_that_were_not_kept(tmp_path, compacted):
    store = make_store(tmp_path / "run")
    store.commit(make_result("Basic"), LABELS, scores="none")
    store.commit(make_result("Conv2dReLU_0"), LABELS, scores="last")
    if compacted:
        store.compact()
    run = Run(tmp_path / "run")
    with pytest.raises(RunError, match=r"no scores of network 'Basic'.*--scores all"):
        run.scores()
    with pytest.raises(RunError, match=r"samples\.parquet"):
        run.label_scores()
    assert run.scores(networks="Conv2dReLU_0").shape == (1, 7, 3)
    with pytest.raises(RunError, match="no scores of network 'Conv2dReLU_0' at epoch 1"):
        run.scores(1, networks="Conv2dReLU_0")
    assert np.array_equal(run.predicted()[0], make_result("Basic").epochs[1].splits[0].scores.argmax(axis=1))


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    else:  # the footer stays as it is, the pages do not
        data[4 : len(data) // 4] = b"\xff" * (len(data) // 4 - 4)
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["truncated", "empty", "scribbled"])
@pytest.mark.parametrize("table", ["trainings", "epochs", "predictions"])
def test_broken_file_is_named_or_left_out(tmp_path, table, how):
    store = make_store(tmp_path / "run")
    commit_all(store)
    bad = tmp_path / "run" / table / "hBasic-0.parquet"
    damage(bad, how)
    with pytest.raises(RunError, match=rf"{table}/hBasic-0\.parquet is broken.*skip_broken=True"):
        Run(tmp_path / "run").scores()
    run = Run(tmp_path / "run", skip_broken=True)
    assert run.scores().shape == (2, 7, 3)
    assert run.network_names() == list(NAMES[1:])
    assert run.broken == [bad]


def test_broken_merged_file_is_named_or_left_out(tmp_path):
    store = make_store(tmp_path / "run")
    commit_all(store)
    store.compact()
    store.commit(make_result("Basic", 1), LABELS)
    damage(tmp_path / "run" / "predictions" / "part-00001.parquet", "truncated")
    with pytest.raises(RunError, match=r"part-00001\.parquet is broken"):
        Run(tmp_path / "run").predictions()
    run = Run(tmp_path / "run", skip_broken=True)
    assert run.network_names(replicate=1) == ["Basic"]
    assert run.predictions(replicate=None)["replicate"].unique().tolist() == [1]


def test_import_is_light():
    code = (
        "import sys, netpick; assert 'numpy' not in sys.modules; assert netpick.__version__; from netpick import Run; "
        "bad = {'torch', 'matplotlib', 'scipy', 'sklearn'} & set(sys.modules); assert not bad, bad; "
        "from netpick import nothing"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "cannot import name 'nothing'" in done.stderr, done.stderr


def recorded(monkeypatch, owner, name, note):
    """Have calls of a function noted, and made."""
    seen, real = [], getattr(owner, name)

    def call(*arguments, **options):
        seen.append(note(*arguments, **options))
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, call)
    return seen


def test_what_is_known_of_a_merged_file_is_not_decoded_again(tmp_path, monkeypatch):
    plant(tmp_path / "run", 12, 60, epochs=2, compact=True)
    run, labels = Run(tmp_path / "run"), Run(tmp_path / "run").labels()
    read = recorded(monkeypatch, pq.ParquetFile, "read_row_group", lambda self, group, columns: set(columns))
    predicted = run.predicted(epoch=1)
    assert all("predicted" in names and "epoch" not in names for names in read)  # the same for all rows of a group
    read.clear()
    scores = run.scores(epoch=1)
    assert set().union(*read) == {f"score_{c}" for c in range(len(run.classes))}
    assert np.array_equal(scores.argmax(axis=2), predicted)
    frame = run.predictions(epoch=1)
    assert np.array_equal(frame["sample"], np.tile(np.arange(len(labels)), len(scores)))
    assert np.array_equal(frame["score_1"], scores[:, :, 1].ravel())


def test_all_columns_are_read_where_the_footer_has_no_checksum(tmp_path, monkeypatch):
    plant(tmp_path / "run", 12, 60, epochs=2, compact=True)
    for path in (tmp_path / "run" / "predictions").iterdir():
        table = pq.read_table(path)
        kept = {key: value for key, value in table.schema.metadata.items() if key != KEY.encode()}
        path.unlink()
        pq.write_table(table.replace_schema_metadata(kept), path)
    read = recorded(monkeypatch, pq.ParquetFile, "read_row_group", lambda self, group, columns: set(columns))
    Run(tmp_path / "run").predicted()
    assert read
    assert all({"network", "replicate", "epoch", "split"} <= names for names in read)
