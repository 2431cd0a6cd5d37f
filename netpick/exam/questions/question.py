"""What a question is: a module whose docstring asks it, with a function `ask(run, *, option=default) -> Answer`.

Its options are the keyword-only parameters of `ask`, with their types, defaults and help; text from a command line is
read as the type that an option has. No question is looked up or asked here.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from netpick.core.errors import NetpickError
from netpick.exam.marks import selected, students

_TYPES = (bool, int, float, str)


@dataclass(frozen=True)
class Option:
    """One option of a question: a keyword-only parameter of its `ask`.

    `type` is bool, int, float or str; `many` says that a list of them is wanted, `optional` that None is allowed.
    """

    name: str
    type: type
    default: Any
    help: str = ""
    many: bool = False
    optional: bool = False

    def value(self, given: Any) -> Any:
        """Return what was given as this option's type; text, as from a command line, is read. Raises NetpickError."""
        if given is None and self.optional:
            return None
        if self.many:
            parts = [p.strip() for p in given.split(",")] if isinstance(given, str) else given
            if not isinstance(parts, Iterable):
                raise self._refusal(given)
            return [self._read(p) for p in parts]
        return self._read(given)

    def _read(self, given: Any) -> Any:
        text = given.strip().lower() if isinstance(given, str) else None
        try:
            if self.type is bool:
                if text is not None:
                    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text]
                if given in (True, False):
                    return bool(given)
            elif self.type is str:
                if isinstance(given, str):
                    return given
            elif not isinstance(given, bool):
                number = self.type(given)
                if text is not None or number == given:
                    return number
        except (KeyError, TypeError, ValueError):
            pass
        raise self._refusal(given)

    def _refusal(self, given: Any) -> NetpickError:
        words = {bool: "yes or no", int: "a whole number", float: "a number", str: "text"}
        what = words[self.type] + (", or several with commas between them" if self.many else "")
        return NetpickError(f"option '{self.name}' is {given!r}: give {what}")


@dataclass(frozen=True)
class Question:
    """One question: its name, the question in words (`title`), its documentation, its options, its file, its `ask`."""

    name: str
    title: str
    doc: str
    options: Mapping[str, Option]
    source: Path
    own: bool
    function: Callable[..., Any] = field(repr=False, compare=False)


def described(name: str, module: types.ModuleType, path: Path, own: bool) -> Question:
    """Make a Question of a module; raises TypeError where it isn't one."""
    function = getattr(module, "ask", None)
    if not callable(function):
        raise TypeError("a question's module needs a function `ask(run, *, ...)`")
    doc = inspect.getdoc(module) or ""
    title = doc.partition("\n")[0] or name
    options = {option.name: option for option in _options(function)}
    return Question(name, title, doc, options, path, own, function)


def _options(function: Callable[..., Any]) -> Iterable[Option]:
    """Read the keyword-only parameters of `ask`; help is the word of its docstring, or that of the shared options."""
    helps = {**_parameter_help(students), **_parameter_help(selected), **_parameter_help(function)}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        if parameter.default is parameter.empty:
            raise TypeError(f"option '{name}' of `ask` needs a default")
        kind, many, optional = _kind(name, _hint(function, parameter))
        yield Option(name, kind, parameter.default, helps.get(name, ""), many, optional)


def _hint(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return a parameter's type; of this one alone, for others may be of types that only a type checker knows."""
    hint = parameter.annotation
    if hint is parameter.empty:
        return type(parameter.default)
    return eval(hint, getattr(function, "__globals__", {})) if isinstance(hint, str) else hint


def _kind(name: str, hint: Any) -> tuple[type, bool, bool]:
    """Take a type hint apart: the plain type, whether a list of it, whether None is allowed."""
    optional = many = False
    if get_origin(hint) in (Union, types.UnionType):
        rest = [a for a in get_args(hint) if a is not type(None)]
        optional = len(rest) < len(get_args(hint))
        hint = rest[0] if len(rest) == 1 else hint
    if get_origin(hint) is list:
        many, hint = True, get_args(hint)[0]
    if hint not in _TYPES:
        raise TypeError(
            f"option '{name}' of `ask` has type {hint}: wanted bool, int, float, str, a list of them, or None"
        )
    return hint, many, optional


def _parameter_help(function: Callable[..., Any]) -> dict[str, str]:
    """Read the Parameters section of a numpydoc docstring: one line of text a parameter."""
    doc = inspect.getdoc(function) or ""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", doc, re.MULTILINE | re.DOTALL)
    out: dict[str, str] = {}
    names: list[str] = []
    for line in (section.group(1) if section else "").splitlines():
        if line and not line[0].isspace():
            names = [n.strip() for n in line.partition(":")[0].split(",")]
        elif line.strip():
            for name in names:
                out[name] = f"{out.get(name, '')} {line.strip()}".strip()
    return {name: text for name, text in out.items() if not text.startswith("As in `")}
