"""Find the questions, say what they are, ask one.

A question is a module with a docstring that asks it and a function `ask(run, *, option=default, ...) -> Answer`. The
ones that come along are in `netpick.analysis`; a module in the user's own `./analysis` is found the same way, and takes
the place of one of the same name. Nothing imports a question statically, none is answered here, and a user's module
that does not work is said to be so, while the others go on.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from netpick.core.errors import NetpickError, WorkError, listed, suggest
from netpick.exam import marks
from netpick.exam.answer import Answer
from netpick.store.reader import Reader

FOLDER = Path("analysis")
"""Where a user's own questions are, from where the user stands."""

_PACKAGE = "netpick_own_analysis"
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
                raise self._wrong(given)
            return [self._one(p) for p in parts]
        return self._one(given)

    def _one(self, given: Any) -> Any:
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
        raise self._wrong(given)

    def _wrong(self, given: Any) -> NetpickError:
        words = {bool: "yes or no", int: "a whole number", float: "a number", str: "text"}
        what = words[self.type] + (", or several with commas between them" if self.many else "")
        return NetpickError(f"option '{self.name}' is {given!r}: give {what}")


@dataclass(frozen=True)
class Question:
    """One question: its name, the question in words (`title`), its documentation, its options, and its file.

    `error` says why a user's module can't be asked, or is "".
    """

    name: str
    title: str
    doc: str
    options: Mapping[str, Option]
    source: Path
    own: bool = False
    error: str = ""
    function: Callable[..., Any] | None = field(default=None, repr=False, compare=False)


def questions(folder: str | Path = FOLDER) -> dict[str, Question]:
    """Return all questions by name: those that come along, in their order, then the user's own, by name.

    Parameters
    ----------
    folder : str or Path
        Where the user's own modules are; need not be there.
    """
    out = {name: _load(name) for name in _names()}
    for path in _own_files(Path(folder)):
        out[path.stem] = _load_own(path)
    return out


def find(name: str, folder: str | Path = FOLDER) -> Question:
    """Return one question; NetpickError with the nearest name where there is none, or its module does not work."""
    own = {path.stem: path for path in _own_files(Path(folder))}
    if name in own:
        question = _load_own(own[name])
    elif name in _names():
        question = _load(name)
    else:
        names = [*_names(), *(n for n in own if n not in _names())]
        raise NetpickError(f"no question '{name}'{suggest(name, names)}: there are {listed(names, 40)}")
    if question.error:
        raise WorkError(question.error)
    return question


def ask(run: Reader, name: str, **options: Any) -> Answer:
    """Ask a run one question.

    Parameters
    ----------
    run : Run
    name : str
        Of the question, as in `questions`.
    **options
        Of the question; text is read as the type that the option has.

    Raises
    ------
    NetpickError
        For an unknown question, an unknown option or an impossible value of one, and for what the question itself
        refuses. WorkError where a user's own question fails, with its file and line.
    """
    question = find(name)
    values = {}
    for key, value in options.items():
        if key not in question.options:
            known = listed(question.options) or "none"
            raise NetpickError(
                f"question '{name}' has no option '{key}'{suggest(key, question.options)}: it has {known}"
            )
        values[key] = question.options[key].value(value)
    assert question.function is not None  # else `find` had raised
    if not question.own:
        return question.function(run, **values)
    answer = _guarded(question, lambda: question.function(run, **values))  # type: ignore[misc]
    if not isinstance(answer, Answer):
        raise WorkError(
            f"question '{name}' ({question.source}) gave a {type(answer).__name__}: `ask` is to return a "
            "netpick.exam.answer.Answer"
        )
    draw = answer.draw
    answer.draw = lambda: _guarded(question, draw)
    return answer


@cache
def _names() -> tuple[str, ...]:
    """Return the names of the questions that come along, in the order in which they are listed."""
    analysis = importlib.import_module("netpick.analysis")
    names = [m.name for m in pkgutil.iter_modules(analysis.__path__) if not m.name.startswith("_")]
    place = {name: i for i, name in enumerate(analysis.ORDER)}
    return tuple(sorted(names, key=lambda n: (place.get(n, len(place)), n)))


@cache
def _load(name: str) -> Question:
    module = importlib.import_module(f"netpick.analysis.{name}")
    return _describe(name, module, Path(module.__file__ or ""), own=False)


def _own_files(folder: Path) -> list[Path]:
    """Return the user's modules; none where the folder is the one that comes along, as in a clone of the project."""
    analysis = importlib.import_module("netpick.analysis")
    try:
        if not folder.is_dir() or any(folder.samefile(p) for p in analysis.__path__ if Path(p).is_dir()):
            return []
        return sorted(p.absolute() for p in folder.glob("*.py") if p.stem.isidentifier() and p.name[0] not in "_.")
    except OSError:
        return []


def _load_own(path: Path) -> Question:
    """Import a user's module anew, so that what was just edited is what is asked."""
    package = types.ModuleType(_PACKAGE)
    package.__path__ = [str(path.parent)]  # so that `from . import _helper` works
    for key in [k for k in sys.modules if k.partition(".")[0] == _PACKAGE]:
        del sys.modules[key]
    sys.modules[_PACKAGE] = package
    name = f"{_PACKAGE}.{path.stem}"
    try:
        # Compiled here, not by the import machinery, whose cached bytecode has a resolution of one second.
        code = compile(path.read_bytes(), str(path), "exec")
        module = types.ModuleType(name)
        module.__file__, module.__package__ = str(path), _PACKAGE
        sys.modules[name] = module
        exec(code, module.__dict__)
        return _describe(path.stem, module, path, own=True)
    except (Exception, SystemExit) as e:  # noqa: BLE001  whatever a user's module does, the others must work
        error = f"question '{path.stem}' ({_place(e, path)}) can't be imported: {_said(e)}"
        title, doc = _docstring(path)
        return Question(path.stem, title, doc, {}, path, own=True, error=error)


def _guarded(question: Question, work: Callable[[], Any]) -> Any:
    """Do a user's work, and turn what it raises into one line with its place."""
    try:
        return work()
    except NetpickError:
        raise
    except Exception as e:
        raise WorkError(f"question '{question.name}' ({_place(e, question.source)}) failed: {_said(e)}") from e


def _place(error: BaseException, path: Path) -> str:
    """Name the last line in the user's file on the way to the error."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}, line {error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f"{path}, line {lines[-1]}" if lines else str(path)


def _said(error: BaseException) -> str:
    text = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _docstring(path: Path) -> tuple[str, str]:
    """Return the first line of a module's docstring, and all of it, without running the module."""
    try:
        doc = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    except (OSError, SyntaxError, ValueError):
        doc = ""
    return doc.partition("\n")[0], doc


def _describe(name: str, module: types.ModuleType, path: Path, own: bool) -> Question:
    """Make a Question of a module; raises TypeError where it isn't one."""
    function = getattr(module, "ask", None)
    if not callable(function):
        raise TypeError("a question's module needs a function `ask(run, *, ...)`")
    doc = inspect.getdoc(module) or ""
    title = doc.partition("\n")[0] or name
    options = {option.name: option for option in _options(function)}
    return Question(name, title, doc, options, path, own, function=function)


def _options(function: Callable[..., Any]) -> Iterable[Option]:
    """Read the keyword-only parameters of `ask`; help is the word of its docstring, or that of the shared options."""
    helps = {**_parameter_help(marks.students), **_parameter_help(marks.selected), **_parameter_help(function)}
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
