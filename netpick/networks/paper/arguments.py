"""What the arguments of an operation can be: kinds of values, each with its words, its check and its canonical form.

A kind is a value, so that a row of the table of operations names it. Values come from templates and files that may be
anyone's: whatever is not of the kind is a SpecError in one line. No torch here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any, NamedTuple

from netpick.core.errors import SpecError, listed, suggest

MAX_SIZE = 2**40
"""No dimension, and no product of dimensions, of a network that can be trained comes near this."""


@dataclass(frozen=True)
class Kind:
    """A kind of value: what is `wanted`, in words; whether a value `fits`; and its `canonical` form.

    `hint` is what else can be said of a value that doesn't fit.
    """

    wanted: str
    fits: Callable[[Any], bool]
    canonical: Callable[[Any], Any] = lambda value: value
    hint: Callable[[Any], str] = lambda value: ""

    def read(self, place: str, value: Any) -> Any:
        """Return a value in canonical form, or raise SpecError; `place` is the operation and its argument."""
        if not self.fits(value):
            raise SpecError(f"{place} wants {self.wanted}{self.hint(value)}, got {value!r:.80}")
        return self.canonical(value)


class Option(NamedTuple):
    """An argument of torch's that may be left out; only a value other than torch's default is part of a network."""

    kind: Kind
    default: Any


def is_int(value: object) -> bool:
    """Whether a value is a whole number, which true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    limit = sys.float_info.max
    return isinstance(value, int | float) and not isinstance(value, bool) and -limit <= value <= limit


def _is_source(value: object) -> bool:
    if not isinstance(value, str):
        return False
    module, _, where = value.partition(":")
    name, bracket, index = where.partition("[")
    words = [*module.split("."), name.removesuffix("()") if bracket else name]
    known = all(word.isidentifier() and not iskeyword(word) for word in words)
    return known and (not bracket or re.fullmatch("[0-9]{1,9}]", index) is not None)


BOOL = Kind("true or false", lambda value: isinstance(value, bool))
WORD = Kind("a word", lambda value: isinstance(value, str))
SOURCE = Kind("package.module:NAME, NAME[2] or NAME()[2] of such a module", _is_source)
"""Where a network's code is: identifiers and a number alone, since they are written into the code that is exported."""
INT = Kind("a positive integer", lambda value: is_int(value) and 1 <= value < MAX_SIZE)
NUMBER = Kind("a finite number", _is_number, float)
POSITIVE = Kind("a positive number", lambda value: _is_number(value) and value > 0, float)
NOT_NEGATIVE = Kind("a number from 0 on", lambda value: _is_number(value) and value >= 0, float)
NOT_ZERO = Kind("a finite number other than 0", lambda value: _is_number(value) and value != 0, float)
RATE = Kind("a number from 0 to below 1", lambda value: _is_number(value) and 0 <= value < 1, float)
DIVISOR = Kind("an integer other than 0", lambda value: is_int(value) and 0 < abs(value) < MAX_SIZE)
CLASS_DIM = Kind("1 or -1, the dimension of the classes", lambda value: is_int(value) and value in (1, -1))
CLASS_OF_TWO = Kind("0 or 1, the number of a class", lambda value: is_int(value) and value in (0, 1))
DIM = Kind(
    "the number of a dimension other than 0, which is the batch", lambda value: is_int(value) and 0 < abs(value) < 9
)
LAYER = Kind(
    "the number of an earlier layer, or -1 for the network's input",
    lambda value: is_int(value) and -1 <= value < MAX_SIZE,
)
IGNORED = Kind(BOOL.wanted, BOOL.fits, lambda value: False)
"""true or false, where torch has the argument and does the same either way."""


def one_of(*words: str) -> Kind:
    """One of some words."""

    def hint(value: object) -> str:
        return suggest(value, words) if isinstance(value, str) else ""

    return Kind(f"one of {listed(words)}", lambda value: isinstance(value, str) and value in words, hint=hint)


def only(value: bool | None, reason: str) -> Kind:
    """Torch's default alone, since another value can't be honoured."""
    word = "null" if value is None else str(value).lower()
    return Kind(f"{word} alone, {reason}", lambda given: given is value)


def optional(kind: Kind) -> Kind:
    """A value of a kind, or none."""
    return Kind(
        f"{kind.wanted}, or null",
        lambda value: value is None or kind.fits(value),
        lambda value: None if value is None else kind.canonical(value),
    )


def sizes(dims: int, least: int = 1) -> Kind:
    """One integer a dimension, or one for all of them; canonical is a tuple."""

    def fits(value: object) -> bool:
        return are_sizes(value if isinstance(value, list | tuple) else [value] * dims, least, dims)

    def canonical(value: Any) -> tuple[int, ...]:
        return tuple(value) if isinstance(value, list | tuple) else (value,) * dims

    return Kind(f"an integer or a list of {dims} integers, each at least {least}", fits, canonical)


def sizes_or_same(dims: int) -> Kind:
    """As `sizes`, or null for all of them, or for some: a dimension that stays as it is."""
    plain = sizes(dims)

    def fits(value: object) -> bool:
        given = value if isinstance(value, list | tuple) else [value] * dims
        return len(given) == dims and all(size is None or are_sizes([size], 1, 1) for size in given)

    return Kind(f"{plain.wanted}, or null for one that stays", fits, plain.canonical)


def padding(dims: int) -> Kind:
    """As `sizes` from 0 on, or one of torch's two words; "valid" is no padding."""
    plain = sizes(dims, 0)
    return Kind(
        f"{plain.wanted}, or 'same' or 'valid'",
        lambda value: (isinstance(value, str) and value in ("same", "valid")) or plain.fits(value),
        lambda value: value if value == "same" else plain.canonical(0 if value == "valid" else value),
    )


def are_sizes(value: object, least: int, dims: int | None = None) -> bool:
    """Whether a value is a list of `dims` sizes, or of 1 to 8."""
    if not isinstance(value, list | tuple) or not all(is_int(size) and least <= size < MAX_SIZE for size in value):
        return False
    return len(value) == dims if dims else 1 <= len(value) <= 8


SHAPE = Kind("a list of integers, each at least 1", lambda value: are_sizes(value, 1), tuple)
LAST_SIZES = Kind(
    "an integer or a list of integers, each at least 1",
    lambda value: are_sizes([value] if is_int(value) else value, 1),
    lambda value: (value,) if is_int(value) else tuple(value),
)

IN_PLACE = {"inplace": Option(BOOL, False)}
PLACED = {
    name: Option(only(None, "since a run says where and in what precision its networks are trained"), None)
    for name in ("device", "dtype")
}
"""What torch's layers with parameters take; a network file says neither."""
