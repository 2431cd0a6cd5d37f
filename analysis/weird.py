"""Which questions are weird: nearly all networks are wrong, and give the same wrong answer?

A question is a test sample. Weird: more than 90 % of the networks are wrong, and at least 99 % of those that are wrong
give the same wrong answer (the thresholds are options). Often its label is wrong: the question `suspects` asks that.
Good students are asked, in their last attempt, unless `everyone` is.

Columns of the answer, a row a weird sample, those that most networks have wrong first:

- `sample`: number of the sample in its split; `label`, `class_name`: its true class
- `right`, `wrong`: shares of the networks, from 0 to 1
- `answer`: number of the class with most votes (the first of equals); `top`: share of the networks that give it
- `mistake`: number of the wrong class with most votes; `same`: share of the wrong networks that give it
- `entropy`: of the votes, in bits: 0 where all agree
- `votes_0`, `votes_1`, ...: networks that vote for each class, by its number

The thresholds are ours: the published study shows 8 of MNIST's 10,000 samples, on which all that are wrong agree. Of a
thousand networks of ours some one always differs: 99 % meet about that count, where 90 % gave several times as many.
"""

from __future__ import annotations

import pandas as pd

from netpick import exam
from netpick.analysis import _votes
from netpick.exam import Answer, Run, percent, quoted


def ask(
    run: Run,
    *,
    wrong: float = 0.9,
    same: float = 0.99,
    everyone: bool = False,
    good: float = exam.GOOD,
    quantile: float | None = None,
    limit: int = 24,
    split: str = "test",
) -> Answer:
    """Find the samples on which networks agree, against the label.

    Parameters
    ----------
    wrong : float
        More than this share of the networks must be wrong, from 0 to 1.
    same : float
        At least this share of the wrong ones must give the same answer, from 0 to 1.
    limit : int
        Images in the figure.
    """
    wrong, same = exam.check_fraction("wrong", wrong), exam.check_fraction("same", same)
    limit = exam.check_count("limit", limit)
    votes = _votes.ballot(run, everyone, good, quantile, split)
    whole = votes.table.sort_values(["wrong", "same", "sample"], ascending=[False, False, True])
    # A share of exactly 0.99 must not count as more because of its last bit.
    table = whole[(whole["wrong"] > wrong + exam.TINY) & (whole["same"] >= same - exam.TINY)].reset_index(drop=True)
    text = (
        f"{_votes.share(table, whole)} weird: more than {percent(wrong)} of {votes.who} are wrong, and at least "
        f"{percent(same)} of those give the same wrong answer"
    )
    rows = table.head(limit)
    if len(table):
        top = table.iloc[0]
        said = run.classes[int(top["mistake"])]
        text += (
            f": {_votes.examples(table['sample'])}. Most of all no. {top['sample']}, labelled "
            f"{quoted(top['class_name'])}, which {percent(top['wrong'] * top['same'], 1)} call {quoted(said)}."
        )
        more = f"; the {limit} weirdest" if len(table) > limit else ""
        title = (
            f"Weird: on {len(table)} sample{'s' if len(table) > 1 else ''} the networks agree on a wrong answer{more}"
        )
    else:
        rows = whole.head(min(limit, 6))
        near = rows.iloc[0]
        text += f". The nearest is no. {near['sample']}, which {percent(near['wrong'], 1)} have wrong."
        title = "No sample is weird; these are wrong for most"

    def caption(row: pd.Series) -> str:
        said = f"{percent(row['wrong'], 1)} wrong"
        if row["mistake"] < 0:
            return said
        return f"{said},\n{percent(row['same'], 0)} of them: {run.classes[int(row['mistake'])]}"

    return Answer(
        table, text, lambda: _votes.shown(run, rows, caption, f"{title} ({votes.how_many})", split), votes.note,
        _votes.SHARES, _votes.COLUMNS,
    )  # fmt: skip
