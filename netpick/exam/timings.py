"""What `netpick time` has measured of the students, and where the times of the students come from.

Reads the run's tables and says it in frames and sentences; nothing is timed here.
"""

from __future__ import annotations

import pandas as pd

from netpick.core.errors import listed
from netpick.exam.checks import done
from netpick.exam.designs import layers
from netpick.networks.paper.whole_networks import BASELINES
from netpick.store.reader import Reader

TIMED = ("step_seconds", "latency", "throughput")
"""Columns of `students` that `netpick time` measures; there where it has measured any student."""


def timed(run: Reader) -> pd.DataFrame | None:
    """Return what `netpick time` has measured on one device, a row a network by name; None where it has nothing.

    The device is the one that the run was trained on, or else the one with the most networks; with the fewest threads.
    """
    rows = run.timings
    return _on_one_device(run, rows).set_index("network") if len(rows) else None


def layer_times(run: Reader) -> tuple[pd.DataFrame, str]:
    """Return the rows of layers that were timed on one device, chosen as in `timed`, and that device; none, and ""."""
    rows = run.layer_times
    mine = _on_one_device(run, rows) if len(rows) else rows
    return mine, str(mine["device"].iloc[0]) if len(mine) else ""


def _on_one_device(run: Reader, rows: pd.DataFrame) -> pd.DataFrame:
    trained = set(run.trainings["device"])
    counts = rows.groupby(["device", "threads"])["network"].nunique().rename("networks").reset_index()
    counts["trained"] = counts["device"].isin(trained)
    best = counts.sort_values(["trained", "threads", "networks"], ascending=[False, True, False]).iloc[0]
    return rows[(rows["device"] == best["device"]) & (rows["threads"] == best["threads"])]


def elsewhere(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of the table `device_times` in the units that people read; what nobody told is left out.

    Questions don't ask for them: times of other devices are never mixed with those of the machine that trained.
    """
    frame = pd.DataFrame({
        "network": rows["network"], "precision": rows["precision"], "latency_ms": 1e3 * rows["latency"],
        "device": rows["device_name"], "threads": rows["threads"], "throughput": rows["throughput"],
        "memory_mb": rows["peak_memory_bytes"].astype(float) / 1e6, "millijoules": 1e3 * rows["joules"].astype(float),
        "agreement": rows["agreement"],
    })  # fmt: skip
    return frame.dropna(axis=1, how="all").reset_index(drop=True)


def alone(run: Reader) -> bool:
    """Whether the students' seconds are of each network alone: where all that are trained by gradient were timed so."""
    timings = timed(run)
    if timings is None:
        return False
    of = layers(run)
    fitted = {name for name in of if any(layer["op"] in BASELINES for layer in of[name])}
    return set(done(run)["network"]) - fitted <= set(timings.index)


def times(run: Reader) -> str:
    """Say in a sentence where the times of the students come from, and what makes them hard to compare."""
    rows = done(run)
    timings = timed(run)
    if timings is not None and alone(run):
        return f"times are of each network alone on {timings['device_name'].iloc[0]} ({timings['device'].iloc[0]})"
    said = []
    devices, workers = sorted(rows["device"].unique()), int(rows["workers"].max())
    if len(devices) > 1:
        said.append(f"times are from different devices ({listed(devices)})")
    if workers > 1:
        said.append(f"times were taken while up to {workers} trainings shared the machine")
    if timings is not None:
        number = len(set(timings.index) & set(rows["network"]))
        said.append(
            f"{number} of {rows['network'].nunique()} networks were timed alone: `netpick time` times the others"
        )
    return "; ".join(said)
