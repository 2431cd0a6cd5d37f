"""The runs that cases copy: generated, trained without a fault, and with a network that strikes its worker."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from _attack.box import small_networks

from _faults.processes import Command
from _faults.sessions import train_words
from _faults.workers import MODULE

SMALL = ("epochs=1", "batch_size=100", "train_samples=200")
NETWORKS = 12


def make(bases: Path, with_culprit: bool) -> None:
    """Make `tiny` (generated), `tiny-trained` with `fixes.csv`, the seconds of its training, `culprit` and its own."""
    bases.mkdir(parents=True)
    file = bases / "networks.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in _networks()))
    given = ("generate", "--networks", file, "--dataset", "digits", *_sets())
    _done(bases, (*given, "--run", bases / "tiny"))
    seconds = _trained(bases, "tiny")
    (bases / "seconds").write_text(str(seconds))
    (bases / "fixes.csv").write_text(_fixes(bases / "tiny-trained"))
    shutil.copytree(bases / "tiny", bases / "scattered")
    _done(bases, train_words(bases / "scattered", "--no-compact"))
    if with_culprit:
        (bases / "strikes.py").write_text(MODULE)
        _done(bases, (*given, "--module", "strikes", "--run", bases / "culprit"))
        _trained(bases, "culprit", "--module", "strikes")


def _networks() -> list[dict[str, object]]:
    """Return three small networks, each several times with another width."""
    out = []
    for number in range(NETWORKS):
        one = json.loads(json.dumps(small_networks()[number % 3]))
        one["name"] = f"{one['name']}_{number}"
        one["layers"].insert(-1, {"op": "Linear", "in_features": 10, "out_features": 10 + number})
        one["layers"].insert(-1, {"op": "Linear", "in_features": 10 + number, "out_features": 10})
        out.append(one)
    return out


def _fixes(run: Path) -> str:
    """Return what `relabel` takes: another label for each of the first ten test samples."""
    import pandas as pd

    labels = pd.read_parquet(run / "samples.parquet").query("split == 'test'").set_index("sample")["label"]
    return "".join(["sample,label,suggested\n", *(f"{at},{labels[at]},{(labels[at] + 1) % 10}\n" for at in range(10))])


def _sets() -> list[str]:
    return [word for value in SMALL for word in ("--set", f"recipe.{value}")]


def _trained(bases: Path, name: str, *more: object) -> float:
    """Train a copy of a run without a fault; return the seconds that it took."""
    shutil.copytree(bases / name, bases / f"{name}-trained")
    start = time.monotonic()
    _done(bases, train_words(bases / f"{name}-trained", *more))
    return time.monotonic() - start


def _done(bases: Path, words: tuple[object, ...]) -> None:
    """Give a command, in the folder where modules are looked for."""
    said = Command(words, bases / "log", pooled="threading", folder=bases).wait(600)
    if said.code:
        raise SystemExit(f"a run can't be made undisturbed: {said.text[-1500:]}")
