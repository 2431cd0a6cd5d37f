"""Numbers in words, as they are shown on the terminal and in reports."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from netpick.core.result import STATUSES


def duration(seconds: float) -> str:
    """Return seconds in words: `42 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(number: float) -> str:
    """Return bytes in words: `146 MB`, of a million bytes."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}" if number < 10 * factor else f"{number / factor:.0f} {unit}"
    return f"{number / 1e3:.0f} kB"


def counted(statuses: Counter[str]) -> str:
    """Return the statuses with their counts, in their own order: `997 done, 4 diverged`."""
    return ", ".join(f"{statuses[s]} {s}" for s in STATUSES if statuses[s]) or "none done"


def counted_word(number: int, word: str, many: str = "") -> str:
    """Return a number with its word: `1 worker`, `2 workers`; `many` is what several are called, if not by an s."""
    return f"{number} {word if number == 1 else many or f'{word}s'}"


def short(name: str, most: int) -> str:
    """Return a name with at most so many characters: what is longer loses its end, and shows it by an ellipsis."""
    return name if len(name) <= most else f"{name[: most - 1].rstrip()}…"


def quoted(name: str) -> str:
    """Quote the name of a class in a sentence, cut where it is too long for one."""
    return f"'{short(name, 40)}'"


def percent(fraction: float, digits: int = 2) -> str:
    """Write a fraction as people read it: 0.98 is "98 %"."""
    return f"{round(100 * fraction, digits):g} %"


def points(difference: float, digits: int = 2) -> str:
    """Write a difference of fractions: 0.02 is "2 percentage points"."""
    number = f"{round(100 * difference, digits):g}"
    return f"{number} percentage point{'' if number == '1' else 's'}"


def figures(number: float, digits: int = 2) -> str:
    """Write a number with so many significant figures, and never with an exponent: 99.7 is "100", 1e-5 "0.00001"."""
    return f"{Decimal(f'{number:.{digits}g}'):,f}"


BEST = 10


def count(number: float) -> str:
    """Return a number of parameters, elements, ... with thousands set apart; "" where it is not known."""
    return "" if number != number else f"{number:,.0f}"
