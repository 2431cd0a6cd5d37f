"""What `scaling.py` measures: a run by the real command line, and a store that is filled with made-up results."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _common import netpick_command, run_netpick
from questions import measure as ask_alone
from stratified import bytes_by_table, session_seconds, where_the_time_went
from workers import children

from netpick.core.metrics import evaluate
from netpick.core.result import EpochResult, TrainingResult
from netpick.exam import plant
from netpick.exam.run import Run
from netpick.store.folder import Store


def slope(x: list[float], y: list[float]) -> float:
    """Return the exponent b of the power law y = a x^b that fits best on logarithmic scales."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def train_run(
    folder: Path, template: str, dataset: str, limit: int, workers: int, device: str, sets: list[str]
) -> dict[str, Any]:
    """Generate and train a run; return what it took: seconds, bytes, files, memory of coordinator and workers."""
    given = [word for value in sets for word in ("--set", value)]
    generated = run_netpick("generate", template, "--dataset", dataset, "--limit", limit, "--run", folder, *given)
    start = time.perf_counter()
    running = subprocess.Popen(
        netpick_command("train", folder, "--device", device, "--workers", workers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    coordinator, most, worker = psutil.Process(running.pid), 0, 0
    while running.poll() is None:
        time.sleep(0.2)
        with contextlib.suppress(psutil.Error):
            most = max(most, coordinator.memory_info().rss)
            worker = max([worker, *(one.memory_info().rss for one in children(coordinator))])
    wall = time.perf_counter() - start
    if running.returncode:
        sys.exit(f"netpick train {folder}: exit code {running.returncode}")
    run = Run(folder)
    spent = where_the_time_went(run, wall)
    sizes = bytes_by_table(folder)
    return {
        "networks": len(run.networks),
        "trainings": len(run.trainings),
        "workers": workers,
        "samples": len(run.samples),
        "epochs": int(run.epochs["epoch"].max()),
        "generate_seconds": generated,
        "wall_seconds": wall,
        "session_seconds": session_seconds(run),
        "worker_seconds": spent["optimisation steps"] + spent["evaluation"] + spent["rest of the trainings"],
        "bytes": sum(size for size, _ in sizes.values()),
        "bytes_by_table": {name: size for name, (size, _) in sizes.items()},
        "coordinator_bytes": most,
        "worker_bytes": worker,
    }


def idle_session(folder: Path, trainings: int) -> dict[str, Any]:
    """Train 100 networks, as many replicates as it takes, without training: see `_idle.py`; the run is removed."""
    given = ("--set", f"recipe.replicates={max(1, trainings // 100)}", "--set", "recipe.epochs=1")
    run_netpick(
        "generate", "netpicking", "--dataset", "digits", "--limit", min(trainings, 100), "--run", folder, *given
    )
    script = str(Path(__file__).with_name("_idle.py"))
    done = subprocess.run([sys.executable, script, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{script}: {done.stderr.strip().splitlines()[-1]}")
    shutil.rmtree(folder)
    return {"trainings": trainings, **json.loads(done.stdout.splitlines()[-1])}


def fill_store(folder: Path, networks: int, samples: int, classes: int = 10) -> dict[str, Any]:
    """Commit made-up results of many networks, merge them, open and ask; return the seconds of each, and sizes.

    The images and labels are those of a small planted run; a dozen networks' scores are used again and again.
    """
    small = folder.with_name(f"{folder.name}-small")
    plant(small, 12, samples, classes=classes, epochs=1)
    base = Store.open(small)
    row = base.networks()[-1]
    names = [f"{row['computation']}_{n}" for n in range(networks)]
    hashes = [hashlib.sha256(name.encode()).hexdigest()[:16] for name in names]
    manifest = {**base.manifest, "networks": networks, "source": "made up"}
    manifest.pop("created"), manifest.pop("schema_version")
    rows = [{**row, "name": name, "hash": h} for name, h in zip(names, hashes, strict=True)]
    store = Store.create(folder, manifest, rows)
    shutil.copy(small / "samples.parquet", folder / "samples.parquet")
    planted = Run(small)
    labels = planted.labels()
    epochs = [
        (EpochResult(1, 0.1, 0.1, None, (evaluate("test", scores, labels, 0.1),)),) for scores in planted.scores()
    ]
    started = datetime.now(UTC)
    start = time.perf_counter()
    for n, (name, h) in enumerate(zip(names, hashes, strict=True)):
        result = TrainingResult(name, h, 0, "done", n, "cpu", "made up", started, 0.2, epochs=epochs[n % len(epochs)])
        store.commit(result, {"test": labels})
    committed = time.perf_counter() - start
    start = time.perf_counter()
    trained = len(Run(folder).trainings)
    opened_scattered = time.perf_counter() - start
    scattered = sum(size for size, _ in bytes_by_table(folder).values())
    start = time.perf_counter()
    files = store.compact()
    compacted = time.perf_counter() - start
    start = time.perf_counter()
    assert len(Run(folder).trainings) == trained == networks
    opened = time.perf_counter() - start
    asked = {name: ask_alone(folder, name, folder.with_name("figure.png")) for name in ("scores", "easy", "committee")}
    predictions = bytes_by_table(folder)["predictions"][0]
    shutil.rmtree(small)
    return {
        "networks": networks,
        "rows": networks * samples,
        "commit_seconds": committed,
        "compact_seconds": compacted,
        "open_scattered_seconds": opened_scattered,
        "open_seconds": opened,
        "scattered_bytes": scattered,
        "bytes": sum(size for size, _ in bytes_by_table(folder).values()),
        "row_bytes": predictions / (networks * samples),
        "networks_bytes": (folder / "networks.parquet").stat().st_size,
        "files_before": sum(before for before, _ in files.values()),
        "files_after": sum(after for _, after in files.values()),
        "asked": asked,
    }
