"""Tables as CSV that a spreadsheet opens without harm: no text in them is a formula, and none is lost.

A text that a spreadsheet would take for a formula begins with an apostrophe, which `as_written` takes away again.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula, or skips before one."""


def csv_text(frame: pd.DataFrame) -> str:
    """Return a table as CSV in which no text is a formula to a spreadsheet: such ones begin with an apostrophe."""
    harmless = frame.rename(columns=no_formula)
    for place, kind in enumerate(harmless.dtypes):
        if kind.kind not in "biufM":
            harmless.isetitem(place, harmless.iloc[:, place].astype(object).map(no_formula).to_numpy())
    text = harmless.to_csv(index=False)
    if "\r" in text:  # Python's csv before 3.13 does not quote it, and what stands after it would begin a row
        text = harmless.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
    return text


def no_formula(value: Any) -> Any:
    """Return a value as no formula; numbers may begin with a sign."""
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
