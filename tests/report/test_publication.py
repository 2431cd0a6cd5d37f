"""Runs published as data sets: what is written, what stays behind, and that others load it."""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from netpick import Run
from netpick.cli import main
from netpick.core.errors import NetpickError, WorkError
from netpick.exam import plant
from netpick.report import publish_run
from netpick.sessions import Options
from netpick.sessions.verification import check_run, verify_run
from netpick.store.folder import Store


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "run"
    plant(folder, networks=12, samples=50, classes=3, epochs=2, shape=(1, 8, 8), failed=1)
    return folder


@pytest.fixture
def run(planted, tmp_path):
    return shutil.copytree(planted, tmp_path / "run")


def publish(run, tmp_path, **changes):
    options = {"license_name": "cc-by-4.0", "creator": "Ada", **changes}
    return publish_run(run, tmp_path / "out", **options).folder


def head(folder):
    return (folder / "README.md").read_text().split("---\n")[1]


def test_what_was_published_is_the_run(run, tmp_path):
    published = Run(publish(run, tmp_path))
    before = Run(run)
    for table in ("networks", "trainings", "epochs", "samples"):
        pd.testing.assert_frame_equal(getattr(published, table), getattr(before, table))
    pd.testing.assert_frame_equal(published.predictions(None, None), before.predictions(None, None))
    assert [path.name for path in (published.path / "predictions").iterdir()] == ["part-00001.parquet"]
    assert check_run(published.path).faults == []
    assert published.ask("easy").text == before.ask("easy").text


@pytest.mark.parametrize("most", [100, 3000, 20_000])
def test_a_full_disk_is_said_of_the_folder_that_was_named(run, tmp_path, most):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))  # no file of this process gets larger
    try:
        with pytest.raises(WorkError) as caught:
            publish(run, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value) == f"{tmp_path / 'out'} can't be written (File too large): give another path"
    assert list(tmp_path.iterdir()) == [run]


def test_the_sums_are_those_of_all_other_files(run, tmp_path):
    folder = publish(run, tmp_path)
    told = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(told) == files - {"SHA256SUMS"}
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == told[name] for name in told)
    assert not any(name.startswith(".") or name.endswith("jsonl") for name in told)


def test_no_path_of_the_machine_goes_along(run, tmp_path):
    store = Store.open(run)
    with store.lock():
        store.update_manifest(dataset="folder:/home/ada/secret/shoes", data={"path": "/home/ada/secret/shoes"})
    folder = publish(run, tmp_path)
    for path in folder.rglob("*"):
        if path.is_file():
            assert b"secret" not in path.read_bytes(), path
    assert Run(folder).manifest["dataset"] == "folder:shoes"
    assert "the data set itself is needed" in (folder / "README.md").read_text()


def test_without_images_and_weights(run, tmp_path):
    (run / "weights").mkdir(exist_ok=True)
    folder = publish(run, tmp_path, images=False, weights=False)
    assert not (folder / "weights").exists()
    published = Run(folder)
    assert not published.has_images
    assert np.array_equal(published.labels(), Run(run).labels())
    with pytest.raises(NetpickError, match="images were left out"):
        published.image(0)
    assert published.ask("weird").figure() is not None  # drawn without them
    assert "images were left out" in (folder / "README.md").read_text()
    described = json.loads((folder / "croissant.json").read_text())
    assert "samples/image" not in json.dumps(described)
    assert verify_run(folder, Options(device="cpu")).said


