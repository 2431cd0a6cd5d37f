"""The best network: what its accuracy on all samples is called, since who is best of many was lucky too.

The best one has the highest accuracy in the last epoch, over all samples and as the mean of its replicates, of all
students that are asked about (`marks.best`). Every question, card, page and summary means this one, and names another
(the best of the good ones, the most accurate on a front) as what it is.
"""

from __future__ import annotations

import pandas as pd

from netpick.exam.answered import comparing_split
from netpick.exam.marks import leaders, preferred
from netpick.exam.splits import Accuracies, flattered
from netpick.store.reader import Reader


def accuracies(run: Reader, split: str = "test") -> Accuracies:
    """Return the accuracies of all students on the parts of the splits; worked out once for a run."""
    split = comparing_split(run, split)
    return run.once(("accuracies", split), lambda: Accuracies.of(run, None, split))


def labelled(run: Reader, frame: pd.DataFrame, split: str = "test") -> str:
    """Label the accuracy of the best of some students: "best of 1001, flattered by about 0.6 points".

    By so much it is higher than what the same choice comes to where it is made on one part of the samples and judged on
    another. "" where there is nobody to be better than, or too few samples to split.
    """
    if len(frame) < 2 or len(run.labels(split)) < 2:
        return ""
    marks = accuracies(run, split)
    known = set(marks.names)
    order = [name for name in preferred(frame) if name in known]
    by = float(frame["accuracy"].max() - marks.at(marks.winners(order)).mean())
    good = " good ones" if len(frame) < frame.attrs.get("of", 0) else ""
    return flattered(f"best of {len(frame)}{good}", by)


def label_of(run: Reader, frame: pd.DataFrame, name: str, split: str = "test") -> str:
    """Return the label of a network's accuracy on all samples: "" unless it is the best of these students, or equal."""
    return labelled(run, frame, split) if name in leaders(frame) else ""
