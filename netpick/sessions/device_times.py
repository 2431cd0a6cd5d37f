"""What a kit has measured on another device, taken into the run: a file that may be anyone's, checked row by row.

It goes into `device_times.parquet`, beside the times of this machine and never among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from netpick.core.errors import DataError, RunError, suggest
from netpick.core.names import is_unicode
from netpick.store.folder import Store
from netpick.store.given import GivenTable

WORDS = ("network", "hash", "device_name", "runtime", "precision", "measured")
PRECISIONS = ("fp32", "int8")
BOUNDS: dict[str, tuple[float, float]] = {
    "threads": (1, 1024),
    "latency": (1e-9, 1e6),
    "throughput": (1e-9, 1e12),
    "throughput_batch": (1, 1e9),
    "peak_memory_bytes": (1, 1e15),
    "joules": (1e-12, 1e9),
    "agreement": (0, 1),
    "repeats": (1, 32767),
}
"""Least and highest value of each number."""

WHOLE = ("threads", "throughput_batch", "peak_memory_bytes", "repeats")
MAY_LACK = ("peak_memory_bytes", "joules")
"""What not every device tells."""

MOST_ROWS, LONGEST = 100_000, 100
"""Rows of a file, and letters of a device's name."""


def add_times(folder: str | Path, path: str | Path) -> list[dict[str, Any]]:
    """Put the times of a kit into a run, in the place of those of the same network, device, precision and threads.

    Parameters
    ----------
    folder : of the run
    path : what the kit wrote, CSV or Parquet

    Returns
    -------
    list
        Rows of the table `device_times`.

    Raises
    ------
    DataError
        Not such a file: which row has what, and what is wanted.
    RunError
        The run has no networks of its own.
    """
    store = Store.open(folder)
    if store.imported is not None:
        raise RunError(f"{store.path} has imported answers, and no networks that a kit could be made of")
    table = GivenTable(path)
    table.need(*WORDS, *BOUNDS)
    hashes = {row["name"]: row["hash"] for row in store.networks()}
    rows: list[dict[str, Any]] = []
    for piece in table.pieces(WORDS, [*BOUNDS]):
        words = {name: [piece[name].words[c] if c >= 0 else None for c in piece[name].codes] for name in WORDS}
        for i in range(len(words["network"])):
            where = f"{path}, row {len(rows) + 1}"
            if len(rows) >= MOST_ROWS:
                raise DataError(f"{path} has more than {MOST_ROWS:,} rows")
            rows.append(_row(where, {n: words[n][i] for n in WORDS}, {n: piece[n][i] for n in BOUNDS}, hashes))
    if not rows:
        raise DataError(f"{path} has no rows: let the kit measure")
    with store.lock():
        store.write_device_times(rows)
    return rows


def _row(
    where: str, words: Mapping[str, str | None], numbers: Mapping[str, float], hashes: Mapping[str, str]
) -> dict[str, Any]:
    """Check a row, and return it as the table has it."""
    for name, word in words.items():
        if word is None or not word.isprintable() or not is_unicode(word) or len(word) > LONGEST:
            raise DataError(f"{where}: {name} wants a word of 1 to {LONGEST} letters, got {word!r:.60}")
    network, precision = str(words["network"]), str(words["precision"])
    if network not in hashes:
        raise DataError(f"{where}: the run has no network '{network}'{suggest(network, hashes)}")
    if words["hash"] != hashes[network]:
        raise DataError(f"{where}: {network} is another network in this run: add it to its own, of {words['hash']}")
    if precision not in PRECISIONS:
        raise DataError(f"{where}: precision wants fp32 or int8, got '{precision}'")
    out: dict[str, Any] = {**words, "measured": _moment(where, str(words["measured"]))}
    for name, (low, high) in BOUNDS.items():
        value = float(numbers[name])
        if np.isnan(value) and name in MAY_LACK:
            out[name] = None
            continue
        if not low <= value <= high or (name in WHOLE and value != int(value)):
            kind = "whole number" if name in WHOLE else "number"
            raise DataError(f"{where}: {name} wants a {kind} from {low:g} to {high:g}, got {value:g}")
        out[name] = int(value) if name in WHOLE else value
    return out


def _moment(where: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise DataError(f"{where}: measured wants a moment such as 2026-01-31T12:00:00+00:00, got '{text}'")
    return moment
