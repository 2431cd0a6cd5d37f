from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from netpick.core import devices as device
from netpick.core.errors import DeviceError


@pytest.fixture
def machine(monkeypatch):
    """Return a function that makes torch see so many GPUs, and Apple's MPS or not."""
    import torch

    def make(gpus: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return make


@pytest.mark.parametrize(
    ("gpus", "mps", "choice", "expected"),
    [
        (2, False, "auto", ["cuda:0", "cuda:1"]),
        (2, True, "auto", ["cuda:0", "cuda:1"]),
        (0, True, "auto", ["mps"]),
        (0, False, "auto", ["cpu"]),
        (2, False, "cuda", ["cuda:0", "cuda:1"]),
        (1, False, "cuda", ["cuda:0"]),
        (2, False, "cuda:1", ["cuda:1"]),
        (12, False, "cuda:11", ["cuda:11"]),
        (2, True, "all", ["cuda:0", "cuda:1"]),
        (1, False, "all", ["cuda:0"]),
        (3, False, "cuda:2,cuda:0", ["cuda:2", "cuda:0"]),
        (2, True, "cuda:0,cuda:1", ["cuda:0", "cuda:1"]),
        (2, True, "mps", ["mps"]),
        (2, True, "cpu", ["cpu"]),
    ],
)
def test_resolve(machine, gpus, mps, choice, expected):
    machine(gpus, mps)
    assert device.resolve(choice) == expected


def test_available_lists_the_fastest_first(machine):
    machine(2, True)
    assert device.available() == ["cuda:0", "cuda:1", "mps", "cpu"]
    machine()
    assert device.available() == ["cpu"]


def test_a_driver_without_a_usable_gpu_is_no_gpu(machine, monkeypatch):
    import torch

    machine(1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.resolve("auto") == ["cpu"]


@pytest.mark.parametrize(
    ("gpus", "choice"), [(0, "cuda"), (0, "cuda:0"), (2, "cuda:2"), (1, "cuda:10"), (1, "mps"), (0, "mps"), (0, "all")]
)
def test_a_device_that_is_not_there_is_refused_with_those_that_are(machine, gpus, choice):
    machine(gpus)
    with pytest.raises(DeviceError) as caught:
        device.resolve(choice)
    message = str(caught.value)
    assert "\n" not in message
    assert f"'{choice}'" in message
    assert all(f"cuda:{i}" in message for i in range(gpus))
    assert "cpu" in message


@pytest.mark.parametrize("choice", ["", "gpu", "CPU", "cpu:0", "cuda:", "cuda:-1", "cuda:01", "cuda:x", "cuda:1 ", "0"])
def test_nonsense_is_refused_with_the_allowed_forms(choice):
    with pytest.raises(DeviceError) as caught:
        device.resolve(choice)
    message = str(caught.value)
    assert "\n" not in message
    assert all(form in message for form in ("auto", "cuda", "cuda:N", "mps", "cpu"))


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("cuda:0,cpu", "'cpu' can't be one of several: name GPUs, such as cuda:0,cuda:1"),
        ("cpu,mps", "'cpu' can't be one of several"),
        ("cuda,cuda:0", "'cuda' can't be one of several"),
        ("all,cuda:1", "'all' can't be one of several"),
        ("cuda:0,", "'' can't be one of several"),
        (",", "'' can't be one of several"),
        ("cuda:0,1", "'1' can't be one of several"),
        ("cuda:1,cuda:0,cuda:1", "names cuda:1 twice: give each GPU once"),
        ("cuda:0,cuda:7", "no cuda:7 on this machine: it has cuda:0, cuda:1"),
    ],
)
def test_a_list_that_is_no_list_of_gpus_is_refused(machine, choice, said):
    machine(2)
    with pytest.raises(DeviceError) as caught:
        device.resolve(choice)
    message = str(caught.value)
    assert "\n" not in message
    assert said in message
    assert f"'{choice}'" in message


def test_a_near_miss_is_suggested():
    with pytest.raises(DeviceError, match="did you mean 'cuda'"):
        device.resolve("cud")


def test_cuda_calls_go_to_the_device_named(monkeypatch):
    import torch

    calls = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda d: calls.append(("synchronize", d)))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda d: calls.append(("reset", d)))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda d: calls.append(("peak", d)) or 12345)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda d: calls.append(("free", d)) or (777, 999))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda d: calls.append(("name", d)) or "A Big GPU")
    device.synchronize("cuda:1")
    device.reset_peak_memory("cuda:1")
    assert device.peak_memory("cuda:1") == 12345
    assert device.free_memory("cuda:1") == 777
    assert device.describe("cuda:1") == "A Big GPU"
    assert calls == [(what, "cuda:1") for what in ("synchronize", "reset", "peak", "free", "name")]


