"""A run with other answers than its files have: for simulations, which draw answers hundreds of times."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from netpick.exam.run import Run


class Redrawn(Run):
    """A run of which only the last answers, their accuracy and the scores are others.

    Parameters
    ----------
    path : of the run, a network of which has every replicate that is redrawn
    predicted : int (networks, samples) or (replicates, networks, samples)
        Predicted classes of the test samples, networks in catalogue order.
    scores : float32 (networks, samples, classes), optional
        Of replicate 0; those of the files unless given.
    """

    def __init__(self, path: str | Path, predicted: np.ndarray, scores: np.ndarray | None = None) -> None:
        super().__init__(path)
        self._answers = predicted[None] if predicted.ndim == 2 else predicted
        self._logs = scores

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row a training × epoch × split; accuracies are those of the answers."""
        frame = super().epochs.copy()
        accuracy = (self._answers == self.labels()).mean(axis=2)
        rows = self._rows(frame["network"].astype(str))
        frame["accuracy"] = accuracy[frame["replicate"].to_numpy(), rows]
        return frame

    def predicted(
        self, epoch: int = -1, split: str = "test", networks: str | Iterable[str] | None = None, replicate: int = 0
    ) -> np.ndarray:
        """Return the predicted classes, int16 (networks, samples)."""
        return self._answers[replicate, self._rows(networks)].astype(np.int16)

    def scores(
        self, epoch: int = -1, split: str = "test", networks: str | Iterable[str] | None = None, replicate: int = 0
    ) -> np.ndarray:
        """Return all scores, float32 (networks, samples, classes)."""
        if self._logs is None:
            return super().scores(epoch, split, networks, replicate)
        return self._logs[self._rows(networks)]

    def _rows(self, networks: str | Iterable[str] | None) -> list[int]:
        names = self.networks["name"].tolist()
        wanted = names if networks is None else [networks] if isinstance(networks, str) else networks
        place = {name: i for i, name in enumerate(names)}
        return [place[name] for name in wanted]