def test_the_card_says_what_is_there_whatever_it_is_called(run, tmp_path):
    store = Store.open(run)
    title = 'A "title":\n---\n<script>alert(1)</script> {{ x }}'
    with store.lock():
        store.update_manifest(title=title)
    folder = publish(run, tmp_path, creator="O'Neil {x}")
    card = (folder / "README.md").read_text()
    prose, _, code = card.partition("---\n\n# ")[2].partition("```bibtex\n")
    assert "<script" not in prose
    assert code.splitlines()[1:3] == [
        "  author = {O'Neil x},",
        '  title = {A "title": --- <script>alert(1)</script> x},',
    ]
    assert head(folder).splitlines()[0] == f"pretty_name: {json.dumps(title)}"
    assert head(folder).count("config_name") == 7  # all tables that a planted run has
    for table, columns in {"networks": 12, "predictions": 8}.items():
        part = card.partition(f"### {table}\n")[2].partition("###")[0]
        assert sum(line.startswith("| ") for line in part.splitlines()) == columns + 2
    json.loads((folder / "croissant.json").read_text())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"license_name": "my own licence"}, "--license: wants an identifier"),
        ({"license_name": "mit\ninjected: yes"}, "--license: wants an identifier"),
        ({"creator": " "}, "--creator: wants the name"),
    ],
)
def test_words_that_can_not_be_are_refused(run, tmp_path, changes, said):
    with pytest.raises(NetpickError, match=said):
        publish(run, tmp_path, **changes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_what_is_there_is_never_touched(run, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(NetpickError, match="is there already"):
        publish(run, tmp_path)
    with pytest.raises(NetpickError, match="in the run itself"):
        publish_run(run, run / "out", "mit", "Ada")
    with pytest.raises(NetpickError, match="there is no folder"):
        publish_run(run, tmp_path / "no" / "out", "mit", "Ada")


def test_nothing_half_written_is_left(run, tmp_path):
    path = next((run / "predictions").glob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(NetpickError):
        publish(run, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_the_command_line(run, tmp_path, capsys):
    def code(*words):
        with pytest.raises(SystemExit) as ended:
            main(["publish", str(run), *words])
        return ended.value.code

    out = str(tmp_path / "out")
    assert code("--to", out) == 2
    assert "--license NAME" in capsys.readouterr().err
    assert code("--to", out, "--license", "mit", "--without", "labels") == 2
    assert code("--to", out, "--license", "mit", "--without", "weights") == 0
    assert "README.md" in capsys.readouterr().out
    assert Path(out, "croissant.json").is_file()


# As others load it: `pip install -e .[hub]`


def test_the_hubs_library_loads_each_table(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    datasets = pytest.importorskip("datasets", reason="wants the extra hub: pip install -e .[hub]")
    folder, before = str(publish(run, tmp_path)), Run(run)
    cache = str(tmp_path / "cache")
    first = datasets.load_dataset(folder, split="train", cache_dir=cache)
    table = datasets.load_dataset(folder, "predictions", split="train", cache_dir=cache)
    assert len(first) == len(table) == len(before.predictions(None, None, replicate=None))
    for name in ("networks", "trainings", "epochs", "samples"):
        loaded = datasets.load_dataset(folder, name, split="train", cache_dir=cache)
        assert loaded.num_rows == len(getattr(before, name))
    right = [row["label"] == row["predicted"] for row in table if row["epoch"] == 2 and row["network"] == "Basic"]
    epochs = before.epochs[(before.epochs["network"] == "Basic") & (before.epochs["epoch"] == 2)]
    assert np.mean(right) == pytest.approx(epochs["accuracy"].iloc[0])


@pytest.mark.parametrize("images", [True, False])
def test_croissants_own_library_finds_it_valid_and_loads_records(run, tmp_path, images):
    croissant = pytest.importorskip("mlcroissant", reason="wants the extra hub: pip install -e .[hub]")
    folder, before = publish(run, tmp_path, images=images), Run(run)
    loaded = croissant.Dataset(str(folder / "croissant.json"))
    assert not loaded.metadata.issues.errors
    rows = {name: list(loaded.records(name)) for name in ("networks", "trainings", "epochs", "samples", "predictions")}
    assert len(rows["predictions"]) == len(before.predictions(None, None, replicate=None))
    assert [row["networks/name"].decode() for row in rows["networks"]] == before.networks["name"].tolist()
    assert [row["samples/label"] for row in rows["samples"]] == before.samples["label"].tolist()
    if images:
        assert np.array_equal(np.asarray(rows["samples"][3]["samples/image"]), before.image(3))
