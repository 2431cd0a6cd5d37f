"""Where all see one folder: a worker writes what is large of a training into the run, and sends a receipt of it.

The row that makes a training count is written by the session alone, once it sees the files whole: so a worker that
dies, or goes on for a session that is gone, leaves at most files that nobody counts.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from netpick.core.errors import WorkError
from netpick.core.result import TrainingResult


@dataclass(frozen=True)
class Receipt:
    """A training whose files are written: its result without scores and weights, and the bytes of each file.

    `problem` says in one line why they could not be written.
    """

    result: TrainingResult
    files: Mapping[str, int]
    problem: str = ""


@dataclass(frozen=True)
class Landing:
    """A run's folder as workers see it. `scores` says of which epochs scores are kept, as for a commit.

    `token` is a file that is there as long as the session is: without it nothing is written.
    """

    folder: Path
    token: Path
    classes: int
    scores: str

    def write(self, result: TrainingResult, labels: dict[str, np.ndarray]) -> Receipt:
        """Write what is large of a training, and return the receipt."""
        from netpick.store.parts import write_parts
        from netpick.store.rows import RunFiles

        files, problem = {}, ""
        try:
            if not self.token.is_file():
                raise WorkError(f"{self.folder}: its session is gone")
            names = {result.hash: result.network}
            files = write_parts(RunFiles(self.folder, self.classes, names), [result], labels, self.scores)
        except WorkError as error:
            problem = str(error)
        return Receipt(_light(result), files, problem)


@contextmanager
def token_in(run: Path) -> Iterator[Path]:
    """Write the token of a session into a run's cache, which the session makes and removes; it goes at the end."""
    cache = run.resolve() / ".cache"
    for old in cache.glob("token-*"):  # of a session that was killed: workers that write for it still, stop
        old.unlink(missing_ok=True)
    token = cache / f"token-{secrets.token_hex(8)}"
    try:
        cache.mkdir(exist_ok=True)
        token.touch()
    except OSError as error:
        raise WorkError(f"{cache}: writing failed ({error.strerror}): see to it and give the command again") from error
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)
        with suppress(OSError):  # something else lies there, or nothing at all any more
            cache.rmdir()


def _light(result: TrainingResult) -> TrainingResult:
    """Return a result without what is large."""
    epochs = tuple(
        replace(epoch, splits=tuple(replace(split, scores=split.scores[:0]) for split in epoch.splits))
        for epoch in result.epochs
    )
    return result.with_(epochs=epochs, weights=None)
