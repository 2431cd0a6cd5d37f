"""Which columns of an answer are fractions, and which matter most: of every question, on a planted run."""

import re

import numpy as np
import pytest

from netpick import exam
from netpick.exam import questions
from netpick.exam.tables import table

NO_FRACTIONS = {
    *(
        "p",
        "p_exact",
        "pick_p",
        "correlation",
        "within",
        "low",
        "high",
        "kappa",
        "macs_share",
        "score",
        "entropy",
        "seconds",
    ),
    *("surprise", "error", "discrimination_error", "information", "settled", "forgetting", "variability", "loss"),
    *(
        "loss_low",
        "loss_high",
        "train_loss",
        "cleanlab_quality",
        "size",
        "difference",
        "ratio",
        "equals",
        "label",
        "answer",
        "spread",
        "doubt",
    ),
}
"""Columns whose values may all lie between 0 and 1 in a run, and which are no shares of anything."""

OPTIONS = [
    *((name, {}) for name in questions.names()),
    ("ability", {"rows": "networks"}), ("attempts", {"by": "family"}), ("attempts", {"by": "attempt"}),
    ("compare", {"by": "activation"}), ("compare", {"a": "Basic"}), ("sweep", {"by": "depth"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_fractions_are_percentages_and_what_matters_comes_first(planted, name, options):
    answer = planted[0].ask(name, **options)
    frame = answer.table
    for column in frame.columns[[kind.kind == "f" for kind in frame.dtypes]]:
        values = frame[column].dropna()
        if len(values) and values.between(-1, 1).all() and (values % 1 != 0).any() and column not in NO_FRACTIONS:
            assert column in answer.shares
    shown = table(frame, 5, shares=answer.shares)
    for column in set(answer.shares) & set(frame.columns):
        cells = [row[shown.headings.index(column)] for row in shown.rows]
        if "unit" in frame:
            cells = [cell for cell, unit in zip(cells, frame["unit"], strict=False) if unit == "fraction"]
        assert all(re.fullmatch(r"(-?\d+\.\d\d %)?", cell) for cell in cells)
    assert set(answer.columns) <= {*frame.columns, "judged"}
    if answer.columns:
        assert len(set(answer.columns)) == len(answer.columns)


def test_rows_that_are_no_fractions_stay_numbers(planted):
    answer = planted[0].ask("versus")
    shown = table(answer.table, 40, shares=answer.shares)
    rows = {row[0]: row for row in shown.rows}
    best = shown.headings[2]
    whole = answer.table.set_index("measure")[best]
    assert rows["accuracy"][2] == f"{100 * whole['accuracy']:.2f} %"
    assert rows["params"][2] == f"{whole['params']:,.0f}"
    assert not rows["accuracy"][4].endswith("%")  # a ratio


def test_the_suggested_network_is_in_the_table(planted):
    run = planted[0]
    pick = exam.pick(run)
    assert pick.suggested == pick.name
    assert pick.columns[:2] == ("name", "macs")
    assert exam.pick(run, minimize=["params"]).columns[:2] == ("name", "params")
    for answer in (pick, run.ask("sets"), run.ask("ability", rows="networks")):
        shown = table(answer.table, 40, answer.suggested, answer.shares)
        assert np.sum(shown.marked) == 1
    assert run.ask("ability").suggested == ""
