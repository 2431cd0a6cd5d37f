"""A cluster over TLS, with certificates made here: who has one trains, who has another is told so in one line."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from pool_work import work

from netpick.core.errors import NetpickError
from netpick.core.recipe import Recipe
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.sessions.workers import cluster as over
from netpick.sessions.workers.address import Address
from netpick.sessions.workers.cluster import connected
from netpick.sessions.workers.cluster_stream import stream
from netpick.sessions.workers.task import Failure, Task
from netpick.training import Job, Plan

distributed = pytest.importorskip("distributed", reason="wants the extra cluster: pip install -e .[cluster]")
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="wants openssl, which makes certificates")

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two authorities, each with a certificate that it signed; as docs/howto/cluster.md makes them."""
    out = {}
    for name in ("ours", "theirs"):
        folder = tmp_path_factory.mktemp(name)
        openssl(folder, "req", "-x509", *KEY, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca")
        openssl(folder, "req", *KEY, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=netpick")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
        openssl(folder, "x509", "-req", "-in", "request.pem", *signed, "-out", "cert.pem")
        out[name] = {"tls_" + n: str(folder / f"{n}.pem") for n in ("ca", "cert", "key")}
    return out


@pytest.fixture(scope="module")
def scheduler(files):
    given = files["ours"]
    pairs = {f"tls_{who}_{n}": given[f"tls_{n}"] for who in ("client", "scheduler", "worker") for n in ("cert", "key")}
    security = distributed.Security(tls_ca_file=given["tls_ca"], require_encryption=True, **pairs)
    local = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**local, security=security, protocol="tls://", silence_logs=50) as there:
        yield there.scheduler_address


def test_trainings_go_over_an_encrypted_connection(files, scheduler, tmp_path):
    assert scheduler.startswith("tls://")
    spec = NetworkSpec("plain_0", "Linear", "None", (layer("Reshape", shape=[1, 1]),))
    due = [Task(Job(spec, Recipe(), n, Plan(), replicate=n), str(tmp_path)) for n in range(3)]
    with connected(Address(scheduler, **files["ours"])) as there:
        results = list(stream(there, due, {task.key: 1.0 for task in due}, work=work))
    assert [isinstance(ended.outcome, Failure) for ended in results] == [False, False, False]


@pytest.mark.parametrize("ca", ["ours", "theirs"])
def test_a_certificate_of_another_authority_is_one_line(files, scheduler, monkeypatch, ca):
    monkeypatch.setattr(over, "CONNECT_SECONDS", 2)
    mixed = {**files["theirs"], "tls_ca": files[ca]["tls_ca"]}
    with pytest.raises(NetpickError, match=r"no scheduler answers at tls://\S+ \(.*\): --tls-ca must be the") as caught:
        connected(Address(scheduler, **mixed)).__enter__()
    assert "\n" not in str(caught.value)


def test_no_certificate_is_one_line(scheduler, monkeypatch):
    monkeypatch.setattr(over, "CONNECT_SECONDS", 2)
    with pytest.raises(NetpickError, match=r"no scheduler answers at tls://\S+ \(.*TLS.*\)"):
        connected(Address(scheduler)).__enter__()


def test_a_file_that_is_no_certificate_is_one_line(files, scheduler, tmp_path):
    (tmp_path / "empty.pem").touch()
    wrong = {**files["ours"], "tls_cert": str(tmp_path / "empty.pem")}
    with pytest.raises(NetpickError, match="no scheduler answers at"):
        connected(Address(scheduler, **wrong)).__enter__()
