"""The lock of a run where the system's own may not be seen by other machines."""

from collections import namedtuple
from pathlib import Path

import filelock
import psutil
import pytest
from test_store import make_store

from netpick.core.errors import RunError
from netpick.store import locking
from netpick.store.folder import Store

OTHER = "4711\nnode7\nanother boot\n"


@pytest.fixture
def run(tmp_path):
    make_store(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def shared(monkeypatch, run):
    """The run, as if it lay on a network file system."""
    monkeypatch.setattr(locking, "file_system", lambda path: "nfs")
    return run


def held(folder):
    """A lock that is free: it is held and let go."""
    with Store.open(folder).lock():
        return sorted(path.name for path in folder.glob(".lock*"))


def test_a_file_beside_the_lock_says_who_holds_it_and_goes_with_it(shared):
    assert held(shared) == [".lock", ".lock.host", ".lock.pid"]
    assert [path.name for path in shared.glob(".lock*")] == [".lock"]


def test_there_is_none_on_a_disk_of_this_machine(run):
    assert held(run) == [".lock", ".lock.pid"]


def test_another_machine_is_seen_by_its_file_alone(shared):
    mark = shared / ".lock.host"
    mark.write_text(OTHER)
    before = sorted(shared.rglob("*"))
    assert Store.open(shared).in_use()
    with pytest.raises(RunError, match=r"in use by process 4711 on node7: .* if it was killed, remove .*\.lock\.host"):
        held(shared)
    assert (sorted(shared.rglob("*")), mark.read_text()) == (before, OTHER)
    mark.unlink()
    assert not Store.open(shared).in_use()
    assert held(shared)


def test_a_killed_process_of_this_machine_holds_nothing(shared):
    with Store.open(shared).lock():
        left = (shared / ".lock.host").read_text()
    (shared / ".lock.host").write_text(left)
    assert not Store.open(shared).in_use()
    assert held(shared)


def test_two_machines_whose_own_locks_do_not_hold_do_not_both_get_in(shared, monkeypatch):
    class Local(filelock.SoftFileLock):
        """A system's lock that the other machine does not see."""

        def __init__(self, path):
            super().__init__(f"{path}.{locking._machine()}")

    monkeypatch.setattr(filelock, "FileLock", Local)
    with Store.open(shared).lock():
        monkeypatch.setattr(locking, "_machine", lambda: "another boot")
        with pytest.raises(RunError, match="in use by process"):
            held(shared)
    assert held(shared)


def test_a_file_that_says_nothing_is_respected(shared):
    (shared / ".lock.host").write_text("")
    assert Store.open(shared).in_use()
    with pytest.raises(RunError, match=r"in use by process \? on another machine"):
        held(shared)


def test_the_file_system_is_that_of_the_innermost_mount(monkeypatch, tmp_path):
    assert locking.file_system(Path("/proc/self")) == "proc"
    part = namedtuple("part", "mountpoint fstype")
    mounts = [part("/", "ext4"), part(str(tmp_path), "nfs4"), part(str(tmp_path / "in"), "fuse.sshfs")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    for name, kind in {"x": "nfs4", "in": "sshfs", "in/x": "sshfs", "inside": "nfs4"}.items():
        assert locking.file_system(tmp_path / name) == kind
        assert kind in locking.SHARED
    assert locking.file_system(Path("/elsewhere")) == "ext4"
