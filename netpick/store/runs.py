"""The runs that lie beside each other in a folder: which there are, how far each has come, which is the newest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from netpick.core.errors import NetpickError, RunError
from netpick.store.locking import in_use
from netpick.store.manifest import MANIFEST, raw_manifest
from netpick.store.reader import Reader


@dataclass(frozen=True)
class RunState:
    """A run, of which data set, with how many networks, how many trainings of how many have ended, and its bytes.

    `problem` says why it can't be read; the numbers are 0 then.
    """

    path: Path
    created: datetime | None
    dataset: str = ""
    networks: int = 0
    ended: int = 0
    wanted: int = 0
    in_use: bool = False
    bytes: int = 0
    problem: str = ""

    @property
    def state(self) -> str:
        """How far it has come, in words."""
        if self.problem:
            return "can't be read"
        if self.in_use:
            return f"being trained, {self.ended} of {self.wanted}"
        return "trained" if self.ended >= self.wanted else f"{self.ended} of {self.wanted} trained"


def newest_run(folder: str | Path = "runs") -> Path:
    """Return the run in `folder` that was generated last; RunError where there is none."""
    runs = [(created.timestamp(), path) for path, created in _generated(Path(folder)) if created is not None]
    if not runs:
        raise RunError(f"no run in {folder}: make one with `netpick generate TEMPLATE`, or name the run's folder")
    return max(runs)[1]


def states(folder: str | Path) -> list[RunState]:
    """Return the runs in a folder, the newest first; RunError where there is no such folder."""
    if not os.path.isdir(folder):
        raise RunError(f"no folder {folder}: give the one that your runs lie in")
    runs = [state(path, created) for path, created in _generated(Path(folder))]
    return sorted(runs, key=lambda run: run.created.timestamp() if run.created else 0.0, reverse=True)


def state(path: Path, created: datetime | None = None) -> RunState:
    """Return how far a run has come; `created` is when it was generated, where that is known."""
    size = sum(os.lstat(Path(root) / name).st_size for root, _, names in os.walk(path) for name in names)
    try:
        run = Reader(path, skip_broken=True)
        return RunState(
            path, created, str(run.manifest.get("dataset", "")), len(run.networks), len(run.trainings), run.wanted,
            in_use(path), size,
        )  # fmt: skip
    except NetpickError as error:
        return RunState(path, created, bytes=size, problem=str(error))


def _generated(folder: Path) -> Iterator[tuple[Path, datetime | None]]:
    """Yield each folder with a manifest, and when it was generated; None for what is half-written or no manifest."""
    for file in sorted(folder.glob(f"*/{MANIFEST}")):
        try:
            created = raw_manifest(file).get("created")
            yield file.parent, created if isinstance(created, datetime) else datetime.fromisoformat(str(created))
        except (OSError, ValueError):
            yield file.parent, None