def test_no_cuda_call_for_other_devices(monkeypatch):
    import torch

    def refuse(*args):
        raise AssertionError("asked CUDA")

    waited = []
    for name in ("synchronize", "reset_peak_memory_stats", "max_memory_allocated", "mem_get_info", "get_device_name"):
        monkeypatch.setattr(torch.cuda, name, refuse)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    for other in ("cpu", "mps"):
        device.synchronize(other)
        device.reset_peak_memory(other)
        assert device.peak_memory(other) is None
        assert device.free_memory(other) > 0
        assert device.describe(other)
    assert waited == ["mps"]


def test_a_peak_of_nothing_is_unknown_and_not_zero(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda d: 0)
    assert device.peak_memory("cuda:0") is None


def test_an_unknown_device_has_unknown_free_memory():
    assert device.free_memory("tpu") is None


def test_describe_cpu_counts_cores(monkeypatch):
    monkeypatch.setattr(device, "_cpu_model", lambda: "Model T")
    monkeypatch.setattr(device, "usable_cores", lambda: 1)
    assert device.describe("cpu") == "Model T, 1 core"
    monkeypatch.setattr(device, "usable_cores", lambda: 6)
    assert device.describe("cpu") == "Model T, 6 cores"


@pytest.mark.parametrize(
    ("mask", "quota", "expected"),
    [(8, None, 8), (8, 4.0, 4), (8, 2.5, 2), (8, 0.5, 1), (2, 16.0, 2), (1, None, 1)],
)
def test_usable_cores_is_the_smaller_of_mask_and_quota(monkeypatch, mask, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(mask)), raising=False)
    monkeypatch.setattr(device, "_cgroup_cpu_quota", lambda: quota)
    assert device.usable_cores() == expected


def test_usable_cores_where_there_is_no_mask(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    monkeypatch.setattr(device, "_cgroup_cpu_quota", lambda: None)
    assert device.usable_cores() == 10


@pytest.mark.parametrize(
    ("cores", "free", "each", "expected"),
    [(8, 100, 10, 8), (8, 35, 10, 3), (8, 5, 10, 1), (8, None, 10, 8), (8, 35, 0, 8)],
)
def test_cpu_workers_fit_cores_and_memory(monkeypatch, cores, free, each, expected):
    monkeypatch.setattr(device, "usable_cores", lambda: cores)
    monkeypatch.setattr(device, "free_memory", lambda d: free)
    assert device.cpu_workers(bytes_per_worker=each) == expected


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """Return the folder of a control group /a/b below a root of its own."""
    root, own = tmp_path / "cgroup", tmp_path / "self"
    (root / "a" / "b").mkdir(parents=True)
    own.write_text("4:memory:/old\n0::/a/b\n")
    monkeypatch.setattr(device._cgroup_folders, "__defaults__", (root, own))
    return root / "a" / "b"


def test_cgroup_folders_are_the_own_one_and_its_parents(cgroup):
    assert device._cgroup_folders() == [cgroup, cgroup.parent, cgroup.parent.parent]


def test_the_tightest_cpu_quota_counts(cgroup):
    assert device._cgroup_cpu_quota() is None
    (cgroup / "cpu.max").write_text("max 100000\n")
    assert device._cgroup_cpu_quota() is None
    (cgroup.parent / "cpu.max").write_text("150000 100000\n")
    assert device._cgroup_cpu_quota() == 1.5
    (cgroup / "cpu.max").write_text("50000 100000\n")
    assert device._cgroup_cpu_quota() == 0.5


def test_free_memory_within_a_container_leaves_out_what_can_be_reclaimed(cgroup, monkeypatch):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10_000))
    assert device.free_memory("cpu") == 10_000
    (cgroup / "memory.max").write_text("1000\n")
    (cgroup / "memory.current").write_text("700\n")
    (cgroup / "memory.stat").write_text("anon 400\ninactive_file 250\n")
    assert device.free_memory("cpu") == 1000 - 700 + 250
    (cgroup / "memory.max").write_text("max\n")
    assert device.free_memory("cpu") == 10_000


def test_no_control_groups_at_all(monkeypatch, tmp_path):
    monkeypatch.setattr(device._cgroup_folders, "__defaults__", (tmp_path, tmp_path / "nothing"))
    assert device._cgroup_folders() == []
    assert device._cgroup_cpu_quota() is None


def test_counting_cores_loads_no_torch():
    code = "import sys; from netpick.core import devices; devices.cpu_workers(); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "False"


@pytest.mark.gpu
def test_a_real_gpu_measures_its_peak():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU on this machine")
    [*_, gpu] = device.resolve("cuda")
    size = 64 * 2**20
    torch.empty(size, dtype=torch.uint8, device=gpu)
    device.synchronize(gpu)
    assert device.peak_memory(gpu) >= size
    device.reset_peak_memory(gpu)
    assert (device.peak_memory(gpu) or 0) < size
    assert device.free_memory(gpu) > 0
    assert device.describe(gpu)
