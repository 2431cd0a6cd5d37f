"""Files that are whole or not there."""

import os
import re
from pathlib import Path

import pytest

import netpick
from netpick.core.errors import WorkError
from netpick.core.files import append_line, atomic_write, named_errors, written_aside


@pytest.mark.parametrize("error", [OSError("full"), ValueError("a bug"), KeyboardInterrupt()])
def test_what_stops_half_way_leaves_the_file_that_was_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "table"
    atomic_write(path, b"old")

    def write(file):
        file.write(b"ne")
        raise error

    with pytest.raises(type(error)):
        atomic_write(path, write)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    atomic_write(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    for fails in (True, False):
        try:
            with written_aside(tmp_path / "folder") as temporary:
                temporary.mkdir()
                (temporary / "a").write_text("a")
                assert not (tmp_path / "folder").exists()
                if fails:
                    raise KeyError
        except KeyError:
            assert list(tmp_path.iterdir()) == []
    assert [p.name for p in tmp_path.rglob("*")] == ["folder", "a"]


def test_two_processes_never_write_into_the_same(tmp_path, monkeypatch):
    names = set()
    for process in (1, 2):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        with written_aside(tmp_path / "file") as temporary:
            names.add(temporary.name)
            temporary.touch()
    assert len(names) == 2
    assert all(
        name.startswith(".") and name.endswith(".tmp") for name in names
    )  # what a store removes, and readers skip


def test_an_error_of_the_system_names_the_file(tmp_path):
    path = tmp_path / "none" / "file"
    said = re.escape(f"{path} can't be written (No such file or directory): give another path")
    with pytest.raises(WorkError, match=said), named_errors(path):
        atomic_write(path, b"")


def test_one_module_renames_files():
    package = Path(netpick.__file__).parent
    calls = re.compile(r"os\.(replace|rename|fsync)\(")
    assert [file.name for file in package.rglob("*.py") if calls.search(file.read_text("utf-8"))] == ["files.py"]


def test_a_line_after_one_that_was_cut_off_stands_alone(tmp_path):
    """A full disk takes a part of a line: the next one must not be lost with it."""
    log = tmp_path / "log"
    append_line(log, "first")
    log.write_bytes(log.read_bytes() + b"cut o")
    append_line(log, "second")
    append_line(log, "third")
    assert log.read_text() == "first\ncut o\nsecond\nthird\n"
