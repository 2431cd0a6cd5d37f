"""The folder that a case gets, the attempt that is made in it, and how a change outside of it is noticed.

Nothing is mutated here. The run of a case lies three folders deep, so that names such as `../../x` still end inside
the box, where they are seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

SAID = "marker: executed"


@dataclass(frozen=True)
class Box:
    """One case's folder, and the folder of runs to copy that all cases share."""

    folder: Path
    bases: Path

    @property
    def run(self) -> Path:
        """Where the attacked run lies."""
        return self.folder / "user" / "runs" / "run"

    @property
    def here(self) -> Path:
        """Where the user stands."""
        return self.folder / "user" / "here"

    @property
    def out(self) -> Path:
        """Where the user lets netpick write."""
        return self.folder / "out"

    @property
    def outside(self) -> Path:
        """What nobody may touch."""
        return self.folder / "outside"

    @property
    def marker(self) -> Path:
        """What code that must not run would write."""
        return self.folder / "marker"

    def make(self) -> None:
        """Make the folders, and the decoys."""
        for folder in (self.run.parent, self.here, self.out, self.outside / "folder"):
            folder.mkdir(parents=True)
        for name in ("secret.txt", "victim-0.safetensors", "victim-1.safetensors", "folder/keep.txt"):
            (self.outside / name).write_text("nobody may change this\n")

    def copy(self, base: str) -> Path:
        """Put a copy of a base run where the attacked run lies."""
        shutil.copytree(self.bases / base, self.run)
        return self.run

    def payload(self) -> str:
        """Return Python code that shows that it was executed."""
        return f"with open({str(self.marker)!r}, 'a') as _file:\n    _file.write({SAID!r})\n"

    def state(self) -> dict[str, str]:
        """Describe all that netpick has no business with; two such descriptions differ where it was touched."""
        free = {str(self.run), str(self.out), str(self.marker)}
        out = {}
        for top, folders, files in os.walk(self.folder):
            folders[:] = [name for name in folders if os.path.join(top, name) not in free]
            for name in (*folders, *files):
                path = os.path.join(top, name)
                if path not in free:
                    out[os.path.relpath(path, self.folder)] = _described(path)
        return out


def _described(path: str) -> str:
    at = os.lstat(path)
    if not stat.S_ISREG(at.st_mode):
        return f"{stat.S_IFMT(at.st_mode):o}"
    with open(path, "rb") as file:
        return f"{at.st_size} {at.st_mtime_ns} {at.st_ino} {hashlib.sha256(file.read(2**20)).hexdigest()}"


@dataclass(frozen=True)
class Attempt:
    """What a case does: the mutation in words, netpick's commands, and what is looked at after them.

    `check` returns what is wrong as `OUTCOME: words`, or None. With `alone` each command is a process of its own, as
    by the shell; else all happens in a fork of a warm process.
    """

    what: str
    commands: tuple[tuple[str, ...], ...] = ()
    check: Callable[[], str | None] | None = None
    alone: bool = False
    path: tuple[str, ...] = ()
    """Folders that go before $PATH."""


class Kind(NamedTuple):
    """One kind of attack; `slow` kinds have that many times fewer cases."""

    name: str
    title: str
    make: Callable[[random.Random, Box], Attempt]
    slow: int = 1
    bases: tuple[str, ...] = ()
    torch: bool = False
    """Whether undamaged cases would load it: then the warm process does, once for all."""
    together: int = 50
    """Cases that one process does; 1 where a case could change the process for the next one."""


def make_bases(folder: Path, names: set[str]) -> None:
    """Make the runs that cases copy: `planted`, `compacted` (the same, merged), `digits` (generated, to be trained)."""
    from netpick.cli import main
    from netpick.exam import plant

    commands = []
    planted = folder / "planted"
    plant(planted, networks=12, samples=50, classes=3, epochs=2, shape=(1, 8, 8), failed=1)
    if "compacted" in names:
        shutil.copytree(planted, folder / "compacted")
        commands.append(["compact", str(folder / "compacted")])
    if "digits" in names:
        file = folder / "digits.jsonl"
        file.write_text("".join(json.dumps(one) + "\n" for one in small_networks()))
        recipe = ("epochs=1", "batch_size=200", "train_samples=400")
        sets = [word for value in recipe for word in ("--set", f"recipe.{value}")]
        commands.append(
            ["generate", "--networks", str(file), "--dataset", "digits", "--run", str(folder / "digits"), *sets]
        )
    for command in commands:
        try:
            main(command)
        except SystemExit as ended:
            if ended.code:
                raise
    (folder / "values").write_bytes(pickle.dumps(all_values(planted)))


def all_values(run: Path) -> dict[str, Any]:
    """Read all that a run has, as a user reads it."""
    from netpick import Run

    opened = Run(run)
    out = {name: getattr(opened, name) for name in ("networks", "trainings", "epochs", "samples")}
    return {**out, "predictions": opened.predictions(), "scores": opened.scores()}


def small_networks() -> list[dict[str, object]]:
    """Return three small networks for the data set digits, as a file of networks has them."""
    ways: tuple[list[dict[str, object]], ...] = (
        [{"op": "Reshape", "shape": [64]}, {"op": "Linear", "in_features": 64, "out_features": 10}],
        [
            {"op": "Reshape", "shape": [64]},
            {"op": "Linear", "in_features": 64, "out_features": 4, "bias": False},
            {"op": "ReLU"},
            {"op": "Linear", "in_features": 4, "out_features": 10},
        ],
        [
            {"op": "Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": [3, 3], "stride": 2},
            {"op": "Tanh"},
            {"op": "Flatten"},
            {"op": "Linear", "in_features": 18, "out_features": 10},
        ],
    )
    names = ("Basic", "Mlp", "Cnn")
    last = {"op": "LogSoftmax", "dim": 1}
    return [{"name": name, "layers": [*layers, last]} for name, layers in zip(names, ways, strict=True)]
