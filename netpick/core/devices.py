"""Devices: which there are, which were asked for, their clock edge and their memory.

The only place that asks torch about hardware. A quantity that a device can't tell is None, never 0. torch is imported
inside the functions, so that counting cores loads nothing. It neither places networks nor times them.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from netpick.core.errors import DeviceError, listed, suggest

FORMS = ("auto", "all", "cuda", "cuda:N", "mps", "cpu")
"""What `resolve` takes; N is the number of a GPU, from 0. Several `cuda:N` are joined by commas."""

BYTES_PER_WORKER = 700 * 2**20
"""What a worker process on the CPU is taken to need: torch itself, one small network, its batches and scores."""

_CUDA = re.compile(r"cuda:(0|[1-9][0-9]*)")


def available() -> list[str]:
    """Return the devices of this machine, the fastest first, such as ["cuda:0", "cuda:1", "cpu"]."""
    import torch

    devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def resolve(choice: str) -> list[str]:
    """Return the devices that a choice stands for.

    Parameters
    ----------
    choice
        "auto" (all CUDA GPUs, else mps, else the CPU), "all" or "cuda" (all CUDA GPUs), "cuda:N", some of these with
        commas between them ("cuda:0,cuda:2"), "mps" or "cpu".

    Returns
    -------
    list[str]
        At least one of `available()`.

    Raises
    ------
    DeviceError
        The choice is none of these, names a GPU twice, or this machine does not have it.
    """
    if "," in choice:
        return _several(choice)
    words = [form for form in FORMS if form != "cuda:N"]
    if choice not in words and not _CUDA.fullmatch(choice):
        raise DeviceError(
            f"unknown device '{choice}'{suggest(choice, words)}: give one of {listed(FORMS)} (N counts GPUs from 0; "
            "several: cuda:0,cuda:1)"
        )
    if choice == "cpu":  # no need to wake a GPU driver
        return ["cpu"]
    have = available()
    gpus = [device for device in have if device.startswith("cuda")]
    if choice == "auto":
        return gpus or have[:1]
    chosen = gpus if choice in ("all", "cuda") else [device for device in have if device == choice]
    if not chosen:
        raise DeviceError(f"no device '{choice}' on this machine: it has {listed(have)}; give one of these or 'auto'")
    return chosen


def _several(choice: str) -> list[str]:
    """Return the GPUs of a list such as "cuda:0,cuda:2", in its order; raises as `resolve` does."""
    names = choice.split(",")
    for name in names:
        if not _CUDA.fullmatch(name):
            raise DeviceError(
                f"device '{choice}': '{name}' can't be one of several: name GPUs, such as cuda:0,cuda:1, or give one "
                f"of {listed(FORMS)} alone"
            )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DeviceError(f"device '{choice}' names {listed(twice)} twice: give each GPU once")
    have = available()
    if absent := [name for name in names if name not in have]:
        raise DeviceError(
            f"device '{choice}': no {listed(absent)} on this machine: it has {listed(have)}; name some of these"
        )
    return names


def synchronize(device: str) -> None:
    """Wait until the device has finished all work given to it: GPUs work on while Python goes ahead."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


@contextlib.contextmanager
def tf32(device: str, allowed: bool) -> Iterator[None]:
    """Let a card round the factors of float32 products to tf32 meanwhile, or not; then all is as before.

    torch has one pair of flags for the whole process. Other devices have no tf32, and are left alone.
    """
    if not device.startswith("cuda"):
        yield
        return
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    allow_tf32(device, allowed)
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def allow_tf32(device: str, allowed: bool) -> None:
    """Let a card round the factors of float32 products to tf32 from now on, or not; see `tf32`."""
    if device.startswith("cuda"):
        import torch

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def reset_peak_memory(device: str) -> None:
    """Start a new measurement of `peak_memory`; nothing where the device has no such measure."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: str) -> int | None:
    """Return the most bytes that this process's tensors took on the device since `reset_peak_memory`.

    None where the device keeps no high-water mark (cpu, mps), or where the process never allocated anything on it.
    """
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device)) or None
    return None


def free_memory(device: str) -> int | None:
    """Return the bytes that are free on the device now, to all processes; None where it can't be told.

    For the CPU, and for mps which shares its memory: what the system can give without swapping, within the memory
    limit of the container, if there is one.
    """
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    if device in ("cpu", "mps"):
        import psutil

        free = int(psutil.virtual_memory().available)
        limit = _cgroup_free_memory()
        return free if limit is None else min(free, limit)
    return None


def card(device: str) -> tuple[int | None, str]:
    """Return a card's bytes, and what all processes that see it know it by; None and "" for any other device."""
    if not device.startswith("cuda"):
        return None, ""
    import torch

    about = torch.cuda.get_device_properties(device)
    return int(about.total_memory), f"{platform.node()} {getattr(about, 'uuid', device)}"


def describe(device: str) -> str:
    """Return a device's name for people: a GPU's model, or the CPU's model and the cores this process may use."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    if device == "mps":
        return f"Apple GPU of {_cpu_model()}"
    cores = usable_cores()
    return f"{_cpu_model()}, {cores} core{'' if cores == 1 else 's'}"


def usable_cores() -> int:
    """Return the cores that this process may use: its affinity mask, within the CPU quota of its container."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _cgroup_cpu_quota()
    return max(1, cores if quota is None else min(cores, int(quota)))


def cpu_workers(bytes_per_worker: int = BYTES_PER_WORKER) -> int:
    """Return how many worker processes fit this machine's CPU: one a usable core, as long as the memory allows.

    Parameters
    ----------
    bytes_per_worker
        Main memory that one worker needs; at least one worker is always allowed.
    """
    cores = usable_cores()
    free = free_memory("cpu")
    if free is None or bytes_per_worker <= 0:
        return cores
    return max(1, min(cores, free // bytes_per_worker))


# Containers: a mask of cores says nothing of a quota of processor time, and the system's free memory nothing of a
# container's limit. Both are files of the control group (version 2) that the process is in, and of those above it.


def _cgroup_folders(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """Return the folders of this process's control group and of its parents, the innermost first."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    paths = [line.split("::", 1)[1].strip("/") for line in lines if line.startswith("0::")]
    if not paths:
        return []
    inner = root / paths[0]
    folders = [inner, *inner.parents]
    return folders[: folders.index(root) + 1]


def _cgroup_cpu_quota() -> float | None:
    """Return the processors' worth of time that the container may use, or None where there is no limit."""
    quotas = []
    for folder in _cgroup_folders():
        try:
            quota, period = (folder / "cpu.max").read_text().split()[:2]
            quotas.append(int(quota) / int(period))
        except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max": no limit here
            continue
    return min(quotas) if quotas else None


def _cgroup_free_memory() -> int | None:
    """Return the bytes left under the container's memory limit, or None where there is no limit."""
    left = []
    for folder in _cgroup_folders():
        try:
            limit = int((folder / "memory.max").read_text())
            used = int((folder / "memory.current").read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # no such file, or "max": no limit here
            continue
        # Cached files count as used, and are given up as soon as someone needs the memory.
        left.append(max(0, limit - used + int(stat.get("inactive_file", 0))))
    return min(left) if left else None


def _cpu_model() -> str:
    """Return the processor's model name as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown CPU"
