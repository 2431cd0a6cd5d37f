"""Cells of tables, as the terminal, notebooks and pages show them."""

import numpy as np
import pandas as pd
import pytest

from netpick.exam.tables import cell, table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"), (0.123456, "0.1235"), (1234567.8, "1,234,568"), (12345, "12,345"), (4078, "4,078"), (999, "999"),
        (np.int16(7), "7"), (np.float32(0.5), "0.5"), (float("nan"), ""), (None, ""), (pd.NA, ""), (pd.NaT, ""),
        (True, "yes"), (np.bool_(False), "no"), (float("inf"), "inf"), ([1, 2.5], "1, 2.5"), (np.array([1, 2]), "1, 2"),
        ("a\n b", "a b"), ("x" * 61, "x" * 59 + "…"), ((), ""), ("", ""),
    ],
)  # fmt: skip
def test_cells(value, text):
    assert cell(value) == text


def test_a_table_has_its_first_rows_and_knows_its_numbers():
    frame = pd.DataFrame({"name": ["a", "Basic", "c"], "n": [1, 2, 3], "p": ["1 %", "2.5 %", ""], "k": ["x", "1", "2"]})
    out = table(frame, 2, "Basic")
    assert out.headings == ["name", "n", "p", "k"]
    assert out.rows == [["a", "1", "1 %", "x"], ["Basic", "2", "2.5 %", "1"]]
    assert out.numbers == [False, True, True, False]
    assert out.marked == [False, True]
    assert out.total == 3
    assert table(pd.DataFrame(), 5).rows == []


def test_fractions_of_a_column_have_the_same_digits():
    frame = pd.DataFrame(
        {"p": [0.95, 0.9361, None], "big": [1234.5, 2.0, 0.5], "tiny": [1e-9, 0.5, 1.0], "n": [1, 2, 3]}
    )
    columns = list(zip(*table(frame, 5).rows, strict=True))
    assert columns[0] == ("0.9500", "0.9361", "")
    assert columns[1] == ("1,234.5", "2.0", "0.5")
    assert columns[2] == ("1e-09", "0.5", "1")
    assert columns[3] == ("1", "2", "3")


def test_shares_are_percentages_of_one_form():
    frame = pd.DataFrame({"accuracy": [0.98888, 1.0, None], "n": [1, 2, 3]})
    assert [row[0] for row in table(frame, 5, shares=["accuracy", "gone"]).rows] == ["98.89 %", "100.00 %", ""]
