"""Measure the networks of this folder on this device: latency, throughput, peak memory, energy; check answers.

Needs Python 3.8, numpy and onnxruntime, and the files beside it. Writes a CSV file for `netpick time RUN --add FILE`.
Each network is measured in a process of its own, so that the memory is its own: Python, numpy and onnxruntime included.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
COLUMNS = [
    "network", "hash", "device_name", "runtime", "precision", "threads", "latency", "throughput", "throughput_batch",
    "peak_memory_bytes", "joules", "agreement", "repeats", "measured",
]  # fmt: skip
REPEATS = 7  # of which the median is taken, at least
AGREED = {"fp32": 0.99, "int8": 0.95}  # share of the samples that is answered as in the run, at least


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write what was found; return 1 where a network can't be measured, or answers otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for one network, about")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default=device_name(), help="the name that it is known by")
    parser.add_argument("--to", default="timings.csv", metavar="FILE")
    parser.add_argument("--powercap", default="/sys/class/powercap", metavar="FOLDER", help="where Linux counts energy")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    kit = json.loads((HERE / "kit.json").read_text(encoding="utf-8"))
    if options.one is not None:
        print(json.dumps(measured(kit["models"][options.one], options.one, options)))
        return 0
    rows, failed = [], 0
    for number, model in enumerate(kit["models"]):
        command = [sys.executable, __file__, *(sys.argv[1:] if arguments is None else arguments), "--one", str(number)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
            print(f"{model['file']}: not measured: {said}", file=sys.stderr)
            failed += 1
            continue
        row = {**json.loads(done.stdout), "device_name": options.device}
        rows.append(row)
        print(in_words(model["file"], row))
        if row["agreement"] < AGREED[model["precision"]]:
            print(f"{model['file']}: answers otherwise than in the run", file=sys.stderr)
            failed += 1
    with open(options.to, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    print(f"{options.to}: {len(rows)} of {len(kit['models'])} networks")
    return 1 if failed else 0


def measured(model: dict, number: int, options: argparse.Namespace) -> dict:
    """Return the row of one network."""
    import numpy as np
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = options.threads, 1
    # Else processors without instructions of their own for it let sums of 8-bit products overflow.
    settings.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(str(HERE / model["file"]), settings, providers=["CPUExecutionProvider"])
    with np.load(HERE / "samples.npz", allow_pickle=False) as samples:
        images, answers = samples["images"], samples["answers"][number]

    def run(batch: Any) -> Any:
        return session.run(None, {"image": batch})[0]

    found = np.concatenate([run(images[i : i + 1]).argmax(axis=1) for i in range(len(images))])
    before = energy(Path(options.powercap))
    latency, singles = repeated(lambda i: run(images[i % len(images)][None]), options.seconds / 2)
    used = joules(before, energy(Path(options.powercap)))
    together, batches = repeated(lambda i: run(images), options.seconds / 2)
    return {
        "network": model["network"], "hash": model["hash"], "precision": model["precision"],
        "runtime": "onnxruntime " + onnxruntime.__version__, "threads": options.threads, "latency": latency,
        "throughput": len(images) / together, "throughput_batch": len(images), "peak_memory_bytes": peak_memory(),
        "joules": None if used is None else used / singles, "agreement": float((found == answers).mean()),
        "repeats": min(singles, batches, 30000), "measured": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }  # fmt: skip


def repeated(call: Callable[[int], object], seconds: float) -> tuple[float, int]:
    """Return the median seconds of calls, and how many there were; two before warm it up."""
    took: list[float] = []
    for i in range(2):
        call(i)
    end = time.perf_counter() + seconds
    while len(took) < REPEATS or time.perf_counter() < end:
        start = time.perf_counter()
        call(len(took))
        took.append(time.perf_counter() - start)
    return median(took), len(took)


def energy(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what the packages of the processor have used, in microjoules, and where the counter begins anew."""
    out = {}
    for zone in sorted(folder.glob("intel-rapl:*")):
        if zone.name.count(":") == 1:  # the others are parts of these
            try:
                used, end = (int((zone / n).read_text()) for n in ("energy_uj", "max_energy_range_uj"))
                out[zone.name] = used, end
            except (OSError, ValueError):  # not for everyone's eyes
                return {}
    return out


def joules(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> float | None:
    """Return the joules between two looks, of the whole processor; None where they are not told."""
    if not before or before.keys() != after.keys():
        return None
    used = sum((after[zone][0] - before[zone][0]) % after[zone][1] for zone in before)
    return used / 1e6 if used > 0 else None


def peak_memory() -> int | None:
    """Return the most bytes that this process has held; None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def device_name() -> str:
    """Return the model of this device, as far as it says so."""
    for path in ("/proc/device-tree/model", "/sys/firmware/devicetree/base/model"):
        try:
            return Path(path).read_text().strip("\0\n ")
        except OSError:
            pass
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Hardware")))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count() or 1} cores"


def in_words(file: str, row: dict) -> str:
    """Say what was measured of a network."""
    said = f"{file}: {1e3 * row['latency']:.3g} ms an image, {row['throughput']:.0f} images/s"
    if row["peak_memory_bytes"]:
        said += f", {row['peak_memory_bytes'] / 1e6:.0f} MB"
    if row["joules"]:
        said += f", {1e3 * row['joules']:.3g} mJ an image"
    return f"{said}; {100 * row['agreement']:.1f} % answered as in the run"


if __name__ == "__main__":
    sys.exit(main())
