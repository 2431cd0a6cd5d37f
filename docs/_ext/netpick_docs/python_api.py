"""The Python reference: the front door of each room, and the docstrings of what it gives out."""

from __future__ import annotations

import inspect
from importlib import import_module
from types import ModuleType

from netpick_docs.markdown import cell, table

ROOMS = ("core", "networks", "data", "training", "store", "sessions", "exam", "report")
"""The rooms that have a front door; the command line has a page of its own."""


def rooms() -> str:
    """Return the table of the rooms, each with the first paragraph of its docstring."""
    said = {room: (import_module(f"netpick.{room}").__doc__ or "").partition("\n\n")[0] for room in (*ROOMS, "cli")}
    return table(["room", "what it holds"], ([f"`{room}`", cell(text)] for room, text in said.items()))


def pages() -> dict[str, str | bytes]:
    """Return a page a room."""
    return {f"{room}.md": _page(f"netpick.{room}") for room in ROOMS}


def _page(name: str) -> str:
    room = import_module(name)
    given = {word: getattr(room, word) for word in room.__all__}
    parts = [f"# {name}", inspect.cleandoc(room.__doc__ or "")]
    constants = {word: value for word, value in given.items() if not callable(value) and not inspect.ismodule(value)}
    if constants:
        parts.append(table(["constant", "value"], ([f"`{n}`", f"`{cell(repr(v))}`"] for n, v in constants.items())))
    for word, value in sorted(given.items()):
        if word not in constants:
            parts.append(f"## {word}\n\n```{{eval-rst}}\n{_directive(name, word, value)}\n```")
    return "\n\n".join(parts) + "\n"


def _directive(room: str, word: str, value: object) -> str:
    """Return what documents a name; one that comes from another room is described there already."""
    if isinstance(value, ModuleType):
        return f".. automodule:: {value.__name__}\n   :members:\n   :no-index:"
    index = [] if str(getattr(value, "__module__", "")).startswith(f"{room}.") else ["   :no-index:"]
    if isinstance(value, type):
        return "\n".join([f".. autoclass:: {room}.{word}", "   :members:", *index])
    return "\n".join([f".. autofunction:: {room}.{word}", *index])
