"""Read the golden runs by pyarrow, json and struct alone, and print what they hold: `numbers.json` was made so.

To be run by hand when a golden run is added, never when netpick has changed: what lies here is what later versions
must read.
"""

import hashlib
import json
import struct
import sys
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq

HERE = Path(__file__).parent
KEYS = ("name", "network", "replicate", "epoch", "split", "sample", "device", "threads", "layer")


def read(run):
    """Return all rows of all tables of a run, and its weights, as plain values."""
    out = {}
    for path in sorted(run.iterdir()):
        if path.suffix == ".parquet" or path.name in ("trainings", "epochs", "predictions"):
            rows = pq.read_table(path, partitioning=None).to_pylist()
            out[path.stem] = sorted(map(plain, rows), key=lambda row: [row[key] for key in KEYS if key in row])
    out["weights"] = {path.stem: weights(path) for path in sorted((run / "weights").iterdir())}
    return out


def plain(row):
    """Return a row with what JSON has no word for written in words."""
    return {key: word(value) for key, value in row.items()}


def word(value):
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    return value.isoformat() if isinstance(value, datetime) else value


def weights(path):
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    head = json.loads(content[8 : 8 + size])
    arrays = {}
    for name in sorted(head.keys() - {"__metadata__"}):
        start, end = (8 + size + at for at in head[name]["data_offsets"])
        arrays[name] = list(struct.unpack(f"<{(end - start) // 4}f", content[start:end]))
    return arrays


if __name__ == "__main__":
    runs = sorted(path.parent for path in HERE.glob("*/run.toml"))
    json.dump({run.name: read(run) for run in runs}, sys.stdout, separators=(",", ":"), allow_nan=False)
