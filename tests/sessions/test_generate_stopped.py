"""A `generate` that is killed or finds the disk full at any point; and `--overwrite` removes runs, nothing else."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

import pytest
from template_cells import BASIC

from netpick.core.errors import NetpickError, RunError, WorkError
from netpick.sessions import generate
from netpick.sessions.generate import generate_run
from netpick.store.folder import Store

TINY = f"""
title = "Tiny"
dataset = "digits"

[recipe]
epochs = 2
{BASIC}"""

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate")


class Killed(BaseException):
    """A process that was killed: from then on it changes nothing."""


class Disk:
    """Counts what changes a folder, and lets the n-th change and all later ones fail."""

    def __init__(self) -> None:
        self.folder = ""
        self.count = self.stop = 0
        self.full = False

    def watch(self, folder: Path, stop: int = 0, full: bool = False) -> None:
        self.folder, self.stop, self.full, self.count = str(folder), stop, full, 0

    def hook(self, event: str, args: tuple) -> None:
        if not self.folder or not (event in CHANGES or (event == "open" and args[2] & WRITES)):
            return
        path = args[0]
        if isinstance(path, int) or not os.path.abspath(os.fsdecode(path)).startswith(self.folder):
            return
        if self.full and event in ("os.remove", "os.rmdir", "os.rename"):  # for which there is always room
            return
        self.count += 1
        if self.stop and self.count >= self.stop:
            raise OSError(errno.ENOSPC, "No space left on device") if self.full else Killed


DISK = Disk()
sys.addaudithook(DISK.hook)


@pytest.fixture(autouse=True)
def _calm():
    yield
    DISK.watch(Path(), 0)
    DISK.folder = ""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A template in an empty folder of one's own; its network has been measured."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    rows = generate_run(str(path), "measured").store.networks()
    shutil.rmtree("measured")
    monkeypatch.setattr(generate, "_measured", lambda *args: rows)
    return str(path)


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def whole(folder: str) -> set[str]:
    """Return what a run has that was just made."""
    store = Store.open(folder)
    assert [row["name"] for row in store.networks()] == ["Basic"]
    return set(tree(Path(folder))) - {".lock", ".lock.pid"}


OLD = """trainings/a.parquet predictions/part-00001.parquet epochs/.a.parquet.12.tmp weights/Basic-0.safetensors
    figures/scores.svg .cache/digits-0-train-inputs.npy samples.parquet timings.parquet calibration.json events.jsonl
    layer_times.parquet distances.parquet report.html .report.html.34.tmp .lock .lock.pid"""
"""What a run may have when it has been used."""

RUN = {"run.toml", "networks.parquet", "trainings", "epochs", "predictions"}


@pytest.mark.parametrize("full", [False, True])
def test_stopped_at_any_point_the_same_command_begins_anew(tiny, full):
    here = Path("here").absolute()
    DISK.watch(here, 0, full)
    generate_run(tiny, "here")
    points = DISK.count
    assert points > 6
    for stop in range(1, points + 1):
        shutil.rmtree("here")
        DISK.watch(here, stop, full)
        says = "the disk is full; free some space and give the same command again" if full else None
        with pytest.raises(WorkError if full else Killed, match=says):
            generate_run(tiny, "here")
        DISK.watch(here)
        generate_run(tiny, "here")
        assert whole("here") == RUN
    shutil.rmtree("here")


@pytest.mark.parametrize("full", [False, True])
def test_stopped_while_overwriting_the_same_command_goes_on(tiny, full):
    here = Path("here").absolute()

    def old() -> None:
        shutil.rmtree("here", ignore_errors=True)
        generate_run(tiny, "here", seed=1)
        for name in (
            "trainings/a.parquet",
            "predictions/part-00001.parquet",
            "epochs/.a.parquet.12.tmp",
            "report.html",
        ):
            (here / name).write_bytes(b"old")
        for name in ("weights/Basic-0.safetensors", "figures/scores.svg", ".cache/digits-0-train-inputs.npy"):
            (here / name).parent.mkdir(exist_ok=True)
            (here / name).write_bytes(b"old")
        for name in ("samples.parquet", "timings.parquet", "layer_times.parquet", "distances.parquet"):
            (here / name).write_bytes(b"")
        for name in ("calibration.json", "events.jsonl", ".lock", ".lock.pid"):
            (here / name).write_bytes(b"")

    old()
    DISK.watch(here, 0, full)
    generate_run(tiny, "here", overwrite=True)
    points = DISK.count
    for stop in range(1, points + 1):
        DISK.watch(here)
        old()
        DISK.watch(here, stop, full)
        with pytest.raises(WorkError if full else Killed):
            generate_run(tiny, "here", overwrite=True)
        DISK.watch(here)
        generate_run(tiny, "here", overwrite=True)
        assert whole("here") == RUN
        assert Store.open("here").manifest["seed"] == 0


@pytest.mark.parametrize(
    "name",
    [
        "thesis.txt",
        "net.py",
        "figures/mine.txt",
        "trainings/notes.txt",
        "weights/old/x.safetensors",
        ".x.tmp",
        "data/a",
    ],
)
def test_what_netpick_did_not_write_is_left_alone_with_the_run(tiny, name):
    generate_run(tiny, "here", seed=1)
    mine = Path("here", name)
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("years of work")
    before = tree(Path("here"))
    first = {"data/a": "data", "weights/old/x.safetensors": "weights/old"}.get(name, name)
    with pytest.raises(RunError, match=f"here has what netpick did not write there, {first}: move it elsewhere"):
        generate_run(tiny, "here", overwrite=True)
    assert tree(Path("here")) == before


@pytest.mark.parametrize("names", [["figures/a.svg"], ["weights/a.safetensors"], [".cache/a"], ["report.html"]])
def test_a_folder_that_only_looks_a_little_like_a_run_is_none(tiny, names):
    for name in names:
        Path("here", name).parent.mkdir(parents=True)
        Path("here", name).write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(RunError):
            generate_run(tiny, "here", overwrite=overwrite)
    assert Path("here", names[0]).read_text() == "mine"


def test_results_without_a_manifest_are_not_taken_for_an_unfinished_run(tiny):
    generate_run(tiny, "here")
    Path("here/trainings/a.parquet").write_bytes(b"result")
    Path("here/run.toml").unlink()
    with pytest.raises(RunError, match="half-written"):
        generate_run(tiny, "here")
    assert Path("here/trainings/a.parquet").exists()
    generate_run(tiny, "here", overwrite=True)
    assert whole("here") == RUN


def test_a_run_that_is_being_made_is_not_made_a_second_time(tiny, monkeypatch):
    refused = []
    update = Store.update_manifest

    def meanwhile(self, **keys):
        monkeypatch.setattr(Store, "update_manifest", update)
        for overwrite in (False, True):
            with pytest.raises(RunError, match="in use by another process") as caught:
                generate_run(tiny, "here", overwrite=overwrite)
            refused.append(caught.value)
        return update(self, **keys)

    monkeypatch.setattr(Store, "update_manifest", meanwhile)
    generate_run(tiny, "here")
    assert len(refused) == 2
    assert whole("here") == RUN


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_link_is_neither_removed_nor_followed(tiny, target, overwrite):
    generate_run(tiny, "elsewhere", seed=1)
    Path("here").symlink_to(target)
    before = tree(Path("elsewhere"))
    with pytest.raises(RunError):
        generate_run(tiny, "here", overwrite=overwrite)
    assert os.readlink("here") == target
    assert tree(Path("elsewhere")) == before
    if overwrite or target == "nowhere":
        with pytest.raises(RunError, match="here is a link: give the folder that it leads to"):
            generate_run(tiny, "here", overwrite=overwrite)


def test_links_in_a_run_are_removed_and_what_they_lead_to_stays(tiny):
    generate_run(tiny, "here", seed=1)
    Path("outside").mkdir()
    Path("outside/mine.svg").write_text("mine")
    Path("here/figures").symlink_to(Path("outside").absolute())
    generate_run(tiny, "here", overwrite=True)
    assert Path("outside/mine.svg").read_text() == "mine"
    assert whole("here") == RUN


def test_what_is_refused_after_measuring_has_removed_nothing(tiny, monkeypatch):
    generate_run(tiny, "here", seed=1)
    before = tree(Path("here"))

    def refuse(*args):
        raise NetpickError("too large")

    monkeypatch.setattr(generate, "_judge_own", refuse)
    with pytest.raises(NetpickError, match="too large"):
        generate_run(tiny, "here", overwrite=True)
    assert tree(Path("here")) == before


@pytest.mark.parametrize("folder", ["x" * 300, "a/" * 3000])
def test_a_folder_that_no_disk_takes_is_one_line(tiny, folder):
    with pytest.raises(NetpickError):
        generate_run(tiny, folder)
    with pytest.raises(RunError, match="no run at"):
        Store.open(folder)


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ({"recipe.train_samples": 1438}, "train_samples is 1438: 'digits' has 1437 to train on; give fewer"),
        ({"recipe.train_samples": 1400, "recipe.validation": 0.1}, "train_samples is 1400: 'digits' has 1293 to train"),
        ({"recipe.train_samples": 1437}, None),
        ({"recipe.train_samples": 1293, "recipe.validation": 0.1}, None),
    ],
)
def test_more_training_samples_than_there_are_make_no_run(tiny, recipe, says):
    wanted = [f"{key}={value}" for key, value in recipe.items()]
    if says is None:
        assert generate_run(tiny, "here", overrides=wanted).store
    else:
        with pytest.raises(NetpickError, match=says):
            generate_run(tiny, "here", overrides=wanted)
        assert not Path("here").exists()
