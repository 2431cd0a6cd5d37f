"""Answers with holes: who answered what, where networks left out different folds of the training samples.

A network of a run with folds answers, as the split `left_out`, those training samples alone that it has not learned
from; `all` has the test samples and these. Where it did not answer, its predicted class is -1, its scores are NaN, and
so is, in float32, whether it is right. Rates are over those who answered.

Networks of different folds share no samples but those of test, and folds are not equally hard. Their accuracies are
equated by these shared samples, an anchor test (Kolen and Brennan 2014, "Test Equating, Scaling, and Linking"): odds of
errors are multiplied by what makes a fold's networks err on it, beside their errors on test, as often as those of all
folds together. With `all`, networks are marked and compared on the test samples alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from netpick.core.errors import RunError
from netpick.core.result import LEFT_OUT
from netpick.exam.checks import done, need_split
from netpick.store.reader import Reader
from netpick.store.samples import ALL

SHARED = "test"
"""The split of which all networks answered all samples."""
HOLES = (LEFT_OUT, ALL)
"""Those of which each answered some."""


MOST_ODDS, HALVINGS = 8.0, 50
"""Logarithm of the odds of one fold beside another at most; steps in which they are found."""


def marked(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return who is right, (networks, samples): bool; float32 with NaN where some samples were not answered."""
    right = predicted == labels
    if not predicted.size or predicted.min() >= 0:
        return right
    return np.where(predicted >= 0, right, np.nan).astype(np.float32)


def is_whole(right: np.ndarray) -> bool:
    """Whether all networks answered all samples, from what `marked` returns, or means of such."""
    return right.dtype == bool or not np.isnan(right).any()


def rates(right: np.ndarray, axis: int) -> np.ndarray:
    """Return shares of right answers of networks (axis 1) or samples (axis 0), of those given; NaN where none was."""
    if is_whole(right):
        return right.mean(axis=axis)
    given = (~np.isnan(right)).sum(axis=axis)
    with np.errstate(invalid="ignore"):
        return np.nansum(right, axis=axis, dtype=np.float64) / given


def blocks(right: np.ndarray) -> list[tuple[np.ndarray | slice, np.ndarray | slice]]:
    """Return the networks and the samples of each part of a table without holes: samples that the same ones answered.

    Samples that nobody answered are in none.
    """
    if is_whole(right):
        return [(slice(None), slice(None))]
    there = ~np.isnan(right)
    _, first, group = np.unique(np.packbits(there, axis=0), axis=1, return_index=True, return_inverse=True)
    members = [np.flatnonzero(there[:, sample]) for sample in first]
    return [(rows, np.flatnonzero(group.ravel() == g)) for g, rows in enumerate(members) if len(rows)]


def equated(accuracy: np.ndarray, fold: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Return the accuracies (networks, ...) that networks would have on folds of the same difficulty; NaN stays.

    Parameters
    ----------
    accuracy : each on its own fold
    fold : (networks,) the number of it
    anchor : of the same networks on the shared samples, in the same shape
    """
    return 1 - times_odds(1 - accuracy, fold_odds(accuracy, fold, anchor))


def times_odds(errors: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """Return shares of errors whose odds are so many times as high."""
    return odds * errors / (1 - errors + odds * errors)


def fold_odds(accuracy: np.ndarray, fold: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Return what the odds of errors are to be multiplied by, for each network; 1 where its fold has none to tell."""
    known = ~np.isnan(accuracy) & ~np.isnan(anchor)
    errors, expected = (np.where(known, 1 - values, 0) for values in (accuracy, anchor))
    out = np.ones_like(accuracy)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = errors.sum(axis=0) / expected.sum(axis=0)
    for one in np.unique(fold):
        mine = fold == one
        goal = whole * expected[mine].sum(axis=0)
        low, high = np.full((2, *goal.shape), [[-MOST_ODDS], [MOST_ODDS]] if goal.ndim else [-MOST_ODDS, MOST_ODDS])
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = times_odds(errors[mine], np.exp(middle)).sum(axis=0) > goal
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        found = (goal > 0) & (goal < (errors[mine] > 0).sum(axis=0))
        out[mine] = np.where(found, np.exp((low + high) / 2), 1)
    return out


def within_folds(run: Reader, split: str, labels: np.ndarray) -> np.ndarray:
    """Return what samples are split in parts within: their labels, and the folds where there are such."""
    if split != LEFT_OUT:
        return labels
    fold = run.samples.loc[run.samples["split"] == split].sort_values("sample")["fold"]
    return labels.astype(np.int64) + len(run.classes) * fold.to_numpy(np.int64)


def equated_rows(run: Reader, rows: pd.DataFrame, anchors: pd.DataFrame) -> pd.DataFrame:
    """Return evaluations of `left_out` with accuracies and areas equated, each attempt by itself; adds `fold`."""
    keys = ["network", "replicate", "epoch"]
    rows = rows.merge(done(run)[["network", "replicate", "fold"]], on=keys[:2])
    columns = [column for column in map(str, rows) if column.startswith(("accuracy", "auc"))]
    beside = rows[keys].merge(anchors[[*keys, *columns]], on=keys, how="left")
    values, anchor = rows[columns].to_numpy(float), beside[columns].to_numpy(float)
    fold = rows["fold"].to_numpy(int)
    for epoch in rows["epoch"].unique():
        mine = (rows["epoch"] == epoch).to_numpy()
        values[mine] = equated(values[mine], fold[mine], anchor[mine])
    rows[columns] = values
    return rows


def comparing_split(run: Reader, split: str) -> str:
    """Return the split whose answers networks are compared by: with `all` that of which all answered all samples."""
    return SHARED if need_split(run, split) == ALL else split


def need_shared(run: Reader, split: str, what: str) -> str:
    """Return the split to compare networks by; RunError where `what` needs answers to the same samples."""
    if comparing_split(run, split) == LEFT_OUT:
        raise RunError(
            f"{what} wants networks that answered the same samples, and those that left out different folds share "
            f"none of {LEFT_OUT}: ask with split {SHARED}"
        )
    return comparing_split(run, split)


def said_of_networks(run: Reader, split: str) -> str:
    """Say on which samples networks are compared; "" where all answered all."""
    if split == ALL:
        return "networks are compared on the test samples, which all of them answered"
    if split != LEFT_OUT:
        return ""
    counts = run.samples.loc[run.samples["split"] == split, "fold"].value_counts()
    return (
        f"each network answered the {_span(counts)} samples of the fold that it left out; accuracies are equated over "
        f"{len(counts)} folds by the test samples, which all networks answered"
    )


def said_of_samples(run: Reader, split: str, each: np.ndarray, networks: int) -> str:
    """Say how many of the networks answered each sample, (samples,); "" where all answered all."""
    if split not in HOLES or not each.any():
        return ""
    what = "each training sample"
    if split == ALL:
        tested = len(run.labels(SHARED))
        what = f"each sample, those of test up to number {tested - 1} and from {tested} on those of {LEFT_OUT},"
    nobody = int((each == 0).sum())
    left = f"; {nobody} that none of them answered are left out" if nobody else ""
    return f"{what} was answered by {_span(each[each > 0])} of {networks} networks, which had not seen it{left}"


def _span(counts: Iterable[int]) -> str:
    values = np.asarray(list(counts))
    if not len(values):
        return "0"
    low, high = values.min(), values.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
