"""Questions of the user's own: modules in `./analysis`, loaded anew each time, and guarded.

A module that does not work is said to be so, with its file and line, while the others go on.
"""

from __future__ import annotations

import ast
import importlib
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netpick.core.errors import NetpickError, WorkError
from netpick.exam.questions.question import Question, described

_PACKAGE = "netpick_own_analysis"


def own_files(folder: Path) -> list[Path]:
    """Return the user's modules; none where the folder is the one that comes along, as in a clone of the project."""
    analysis = importlib.import_module("netpick.analysis")
    try:
        if not folder.is_dir() or any(folder.samefile(p) for p in analysis.__path__ if Path(p).is_dir()):
            return []
        return sorted(p.absolute() for p in folder.glob("*.py") if p.stem.isidentifier() and p.name[0] not in "_.")
    except OSError:
        return []


def load_own(path: Path) -> Question:
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
        return described(path.stem, module, path, own=True)
    except (Exception, SystemExit) as e:  # noqa: BLE001  whatever a user's module does, the others must work
        error = f"question '{path.stem}' ({_place(e, path)}) can't be imported: {_said(e)}"
        title, doc = _docstring(path)
        return Question(path.stem, title, doc, {}, path, own=True, error=error)


def guarded(question: Question, work: Callable[[], Any]) -> Any:
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
