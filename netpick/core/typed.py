"""Plain values turned into typed ones, and what msgspec says of those that don't fit in words for who wrote the file.

A message quotes the key's path, says what was got and what is allowed, and names the nearest word.
"""

from __future__ import annotations

import re
from typing import Any, get_args, get_type_hints, is_typeddict

import msgspec
from msgspec import Struct

from netpick.core.errors import NetpickError, TemplateError, listed, suggest


def convert(raw: object, kind: type[Any], source: str, where: str, refusal: type[NetpickError] = TemplateError) -> Any:
    """Turn plain values into typed ones; the error `refusal` quotes the path, what was got and what is allowed."""
    try:
        return msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        message, _, inner = str(error).partition(" - at `$")
        inner = inner.removesuffix("`")
        raise refusal(f"{source}: {_explain(raw, kind, message, where, inner)}") from None


def _explain(raw: Any, kind: type[Any], message: str, where: str, inner: str) -> str:
    if "[...]" in inner:
        inner = inner.replace("[...]", f".{_refused_entry(raw, kind, inner.partition('[...]')[0])}")
    path = (where + inner).lstrip(".")
    unknown = re.search(r"unknown field `(.*)`", message, re.DOTALL)
    if unknown:
        allowed = [f.name for f in msgspec.structs.fields(_type_at(kind, inner))]
        full = f"{path}.{unknown[1]}".lstrip(".")
        return f"{full}: unknown key{suggest(unknown[1], allowed)}; allowed are {listed(allowed, 40)}"
    missing = re.search(r"missing required field `(.*)`", message)
    if missing:
        return f"{path or 'the template'}: needs the key '{missing[1]}'".lstrip(".")
    got = raw
    for key in re.findall(r"\w+", inner):
        try:
            got = got[int(key)] if isinstance(got, list) else got[key]
        except (KeyError, IndexError, ValueError, TypeError):
            break
    message = message.replace("`", "").replace("Expected", "expected")
    if "Invalid enum value" in message:
        words = _words(_type_at(kind, inner))
        message = f"expected one of {listed(words)}{suggest(str(got), words)}"
    return f"{path}: {message}, got {got!r:.80}" if ", got" not in message else f"{path}: {message}: {got!r:.80}"


def _type_at(kind: Any, inner: str) -> Any:
    """Return the type of the field that a path leads to."""
    for key in re.findall(r"\w+", inner):
        if isinstance(kind, type) and issubclass(kind, Struct):
            kind = {f.name: f.type for f in msgspec.structs.fields(kind)}.get(key, kind)
        elif is_typeddict(kind):
            kind = get_type_hints(kind).get(key, kind)
    return kind


def _words(kind: Any) -> list[str]:
    """Return the words that a type with a Literal in it allows."""
    return [word for arg in get_args(kind) for word in ([arg] if isinstance(arg, str) else _words(arg))]


def _refused_entry(raw: Any, kind: type[Any], inner: str) -> str:
    """Return the key of the entry that msgspec refused in a table of free keys, which it writes as `[...]`."""
    *keys, last = re.findall(r"\w+", inner)
    for key in keys:
        raw, kind = raw[key], _type_at(kind, key)
    for key, value in raw[last].items():
        try:
            msgspec.convert({key: value}, _type_at(kind, last), strict=True)
        except msgspec.ValidationError:
            return key
    return "..."
