"""A cluster of separate hosts: each has an address of its own, and sees neither the run nor the data set.

The hosts are network namespaces on a bridge, with an empty file system over the folder of the tests.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest

from netpick import Run
from netpick.sessions import Listener, Options, generate_run, train_run
from netpick.sessions.workers.address import Address

distributed = pytest.importorskip("distributed", reason="wants the extra cluster: pip install -e .[cluster]")
pytestmark = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("unshare")),
    reason="wants root, ip (Debian's iproute2) and unshare, which make hosts",
)

HOSTS = 2
NET = f"10.{200 + os.getpid() % 50}.{os.getpid() % 250}"
NAME = f"np{os.getpid() % 100000}"
HIDDEN = 'mount -t tmpfs none "$0" && cd / && exec "$@"'


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def hosts():
    """Make two namespaces on a bridge; give their names and addresses, and the address of this side."""
    with contextlib.ExitStack() as stack:
        try:
            ip("link", "add", NAME, "type", "bridge")
            stack.callback(ip, "link", "delete", NAME)
            ip("address", "add", f"{NET}.1/24", "dev", NAME)
            ip("link", "set", NAME, "up")
            for i in range(HOSTS):
                space, ours, theirs = f"{NAME}-{i}", f"{NAME}o{i}", f"{NAME}t{i}"
                ip("netns", "add", space)
                stack.callback(ip, "netns", "delete", space)
                ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", space)
                ip("link", "set", ours, "master", NAME, "up")
                ip("-n", space, "address", "add", f"{NET}.{i + 2}/24", "dev", theirs)
                ip("-n", space, "link", "set", theirs, "up")
                ip("-n", space, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no hosts can be made here: {error.stderr.decode().strip()}")
        yield {f"{NAME}-{i}": f"{NET}.{i + 2}" for i in range(HOSTS)}


@pytest.fixture(scope="module")
def scheduler(hosts, tmp_path_factory):
    """Start a scheduler here and a worker on each host, from whom the folder of the tests is hidden."""
    base = tmp_path_factory.getbasetemp()
    with socket.socket() as free:
        free.bind((f"{NET}.1", 0))
        address = f"tcp://{NET}.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "dask"]
    quiet = {"env": {**os.environ, "OMP_NUM_THREADS": "1"}, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with contextlib.ExitStack() as stack:

        def start(*words):
            process = subprocess.Popen(words, **quiet)
            stack.callback(lambda: (process.kill(), process.wait()))

        start(*dask, "scheduler", "--host", f"{NET}.1", "--port", address.rpartition(":")[2], "--no-dashboard")
        for space, host in hosts.items():
            hidden = ("ip", "netns", "exec", space, "unshare", "--mount", "sh", "-c", HIDDEN, str(base))
            start(*hidden, *dask, "worker", address, "--host", host, "--no-nanny", "--nthreads", "1", "--no-dashboard")
        with distributed.Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(HOSTS, timeout=120)
        yield address


class Where(Listener):
    """Remembers to which hosts trainings went, and what was said."""

    def __init__(self):
        self.hosts, self.notes = set(), []

    def started(self, task):
        self.hosts.add(task.where.removeprefix("tcp://").rpartition(":")[0])

    def note(self, text):
        self.notes.append(text)


def test_hosts_that_share_no_folder_train_to_the_same_bits(hosts, scheduler, tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 255, (260, 8, 8), dtype=np.uint8), np.arange(260) % 3
    data = tmp_path / "own.npz"
    np.savez(data, x_train=images[:200], y_train=labels[:200], x_test=images[200:], y_test=labels[200:])
    run, here, where = tmp_path / "run", tmp_path / "here", Where()
    generate_run("smoke", str(run), f"npz:{data}", limit=4, overrides=("recipe.epochs=1", "recipe.replicates=2"))
    shutil.copytree(run, here)
    with distributed.Client(scheduler, set_as_default=False) as client:
        assert not any(client.run(os.path.exists, str(data)).values())
    options = {"plan": "reference", "estimate": False}
    assert train_run(run, Options(cluster=Address(scheduler), **options), where) == {"done": 8}
    assert where.hosts == set(hosts.values())
    assert "sending the data set to the workers" in where.notes
    train_run(here, Options(device="cpu", workers=1, **options), Listener())
    ours, theirs = Run(run), Run(here)
    for replicate in (0, 1):
        assert np.array_equal(ours.scores(replicate=replicate), theirs.scores(replicate=replicate))
    for weights in (here / "weights").iterdir():
        assert (run / "weights" / weights.name).read_bytes() == weights.read_bytes()
