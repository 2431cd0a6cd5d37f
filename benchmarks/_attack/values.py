"""Odd values, and ways to spoil text and nested data; nothing here knows netpick.

All chance comes from the `random.Random` that is handed in: the same number, the same mutation.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from datetime import date
from typing import Any

ODD_NAMES = (
    "",
    " ",
    ".",
    "..",
    "../../x",
    "../../../outside/victim",
    "a/b",
    "n" * 300,
    "\x00",
    "\x1b[31mred\x1b]0;title\x07",
    "line\nline",
    "[/bold]",
    "[red",
    "=1+1",
    "<script>alert(1)</script>",
    "$(touch x)",
    "'; import os #",
    "__proto__",
    "名前",
    "\u202e\u200b",
    "-rf",
)
ODD_NUMBERS = (0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"))
ODD_VALUES: tuple[Any, ...] = (None, True, [], {}, [[]], {"a": 1}, [0], ["x"], date(2024, 1, 1), "word", b"\xff")
ODD_TEXTS = ("9" * 5000, "-" + "9" * 5000, "1e999", "nan", "inf", "0x7f", "1_0", "''", '""', "true", "1979-05-27", "{}")


def odd_value(rng: random.Random) -> Any:
    """Return a value that hardly fits anywhere."""
    return rng.choice(rng.choice((ODD_NAMES, ODD_NUMBERS, ODD_VALUES)))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of each value in nested dicts and lists."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [deeper for key, inner in pairs for deeper in ((*path, key), *places(inner, (*path, key)))]


def spoil_data(rng: random.Random, data: Any, first: tuple[Any, ...] | None = None) -> tuple[Any, str]:
    """Return a copy of nested data with one value exchanged, removed, repeated, moved or wrapped, and what was done."""
    data = copy.deepcopy(data)
    there = [path for path in places(data) if first is None or path[0] in first]
    if not there:
        return odd_value(rng), "all exchanged"
    *above, key = path = rng.choice(there)
    holder = data
    for step in above:
        holder = holder[step]
    way = rng.choice(("value", "value", "value", "remove", "rename", "wrap", "other", "deep"))
    where = ".".join(map(str, path))
    if way == "value":
        holder[key] = odd_value(rng)
        return data, f"{where} = {holder[key]!r:.60}"
    if way == "remove":
        del holder[key]
    elif way == "rename" and isinstance(holder, dict):
        holder[rng.choice(ODD_NAMES) if rng.random() < 0.5 else f"{key}x"] = holder.pop(key)
    elif way == "rename":
        holder.insert(key, copy.deepcopy(holder[key]))
    elif way == "wrap":
        holder[key] = rng.choice(([holder[key]], {"x": holder[key]}, str(holder[key])))
    elif way == "other":
        source = data
        for step in rng.choice(there):
            source = source[step]
        holder[key] = copy.deepcopy(source)
    else:
        deep: Any = 1
        for _ in range(rng.choice((30, 200))):
            deep = [deep] if rng.random() < 0.5 else {"a": deep}
        holder[key] = deep
    return data, f"{where}: {way}"


def spoil_text(rng: random.Random, text: str) -> tuple[bytes, str]:
    """Return text with one thing wrong in its letters, lines or numbers, as bytes, and what was done."""
    way = rng.choice(tuple(_TEXT))
    raw = _TEXT[way](rng, text)
    return (raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogatepass")), f"text: {way}"


def _cut(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _letters(rng: random.Random, text: str) -> str:
    letters = list(text)
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(letters))
        letters[at : at + rng.randint(0, 2)] = rng.choice(
            ("", "\x00", '"', "[", "]", "{", "=", ".", "\n", "é", "9", "#")
        )
    return "".join(letters)


def _lines(rng: random.Random, text: str) -> str:
    lines = text.splitlines()
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    way = rng.randrange(3)
    if way == 0:
        lines[a], lines[b] = lines[b], lines[a]
    elif way == 1:
        lines.insert(b, lines[a])
    else:
        del lines[a]
    return "\n".join(lines) + "\n"


def _number(rng: random.Random, text: str) -> str:
    import re

    there = list(re.finditer(r"(?<![\w.])\d+(\.\d+)?", text))
    if not there:
        return text + rng.choice(ODD_TEXTS)
    at = rng.choice(there)
    return text[: at.start()] + rng.choice(ODD_TEXTS) + text[at.end() :]


def _bytes(rng: random.Random, text: str) -> bytes:
    raw = bytearray(text.encode())
    for _ in range(rng.randint(1, 4)):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw)


def _deep(rng: random.Random, text: str) -> str:
    depth = rng.choice((100, 1000, 100_000, 1_000_000))
    brackets = rng.choice(("[" * depth, "[" * depth + "]" * depth, '{"a":' * depth, "x = " + "[" * depth + "]" * depth))
    return brackets if rng.random() < 0.5 else _in(rng, text, brackets)


def _in(rng: random.Random, text: str, more: str) -> str:
    at = rng.randrange(len(text) + 1)
    at = text.find("\n", at) + 1 or len(text)
    return text[:at] + more + "\n" + text[at:]


_TEXT: dict[str, Callable[[random.Random, str], str | bytes]] = {
    "cut off": _cut,
    "letters": _letters,
    "lines": _lines,
    "a number": _number,
    "a number again": _number,
    "bytes": _bytes,
    "nested deeply": _deep,
    "dotted keys": lambda rng, text: _in(rng, text, ".".join(["a"] * rng.choice((500, 50_000))) + " = 1"),
    "a table of dotted keys": lambda rng, text: _in(rng, text, "[" + ".".join(["a"] * rng.choice((500, 20_000))) + "]"),
    "byte-order mark": lambda rng, text: (
        rng.choice(("utf-8-sig", "utf-16", "utf-32")) and text.encode("utf-16")
        if rng.random() < 0.4
        else text.encode("utf-8-sig")
    ),
    "latin-1": lambda rng, text: (text + "# \xe9\xff\n").encode("latin-1", "replace"),
    "nothing": lambda rng, text: rng.choice((b"", b"\n", b"\x00" * 100)),
    "long": lambda rng, text: _in(rng, text, rng.choice(("[]," * 2_000_000, "# " + "x" * 5_000_000, "[]\n" * 500_000))),
    "a surrogate": lambda rng, text: _in(rng, text, 'title = "\udcff"'),
    "carriage returns": lambda rng, text: text.replace("\n", rng.choice(("\r", "\r\n"))),
}
