"""How large a planted exam is, what is to be planted in it (`Design`), and what was (`Truth`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from netpick.core.errors import NetpickError

MOST = 20_000
"""Networks."""


@dataclass(frozen=True)
class Design:
    """Sizes and shares of a planted exam; NetpickError where there is no such exam.

    Parameters
    ----------
    networks, samples, classes, epochs : size of the exam; from 12 to 20,000 networks
    seed : same numbers, same seed: the same run, to the bit
    shape : of the images [C, H, W], from which the networks' sizes follow
    easy, weird, confusing, mislabelled, forgotten, late, specialist : shares of the samples, at least one each where
        not 0; the rest follow the model
    weak, bloomers, worse : shares of the networks, likewise
    replicates : trainings a network
    validation : samples of a split `validation`, which all follow the model
    folds : of a split `left_out` with as many samples and kinds as `test`, one of which each training answers; or 0
    scores : of which epochs scores are kept: all, last, none
    failed, diverged, pending : how many networks failed, diverged after one epoch, are still to be trained
    basic : whether there is a network `Basic`
    compact : whether the many files are merged, which large runs are read faster by
    """

    networks: int = 60
    samples: int = 500
    classes: int = 10
    epochs: int = 4
    seed: int = 0
    shape: tuple[int, ...] = (1, 8, 8)
    easy: float = 0.3
    weird: float = 0.01
    confusing: float = 0.01
    mislabelled: float = 0.006
    forgotten: float = 0.006
    late: float = 0.006
    specialist: float = 0.01
    weak: float = 0.05
    bloomers: float = 0.04
    worse: float = 0.04
    replicates: int = 1
    validation: int = 0
    folds: int = 0
    scores: str = "all"
    failed: int = 0
    diverged: int = 0
    pending: int = 0
    basic: bool = True
    compact: bool = False

    def __post_init__(self) -> None:
        if not 12 <= self.networks <= MOST:
            raise NetpickError(f"networks is {self.networks}: a planted exam has from 12 to {MOST:,}")
        if self.classes < 2 or self.epochs < 1 or self.samples < 50:
            raise NetpickError(
                "a planted exam wants 2 classes, 1 epoch and 50 samples at least, got "
                f"{self.classes}, {self.epochs}, {self.samples}"
            )
        if self.folds and not 2 <= self.folds <= min(self.samples // self.classes, self.networks // 2):
            raise NetpickError(
                f"folds is {self.folds}: a planted exam has none, 0, or 2 at least, with two networks for each fold "
                "and a sample of each class in it"
            )

    @property
    def kinds(self) -> dict[str, float]:
        """Share of each special kind of sample: some take six classes, some two epochs."""
        several = self.epochs > 1
        return {
            "easy": self.easy,
            "weird": self.weird,
            "confusing": self.confusing if self.classes >= 6 else 0.0,
            "mislabelled": self.mislabelled,
            "forgotten": self.forgotten if several else 0.0,
            "late": self.late if several else 0.0,
            "specialist": self.specialist,
        }

    @property
    def roles(self) -> dict[str, float]:
        """Share of the networks that have each role: some take two epochs."""
        several = self.epochs > 1
        return {
            "weak": self.weak,
            "bloomers": self.bloomers if several else 0.0,
            "worse": self.worse if several else 0.0,
        }


@dataclass(frozen=True)
class Truth:
    """What was planted: names of networks, numbers of test samples, and arrays.

    `names` are the networks in catalogue order; those that were given a `failed`, `diverged` or pending training have
    no answers. Arrays a network are in that order, arrays a sample in that of the samples. Where there are folds,
    `left_out` is the same of the samples of that split, of which "every network" are those that left the sample's fold
    out: `fold` of each sample, and of each network, by its replicate 0, `first_fold`.
    """

    folder: Path
    names: list[str]
    ability: np.ndarray
    """(networks,) θ at the last epoch; NaN for `calibrated` and `weak`, which do not follow the model."""
    difficulty: np.ndarray
    """(samples,) b; NaN for samples that do not follow the model."""
    discrimination: np.ndarray
    """(samples,) a; NaN likewise."""
    temperature: np.ndarray
    """(networks,) by which the calibrated scores were multiplied: 1 is calibrated, above 1 overconfident."""
    unlucky: np.ndarray
    """(samples,) the number of a network that has a sample wrong against the model, so that it isn't easy; else -1."""
    easy: np.ndarray
    """Samples that every network has right at the last epoch."""
    weird: np.ndarray
    """Samples that more than 90 % have wrong with the same answer, not sure of it."""
    confusing: np.ndarray
    """Samples whose votes are spread over five classes or more (none with fewer than six classes)."""
    mislabelled: np.ndarray
    """Samples whose label was changed: the networks agree on the true class and are sure of it. Weird as well."""
    true_label: np.ndarray
    """(samples,) the class before labels were changed."""
    forgotten: np.ndarray
    """Samples that are right at epoch 1 and wrong at epoch 2 for all networks (with two epochs or more)."""
    late: np.ndarray
    """Samples that are wrong for all networks until the last epoch (with two epochs or more)."""
    specialist: np.ndarray
    """Samples that only networks of `specialists` get right."""
    specialists: str
    """The computation that does."""
    bloomers: list[str]
    """Networks that are low in the first epoch and high in the last."""
    worse: list[str]
    """Networks whose last epoch is clearly worse than their best one."""
    weak: list[str]
    """Networks that are no good in any epoch."""
    calibrated: str
    overconfident: str
    failed: list[str] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    left_out: Truth | None = None
    fold: np.ndarray | None = None
    first_fold: np.ndarray | None = None
