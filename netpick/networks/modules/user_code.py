"""The user's own Python, of which networks are made: imported, made again by a worker, known by its hash.

The code is the user's, and is trusted since the user names it; nothing but `--module` and `--trust` leads here. A
network is written down as the operation `Module`: where it is (`package.module:NAME`), what it gives, and a hash of the
file, by which a change is noticed. Files of the run are not touched.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import shlex
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from netpick.core.errors import NetpickError, RunError, SpecError, last_line
from netpick.core.provenance import PACKAGE
from netpick.networks.paper.spec import LayerSpec, NetworkSpec

OP = "Module"


def import_user_module(name: str, path: str) -> Any:
    """Import a module, looked for in `path` first; SpecError with its own error where that fails."""
    if path not in sys.path:
        sys.path.insert(0, path)
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise SpecError(f"--module {name!r:.100}: wants package.module or package.module:NAME, no path of a file")
    try:
        importlib.invalidate_caches()
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001  the user's own error is what is to be said
        raise SpecError(f"module {name} can't be imported: {own_error(error)}") from None


def make(of: str, path: str, source: str = "") -> Any:
    """Make the module that `of` says, anew, with the random numbers of now; SpecError where that fails.

    With `source`, the hash of its file, a file that has changed is refused.
    """
    name, _, where = of.partition(":")
    if source and source_hash(name, path) != source:
        raise SpecError(f"{of}: its source has changed since the run was generated: generate another run")
    try:
        return _maker(import_user_module(name, path), where)()
    except NetpickError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  the user's own error is what is to be said
        raise SpecError(f"{of} can't be made: {own_error(error)}") from None


def source_file(name: str, path: str) -> Path | None:
    """Return the file of a module without importing it; None where it has none."""
    stem = Path(path, *name.split("."))
    for file in (stem.with_suffix(".py"), stem / "__init__.py"):
        if file.is_file():
            return file
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # noqa: BLE001  a parent package of the user's that can't be imported
        return None
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None


def source_hash(name: str, path: str) -> str:
    """Return 16 hexadecimal digits of SHA-256 over the module's file; empty where it has none."""
    file = source_file(name, path)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file else ""


def allowed(modules: Collection[str], trust: str | None, run: Path) -> Collection[str] | None:
    """Return whose code of a run may run, as `located` takes it: that of the modules that are named, or all of it.

    Raises RunError where another run is trusted than the one that is meant.
    """
    if trust is None:
        return modules
    if Path(trust).resolve() != run.resolve():
        raise RunError(f"--trust: wants the run itself, {run}, got '{trust}'")
    return None


def located(
    networks: Sequence[NetworkSpec], trusted: Collection[str] | None, folder: str | Path = "."
) -> list[NetworkSpec]:
    """Return the networks with their modules looked for where the user stands; imports nothing.

    A run may be anyone's: where its table says that code lies is never looked at, and code is run only where the user
    has named its module.

    Parameters
    ----------
    networks : of a run
    trusted : names of modules whose code may be run; None for all that the run names
    folder : where modules are looked for first

    Raises
    ------
    RunError
        A module that the user has not named, that isn't there, or whose file is not the one that the run was made of.
    """
    path = str(Path(folder).resolve())
    names = None if trusted is None else {name.partition(":")[0] for name in trusted}
    return [replace(spec, layers=tuple(_located(inner, names, path) for inner in spec.layers)) for spec in networks]


def modules_of(networks: Iterable[NetworkSpec]) -> list[str]:
    """Return the names of the modules whose code networks are made by, each once."""
    names = (str(inner.args["of"]).partition(":")[0] for spec in networks for inner in spec.layers if inner.op == OP)
    return list(dict.fromkeys(names))


def _located(layer: LayerSpec, names: Collection[str] | None, path: str) -> LayerSpec:
    if layer.op != OP:
        return layer
    name = str(layer.args["of"]).partition(":")[0]
    if names is not None and name not in names:
        raise RunError(
            f"networks of this run are made by code of the module {name!r:.100}, which is run only where you say so: "
            f"--module {shlex.quote(name)} for one of yours, --trust RUN for all modules that the run names"
        )
    if not all(part.isidentifier() for part in name.split(".")):
        raise RunError(f"{name!r:.100} is no name of a module: such a run is not netpick's")
    if source_hash(name, path) != layer.args["source"] or not layer.args["source"]:
        file = source_file(name, path)
        what = f"{file} has changed" if file else f"module {name} is not in {path} any more"
        raise RunError(
            f"{what} since the run was generated, and results of different sources can't be compared: "
            "undo that, or generate another run with --run runs/OTHER"
        )
    return LayerSpec(OP, {**layer.args, "path": path})


def _maker(module: Any, where: str) -> Callable[[], Any]:
    """Return what makes a network anew, from `NAME`, `NAMES[2]` (a list of classes) or `NAME()[2]` (what it gives)."""
    name, _, rest = where.partition("[")
    value = getattr(module, name.removesuffix("()"))
    if not rest:
        return value
    index = int(rest.rstrip("]"))
    return (lambda: value()[index]) if name.endswith("()") else value[index]


def own_error(error: BaseException) -> str:
    """Return an error of the user's code: its class, the last line of what it says, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    here = str(PACKAGE)
    library = (here, "<frozen", str(Path(importlib.__file__).parent))
    own = [f for f in frames if not f.filename.startswith(library) and "site-packages" not in f.filename]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({Path(error.filename).name}:{error.lineno})"
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return f"{last_line(error)}{place}"
