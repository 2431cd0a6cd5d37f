"""Who is best where each line of a sweep has the value that suits it, beside who is where all have the same one.

One learning rate for all favours those whom it suits. So the value of each line is chosen by its accuracy on the
validation split, and the line that is best with it; the value for all is the one with the best mean over the lines.
Both winners are judged on the test split, which played no part in that, by the test for two networks that were named.
"""

from __future__ import annotations

import pandas as pd

from netpick import exam
from netpick.exam import Run, percent, points


def sentence(run: Run, table: pd.DataFrame, by: str) -> str:
    """Say who is best at its own best value, and who at the one for all.

    Parameters
    ----------
    run : with a validation split
    table : a row a student on a line: `line`, `value`, `name`, and `accuracy` on that split
    by : what was swept
    """
    if not len(table) or table["line"].nunique() < 2:
        return ""
    table = table.assign(
        value=table["value"].map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))
    )
    own = table.loc[table.groupby("line", sort=False)["accuracy"].idxmax()]
    first = own.loc[own["accuracy"].idxmax()]
    right = exam.replicates(run, first["name"])
    out = (
        f" With each of {len(own)} lines at its own best {by}, chosen on validation, the best is {first['name']}: "
        f"{percent(right.mean())} right on test."
    )
    wide = table.groupby(["line", "value"], sort=False)["accuracy"].max().unstack(sort=False)
    everywhere = wide.dropna(axis=1)
    if not len(everywhere.columns):
        return f"{out} No {by} was given to all of them."
    common = str(everywhere.mean().idxmax())
    others = int((wide.max(axis=1) > wide[common] + exam.TINY).sum()) or "none"
    out += f" The best {by} for all of them, by their mean, is {common}; {others} of {len(own)} do better with another."
    same = table[table["value"] == common]
    second = same.loc[same["accuracy"].idxmax()]
    if first["name"] == second["name"]:
        return f"{out} The best is the same there."
    less = exam.replicates(run, second["name"])
    found = exam.difference([right, less])
    more = f"{points(abs(found.difference))} {'less' if found.difference >= 0 else 'more'}"
    return f"{out} There the best is {second['name']}: {percent(less.mean())}, {more}, and {exam.verdict(found.p)}."
