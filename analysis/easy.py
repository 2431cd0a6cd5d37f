"""Which questions are easy: every network is right?

A question is a test sample. Good students are asked, in their last attempt, unless `everyone` is; `at_least` asks for
samples that nearly every network has right.

Columns of the answer, a row an easy sample, ordered by number:

- `sample`: number of the sample in its split; `label`, `class_name`: its true class
- `right`, `wrong`: shares of the networks, from 0 to 1
- `answer`: number of the class with most votes (the first of equals); `top`: share of the networks that give it
- `mistake`: number of the wrong class with most votes, -1 where nobody is wrong
- `same`: share of the wrong networks that give this mistake; missing where nobody is wrong
- `entropy`: of the votes, in bits: 0 where all agree
- `votes_0`, `votes_1`, ...: networks that vote for each class, by its number

A count, as in the published study. The figure shows some easy samples of each class; which class has
most of them is in the text.
"""

from __future__ import annotations

import pandas as pd

from netpick import exam
from netpick.analysis import _votes
from netpick.exam import Answer, Run, percent, quoted


def ask(
    run: Run,
    *,
    at_least: float = 1.0,
    everyone: bool = False,
    good: float = exam.GOOD,
    quantile: float | None = None,
    limit: int = 18,
    split: str = "test",
) -> Answer:
    """Find the samples that all networks have right.

    Parameters
    ----------
    at_least : float
        Share of the networks that must be right, from 0 to 1.
    limit : int
        Images in the figure.
    """
    at_least, limit = exam.check_fraction("at_least", at_least), exam.check_count("limit", limit)
    votes = _votes.ballot(run, everyone, good, quantile, split)
    whole = votes.table
    table = whole[whole["right"] >= at_least - exam.TINY].reset_index(drop=True)
    how = "all" if at_least >= 1 else f"at least {percent(at_least)}"
    text = f"{_votes.share(table, whole)} easy: {how} of {votes.who} are right."
    rows = table
    if len(table):
        classes = _votes.by_class(table, whole)
        text += (
            f" The class with most easy samples is {quoted(classes.index[0])} ({percent(classes.iloc[0], 1)} of its "
            f"own), the one with fewest {quoted(classes.index[-1])} ({percent(classes.iloc[-1], 1)})."
        )
        turn = table.groupby("label").cumcount()  # one of each class, then a second of each
        rows = table.assign(turn=turn).sort_values(["turn", "label"]).head(limit).sort_values(["label", "sample"])
        title = f"Easy: {_votes.share(table, whole)} right for {how} of {votes.how_many}"
    else:
        rows = whole.sort_values(["right", "sample"], ascending=[False, True]).head(min(limit, 6))
        text += f" The nearest is {_votes.examples(rows['sample'], 1)}, right for {percent(rows['right'].iloc[0])}."
        title = "No sample is easy; these come nearest"
    same = bool(len(table)) and at_least >= 1  # then the title says it of all

    def caption(row: pd.Series) -> str:
        return "" if same else f"{percent(row['right'], 1)} right"

    return Answer(
        table, text, lambda: _votes.shown(run, rows, caption, title, split), votes.note,
        _votes.SHARES, _votes.COLUMNS,
    )  # fmt: skip
