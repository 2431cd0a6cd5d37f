"""Which questions are confusing: the networks do not agree on any answer?

A question is a test sample. Confusing: no answer has a third of the votes, and the entropy of the votes is at least 1.5
bits, as if about three answers were equally likely (the thresholds are options; the second says something of its own
where `top` is above a third). Good students are asked, in their last attempt, unless `everyone` is.

Columns of the answer, a row a confusing sample, those with most entropy first:

- `sample`: number of the sample in its split; `label`, `class_name`: its true class
- `right`, `wrong`: shares of the networks, from 0 to 1
- `answer`: number of the class with most votes (the first of equals); `top`: share of the networks that give it
- `mistake`: number of the wrong class with most votes, -1 where nobody is wrong
- `same`: share of the wrong networks that give this mistake; missing where nobody is wrong
- `entropy`: of the votes, in bits: 0 where all agree, log2 of the number of classes where votes are even
- `votes_0`, `votes_1`, ...: networks that vote for each class, by its number

The thresholds are ours: the published study shows 5 of MNIST's 10,000 samples, whose first answer has 24 to 31 % of the
votes, and names no rule; below a third meets that count on a thousand networks of ours. Shannon's entropy (1948) says
how much votes are spread. Of two classes it is 1 bit at most, and of three one always has a third of the votes: then
nothing is confusing, unless the options ask for less.
"""

from __future__ import annotations

import math

import pandas as pd

from netpick import exam
from netpick.analysis import _votes
from netpick.exam import Answer, Run, percent, quoted


def ask(
    run: Run,
    *,
    top: float = 1 / 3,
    entropy: float = 1.5,
    everyone: bool = False,
    good: float = exam.GOOD,
    quantile: float | None = None,
    limit: int = 24,
    split: str = "test",
) -> Answer:
    """Find the samples on which networks disagree.

    Parameters
    ----------
    top : float
        No answer may have this share of the votes or more, from 0 to 1.
    entropy : float
        The votes must be spread by at least so many bits.
    limit : int
        Images in the figure.
    """
    top, entropy = exam.check_fraction("top", top), exam.check_fraction("entropy", entropy, 0, 64)
    limit = exam.check_count("limit", limit)
    votes = _votes.ballot(run, everyone, good, quantile, split, _impossible(len(run.classes), top, entropy))
    whole = votes.table.sort_values(["entropy", "sample"], ascending=[False, True])
    table = whole[(whole["top"] < top - exam.TINY) & (whole["entropy"] >= entropy - exam.TINY)].reset_index(drop=True)
    text = (
        f"{_votes.share(table, whole)} confusing: no answer has {percent(top)} of the votes of {votes.who}, and "
        f"the entropy of the votes is at least {entropy:g} bits"
    )
    rows = table.head(limit)
    if len(table):
        first = table.iloc[0]
        spread = int((first.filter(like="votes_") > 0).sum())
        text += (
            f": {_votes.examples(table['sample'])}. Most of all no. {first['sample']}, labelled "
            f"{quoted(first['class_name'])}, with votes for {spread} classes ({first['entropy']:.2f} bits); "
            f"{percent(first['right'], 1)} are right."
        )
        more = f"; the {limit} with most entropy" if len(table) > limit else ""
        many = "s" if len(table) > 1 else ""
        title = f"Confusing: on {len(table)} sample{many} no answer has {percent(top)} of the votes{more}"
    else:
        rows = whole.head(min(limit, 6))
        near = rows.iloc[0]
        text += (
            f". The nearest is no. {near['sample']}: {near['entropy']:.2f} bits, and {percent(near['top'], 1)} of the "
            f"votes for {quoted(run.classes[int(near['answer'])])}."
        )
        title = "No sample is confusing; on these the votes are spread most"
    return Answer(
        table, text, lambda: _votes.shown(run, rows, _caption, f"{title} ({votes.how_many})", split), votes.note,
        _votes.SHARES, _votes.COLUMNS,
    )  # fmt: skip


def _caption(row: pd.Series) -> str:
    return f"{percent(row['right'], 1)} right,\n{row['entropy']:.2f} bits"


def _impossible(classes: int, top: float, entropy: float) -> str:
    most = math.log2(classes)
    if most < entropy:
        bits = "1 bit" if most == 1 else f"{most:.3g} bits"
        return f"votes for {classes} classes have at most {bits} of entropy"
    return f"one of {classes} classes always has {percent(top)} of the votes" if classes * top <= 1 + exam.TINY else ""
