"""What easy, weird and confusing share: the networks vote on each sample, and some samples are shown.

Their answers have the columns of `exam.ballot`, and each says itself what these are. Each network has one vote: its
last answer, of the first replicate that is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Run, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SHARES = ("right", "wrong", "top", "same")
COLUMNS = ("sample", "class_name", "right", "answer", "top", "mistake", "same", "entropy")
"""Of the table: fractions, and what matters most."""


class Ballot(NamedTuple):
    """The votes on all samples, and who voted."""

    table: pd.DataFrame
    who: str
    how_many: str
    note: str


def ballot(run: Run, everyone: bool, good: float, quantile: float | None, split: str, network_note: str = "") -> Ballot:
    """Let the good students vote, or all."""
    frame = exam.selected(run, everyone, good, quantile=quantile, split=split)
    names, predicted, labels = exam.final(run, frame["name"], split)
    table = exam.ballot(predicted, labels, run.classes)
    each = (predicted >= 0).sum(axis=0)
    notes = [network_note, exam.said_of_samples(run, split, each, len(names))]
    voters = int(np.median(each))
    if voters < 10:
        notes.append(f"{exam.counted_word(voters, 'network')} can say little about samples")
    return Ballot(table, exam.whom(frame, everyone, split), exam.how_many(frame), exam.notes(run, *notes, first=True))


def share(part: pd.DataFrame, whole: pd.DataFrame) -> str:
    """Begin a sentence with how many of all samples: "12 of 10,000 samples (0.12 %) are", "None of 80 samples is"."""
    samples = f"{len(whole):,} sample{'' if len(whole) == 1 else 's'}"
    if not len(part):
        return f"None of {samples} is"
    return f"{len(part):,} of {samples} ({percent(len(part) / len(whole))}) {'is' if len(part) == 1 else 'are'}"


def by_class(part: pd.DataFrame, whole: pd.DataFrame) -> pd.Series:
    """Return the share of each class's samples that are in `part`, highest first."""
    counts = part["class_name"].value_counts().reindex(whole["class_name"].unique(), fill_value=0)
    return (counts / whole["class_name"].value_counts()).sort_values(ascending=False, kind="stable")


def shown(run: Run, rows: pd.DataFrame, caption: Callable[[pd.Series], str], title: str, split: str) -> Figure:
    """Draw the samples of some rows, with captions and votes."""
    votes = rows[[f"votes_{c}" for c in range(len(run.classes))]].to_numpy()
    captions = [caption(row) for _, row in rows.iterrows()]
    return exam.image_grid(run, rows["sample"].tolist(), captions, votes, split, title)


def examples(numbers: pd.Series, limit: int = 6) -> str:
    """Write the first few sample numbers: "no. 12, 40, 77 and 9 more"."""
    first = ", ".join(str(n) for n in numbers.head(limit))
    return f"no. {first}{f' and {len(numbers) - limit} more' if len(numbers) > limit else ''}"
