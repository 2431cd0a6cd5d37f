"""TOML and JSON that may be anyone's: how deep they are nested is known before they are parsed.

A parser goes down one call for each bracket, and keeps every beginning of a key that has dots in it: a small file of
many of them would take all stack or memory there is.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

NESTED = 50
"""Brackets in each other; what netpick writes or takes stays far below."""

KEY_PARTS = 20
"""Parts of one key that has dots in it."""

_BRACKETS = re.compile(r"[\[\]{}]")
_PART = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_LONG_TEXT = r"""(?s:\"{3}.*?\"{3}|'{3}.*?'{3})"""
_LONG_KEY = rf"(?P<long>{_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{KEY_PARTS}}})"
_TOML = re.compile(rf"{_LONG_TEXT}|#[^\n]*+|{_LONG_KEY}|{_PART}")
"""What lies between other letters in TOML: long strings, comments, keys of too many parts, and words."""


def deepest(text: str) -> int:
    """Return how deep brackets are nested in JSON or TOML, at most: those within strings may be counted too."""
    depth = most = 0
    for letter in _BRACKETS.findall(text):
        depth += 1 if letter in "[{" else -1
        most = max(most, depth)
    return most


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML; ValueError where it is not TOML, and where it is nested too deeply for what netpick writes or takes.

    A TOMLDecodeError, which is one, has the line.
    """
    if deepest(text) > NESTED:
        raise ValueError(f"its brackets are nested too deeply, more than {NESTED}")
    if any(match.lastgroup for match in _TOML.finditer(text)):
        raise ValueError(f"a key of it has more than {KEY_PARTS} parts with dots between")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None
