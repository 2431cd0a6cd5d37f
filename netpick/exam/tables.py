"""A table as text: the same cells on the terminal, in a notebook and on pages. Nothing is escaped or laid out here."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

LONG = 60
"""Characters of a cell that are shown."""

LARGE = 1_000
"""Whole numbers from here on have their thousands set apart."""


@dataclass(frozen=True)
class Table:
    """A table as text: headings, rows of cells, which columns are numbers, which rows stand out, rows in all."""

    headings: list[str]
    rows: list[list[str]]
    numbers: list[bool]
    marked: list[bool]
    total: int


def table(frame: pd.DataFrame, rows: int, reference: str | None = None, shares: Collection[str] = ()) -> Table:
    """Return the first rows of a frame as text.

    Parameters
    ----------
    frame : pandas.DataFrame
    rows : how many
    reference : rows that have it as the name of their network stand out
    shares : columns of fractions that are shown as percentages; where a frame has a column `unit`, in rows that have
        "fraction" there
    """
    shown = frame.head(rows)
    counted = shown["unit"].eq("fraction") if "unit" in shown else pd.Series(True, shown.index)
    columns = [_shares(column, counted) if name in shares else _column(column) for name, column in shown.items()]
    texts = [list(row) for row in zip(*columns, strict=True)]
    numbers = [
        column.dtype.kind in "iuf" or all(re.fullmatch(r"[-\d.,]+( %)?", str(v)) for v in column)
        for _, column in shown.items()
    ]
    marked = [reference is not None and reference in row for row in texts]
    return Table([str(c) for c in frame.columns], texts, numbers, marked, len(frame))


def in_words(thresholds: pd.DataFrame) -> pd.DataFrame:
    """Give the columns of the question `scores` headings: at_80 is "≥ 80 %"."""
    return thresholds.rename(columns=lambda name: re.sub(r"^at_(\d+)$", r"≥ \1 %", str(name)))


def _shares(column: pd.Series, counted: pd.Series) -> list[str]:
    """Write the values of a column as percentages, where they are counted among those."""
    percentages = ["" if pd.isna(value) else f"{100 * value:.2f} %" for value in column]
    return [text if share else cell(value) for text, share, value in zip(percentages, counted, column, strict=True)]


def _column(column: pd.Series) -> list[str]:
    """Write the values of a column; fractions with as many digits as the longest has, thousands set apart in all."""
    if column.dtype.kind in "iu" and len(column) and column.abs().max() >= LARGE:
        return [f"{value:,}" for value in column]
    texts = [cell(value) for value in column]
    digits = max((len(text.partition(".")[2]) for text in texts), default=0)
    if column.dtype.kind != "f" or not 0 < digits <= 6 or any(re.search("[a-z]", text) for text in texts):
        return texts
    return [f"{value:,.{digits}f}" if text else "" for value, text in zip(column, texts, strict=True)]


def cell(value: Any) -> str:
    """Write one value of a table: thousands set apart, four digits of a fraction, nothing for what is missing."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        value = ", ".join(cell(v) for v in value)
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= LARGE else str(value)
    text = " ".join(str(value).split())
    return text if len(text) <= LONG else f"{text[: LONG - 1]}…"
