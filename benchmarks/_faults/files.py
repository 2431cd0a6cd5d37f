"""Every file of a trained run truncated, emptied, flipped in a bit, exchanged or removed: no wrong number.

Kinds of `attack.py`, whose harness does the cases: what is read is what was written, or less of it where trainings are
missing, which are due again then; all else is refused by the name of a file. Of the kind `retrained` the command that
trains is given too, and the run is then the whole one again, or is refused.
"""

from __future__ import annotations

import functools
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from _attack.box import Attempt, Box, Kind
from _attack.runs import training

BASES = ("trained", "scattered")


def _truncated(rng: random.Random, file: Path, others: list[Path]) -> None:
    os.truncate(file, rng.randrange(file.stat().st_size))


def _emptied(rng: random.Random, file: Path, others: list[Path]) -> None:
    os.truncate(file, 0)


def _flipped(rng: random.Random, file: Path, others: list[Path]) -> None:
    raw = bytearray(file.read_bytes())
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    file.write_bytes(raw)


def _exchanged(rng: random.Random, file: Path, others: list[Path]) -> None:
    alike = [other for other in others if other.suffix == file.suffix]
    beside = [other for other in alike if other.parent == file.parent]
    other = rng.choice((beside if rng.random() < 0.5 else alike) or others)
    aside = file.read_bytes()
    shutil.copyfile(other, file)
    other.write_bytes(aside)


def _removed(rng: random.Random, file: Path, others: list[Path]) -> None:
    file.unlink()


WAYS: dict[str, Callable[[random.Random, Path, list[Path]], None]] = {
    "truncated": _truncated,
    "emptied": _emptied,
    "flipped in a bit": _flipped,
    "exchanged": _exchanged,
    "removed": _removed,
}


def _spoilt(rng: random.Random, box: Box) -> str:
    """Copy a run and spoil one of its files; say which, and how."""
    base = rng.choice(BASES)
    run = box.copy(base)
    files = sorted(path for path in run.rglob("*") if path.is_file() and not path.name.startswith(".lock"))
    tables = sorted({path.parent for path in files})
    file = rng.choice([path for path in files if path.parent == rng.choice(tables)] or files)
    way = rng.choice([*WAYS])
    WAYS[way](rng, file, [other for other in files if other != file])
    return f"{base}: {file.relative_to(run)} {way}"


def files(rng: random.Random, box: Box) -> Attempt:
    """Spoil a file, and read all that the run has."""
    return Attempt(_spoilt(rng, box), check=lambda: _read(box))


def retrained(rng: random.Random, box: Box) -> Attempt:
    """Spoil a file, train what is due, and read all that the run has."""
    what = _spoilt(rng, box)

    def check() -> str | None:
        from netpick import Run

        if (said := _read(box)) is None and Run(box.run).pending:
            return "SILENT: a training is due after training"
        return said

    return Attempt(what, (training(box),), check)


def _read(box: Box) -> str | None:
    """Say what is read that was not written; raises NetpickError where the run is refused."""
    right = _right(box.bases / "trained")
    wrong = [name for name, frame in _values(box.run).items() if not _part_of(frame, right[name])]
    return f"SILENT: other values of {', '.join(wrong)}" if wrong else None


@functools.cache
def _right(run: Path) -> dict[str, pd.DataFrame]:
    return _values(run)


def _values(run: Path) -> dict[str, pd.DataFrame]:
    from netpick import Run
    from netpick.store.weights import kept_weights, read_weights

    opened = Run(run)
    out: dict[str, Any] = {name: getattr(opened, name) for name in ("networks", "trainings", "epochs", "samples")}
    out["trainings"] = out["trainings"].drop(columns=["started", "seconds", "attempts"])
    out["epochs"] = out["epochs"].drop(columns=["train_seconds", "eval_seconds", "peak_memory_bytes"])
    out["predictions"] = opened.predictions(epoch=None, split=None)
    paths = {name: kept_weights(run, name, 0) for name in opened.networks["name"]}
    read = {name: read_weights(path) for name, path in paths.items() if path}
    rows = [(name, key, array.tobytes()) for name, arrays in read.items() for key, array in arrays.items()]
    out["weights"] = pd.DataFrame(rows, columns=["name", "key", "bytes"])
    recipe = {key: str(value) for key, value in opened.recipe.items()}
    out["recipe"] = pd.DataFrame(recipe.items(), columns=["key", "value"])
    return out


def _part_of(frame: pd.DataFrame, right: pd.DataFrame) -> bool:
    """Whether all rows of a table are rows of another, to the bit, and none is there twice."""
    keys = [[*map(repr, row)] for row in frame.astype(object).itertuples(index=False)]
    wanted = {tuple(map(repr, row)) for row in right.astype(object).itertuples(index=False)}
    rows = {tuple(row) for row in keys}
    return len(rows) == len(keys) and rows <= wanted


KINDS = (
    Kind("files", "every file of a run spoilt", files, bases=("planted",)),
    Kind("retrained", "the same, and what is due is trained", retrained, 50, ("planted",), True, together=1),
)


def make_bases(bases: Path, tiny: Path) -> None:
    """Put the runs that cases copy where the harness looks: one merged, one in its small files."""
    shutil.copytree(tiny / "tiny-trained", bases / "trained")
    shutil.copytree(tiny / "scattered", bases / "scattered")
