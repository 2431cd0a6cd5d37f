"""Questions of the user's own: modules in `./analysis`, listed without running them, loaded anew each time, guarded.

Nothing is imported but the one module that the user asks for: what lies where he stands may be anyone's. What goes
wrong in it is said with its file and line.
"""

from __future__ import annotations

import ast
import importlib
import sys
import traceback
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netpick.core.errors import NetpickError, WorkError
from netpick.core.files import read_text
from netpick.exam.questions.question import Question, described

FOLDER = Path("analysis")
"""Where a user's own questions are, from where the user stands."""

_PACKAGE = "netpick_own_analysis"
_BYTES = 2**20
"""Of a module, at most: nobody writes more by hand."""


def own_files(folder: str | Path = FOLDER) -> dict[str, Path]:
    """Return the user's modules by name; none where the folder is the one that comes along, as in a clone."""
    analysis, folder = importlib.import_module("netpick.analysis"), Path(folder)
    try:
        if not folder.is_dir() or any(folder.samefile(p) for p in analysis.__path__ if Path(p).is_dir()):
            return {}
        files = sorted(p.absolute() for p in folder.glob("*.py") if p.stem.isidentifier() and p.name[0] not in "_.")
        return {path.stem: path for path in files}
    except OSError:
        return {}


def title_of(path: Path) -> str:
    """Return what a user's module asks, the first line of its docstring, without running it; why not where it can't."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of the compiler, on what a stranger wrote
            doc = ast.get_docstring(ast.parse(_source(path), str(path)))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as e:
        return f"can't be asked: {_place(e, path)}: {_said(e)}"
    return (doc or path.stem).partition("\n")[0]


def own_question(path: str | Path) -> Question:
    """Import a question of your own from its file, anew each time, so that what was just edited is what is asked.

    Parameters
    ----------
    path : str or Path
        Of a module with a function `ask(run, *, option=default) -> Answer`, such as `analysis/deeper.py`. Its code is
        run.

    Raises
    ------
    WorkError
        It can't be read or imported, or is no question; with the file and the line.
    """
    path = Path(path).absolute()
    package = types.ModuleType(_PACKAGE)
    package.__path__ = [str(path.parent)]  # so that `from . import _helper` works
    for key in [k for k in sys.modules if k.partition(".")[0] == _PACKAGE]:
        del sys.modules[key]
    sys.modules[_PACKAGE] = package
    name = f"{_PACKAGE}.{path.stem}"
    try:
        # Compiled here, not by the import machinery, whose cached bytecode has a resolution of one second.
        code = compile(_source(path), str(path), "exec")
        module = types.ModuleType(name)
        module.__file__, module.__package__ = str(path), _PACKAGE
        sys.modules[name] = module
        exec(code, module.__dict__)
        return described(path.stem, module, path, own=True)
    except (Exception, SystemExit) as e:  # noqa: BLE001  whatever it is, it is the user's own
        raise WorkError(f"question '{path.stem}' ({_place(e, path)}) can't be imported: {_said(e)}") from None


def _source(path: Path) -> bytes:
    """Read a module; OSError where that is no regular file, which could be waited for in vain."""
    return read_text(path, _BYTES, "surrogateescape").encode("utf-8", "surrogateescape")


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
