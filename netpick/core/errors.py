"""The errors that netpick raises on purpose.

Every message says what was got, what is allowed, and what to do next, in one line. The command line prints the
message and exits with `exit_code`; whatever is not a `NetpickError` is a bug of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NetpickError(Exception):
    """Base of all errors that a user can cause or must know of; `exit_code` 2 means bad input."""

    exit_code = 2

    def __str__(self) -> str:
        # One line, whatever a user put into the key or the file name that the message quotes.
        return " ".join(super().__str__().splitlines())


class TemplateError(NetpickError):
    """A template, or one of its values, is not what the template language allows."""


class CatalogueError(NetpickError):
    """A cell of a template can't be turned into networks."""


class SpecError(NetpickError):
    """A network's description is not valid: unknown operation or argument, or a shape that does not fit."""


class DataError(NetpickError):
    """A data set is unknown, missing, truncated or not usable."""


class DeviceError(NetpickError):
    """A device was asked for that this machine does not have."""


class PlanError(NetpickError):
    """A plan of execution is misspelt, or its parts don't go together."""


class RunError(NetpickError):
    """A run folder is missing, half-written, of a newer schema, in use, or does not match what was asked."""


class WorkError(NetpickError):
    """The input was good and the work failed: a full disk, a worker that could not be started."""

    exit_code = 1


def suggest(word: str, allowed: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the allowed word nearest to `word`, or "" where none is near."""
    words = sorted(map(str, allowed))
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if not near:  # a difference of case alone can be further away than the cutoff allows
        near = [w for w in words if w.lower() == word.lower()]
    return f" (did you mean '{near[0]}'?)" if near else ""


def listed(words: Iterable[object], limit: int = 12) -> str:
    """Join words with commas, and say how many more there are beyond `limit`."""
    texts = [str(word) for word in words]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more


def last_line(error: BaseException) -> str:
    """Return the last line of what an error says, its class before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1]:.300}" if lines else type(error).__name__
