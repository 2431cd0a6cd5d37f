"""Which samples does a network get wrong, what does it say they are, and how sure is it?

The best student, unless another is named; its answers in the last attempt, of its first replicate.

Columns of the answer, a row a sample that is wrong, those it was most sure of first:

- `sample`: number of the sample in its split; `label`, `class_name`: its true class
- `answer`, `answer_name`: the class that the network gave
- `sure`: the probability that it gave its answer, from 0 to 1; `truth`: the one that it gave the true class. Both are
  missing where scores were not kept; rows are then in the order of the samples.

An answer of which a network is sure and wrong may also be a wrong label: the question `suspects` asks that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, Run, RunError, percent, quoted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SURE = 0.9
"""From this probability on an answer is called sure."""
NAMED = 3
"""Confusions that the sentence has at most."""


def ask(run: Run, *, network: str | None = None, limit: int = 24, split: str = "test") -> Answer:
    """Show what a network gets wrong.

    Parameters
    ----------
    network : str
        Whose mistakes; the best student's unless named.
    limit : int
        Images in the figure.
    """
    limit = exam.check_count("limit", limit)
    frame = exam.students(run, split=split)
    name = exam.best(frame) if network is None else exam.need_network(run, network)
    names, predicted, labels = exam.final(run, [name], split)
    if not names:
        raise RunError(f"the answers of {name} can't be read: name another network")
    notes, given = [], int((predicted[0] >= 0).sum())
    if given < len(labels):
        notes.append(f"{name} answered {given:,} of {len(labels):,} samples, and had learned from the others")
    try:
        scores = exam.final_scores(run, [name], split)[1][0]
    except RunError:
        scores = None
        notes.append("scores were not kept: how sure it was is not known")
    if (frame.set_index("name")["replicates"] > 1).get(name, False):
        notes.append(f"the answers are of the first replicate of {name}")
    table = mistakes(predicted[0], labels, run.classes, scores)

    label = exam.label_of(run, frame, name, split)
    who = f"{name} ({label})" if label else name
    wrong = len(table)
    text = f"{who} has {wrong:,} of {given:,} samples wrong ({percent(wrong / max(1, given))})."
    title = f"{name} has every sample right"
    if wrong:
        ranked = confusions(table)
        said = [
            f"{quoted(true)} taken for {quoted(taken)}, {_times(n)}" for (true, taken), n in ranked.head(NAMED).items()
        ]
        most = int(ranked.iloc[0])
        text += f" Most frequent are: {'; '.join(said)}." if len(said) > 1 else f" All of them: {said[0]}."
        true, taken = ranked.index[0]
        often = f"most often {quoted(true)} taken for {quoted(taken)}, {_times(most)}"
        title = f"{name} has {wrong:,} of {given:,} wrong; {often}"
        if scores is not None:
            count = int((table["sure"] >= SURE).sum())
            text += f" It was at least {percent(SURE)} sure of {count or 'none'} of these answers."
        if wrong > limit:
            title += f". The {limit} {'that it was most sure of' if scores is not None else 'first'}"
    return Answer(
        table, text, lambda: _draw(run, table.head(limit), title, split), exam.notes(run, *notes),
        shares=("sure", "truth"), columns=("sample", "class_name", "answer_name", "sure", "truth"),
    )  # fmt: skip


def mistakes(predicted: np.ndarray, labels: np.ndarray, classes: list[str], scores: np.ndarray | None) -> pd.DataFrame:
    """Return the table: answers and labels (samples,), scores (samples, classes) logarithms of probabilities."""
    rows = np.flatnonzero((predicted != labels) & (predicted >= 0))
    names = np.asarray(classes, dtype=object)
    given = np.full((2, len(rows)), np.nan)
    if scores is not None:
        given = np.exp(np.stack([scores[rows, predicted[rows]], scores[rows, labels[rows]]]).astype(float))
    table = pd.DataFrame({
        "sample": rows, "label": labels[rows], "class_name": names[labels[rows]],
        "answer": predicted[rows], "answer_name": names[predicted[rows]], "sure": given[0], "truth": given[1],
    })  # fmt: skip
    return table.sort_values(["sure", "sample"], ascending=[False, True], ignore_index=True)


def confusions(table: pd.DataFrame) -> pd.Series:
    """Return how often each true class was taken for each other, by their names; most frequent first."""
    pairs = table.groupby(["class_name", "answer_name"], sort=True).size()
    return pairs.sort_values(ascending=False, kind="stable")


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n:,} times"


def _draw(run: Run, rows: pd.DataFrame, title: str, split: str) -> Figure:

    captions = [
        f"said: {said}" + ("" if sure != sure else f"\n{'over 99.9' if sure > 0.999 else f'{100 * sure:.1f}'} % sure")
        for said, sure in zip(rows["answer_name"], rows["sure"], strict=True)
    ]
    return exam.image_grid(run, rows["sample"].tolist(), captions, None, split, title)
