"""The live class: networks whose weights travel in the page."""

from __future__ import annotations

from typing import Any

from netpick.exam.run import Run


def carried(
    run: Run, budget_bytes: int, count: int | None
) -> tuple[dict[str, Any], dict[str, bytes], list[tuple[str, str]]]:
    """Return what travels in the page, its blocks, and which networks are left out and why.

    Parameters
    ----------
    run : Run
    budget_bytes : int
        What the blocks may take in the page, in base64.
    count : int, optional
        How many networks; None for as many as fit, 0 for none.
    """
    return {}, {}, []
