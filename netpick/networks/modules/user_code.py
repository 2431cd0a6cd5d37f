"""Networks from the user's own Python: found in a module, tried out, written down so that a worker can make them again.

The code is the user's, and is trusted since the user names it; nothing but `--module` and `--trust` leads here. A
network is written down as the operation `Module`: where it is (`package.module:NAME`), what it gives, and a hash of the
file, by which a change is noticed. torch is loaded in the functions that need it. Files of the run are not touched.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import math
import shlex
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from netpick.core.errors import NetpickError, RunError, SpecError, last_line, listed, suggest
from netpick.core.names import NAME
from netpick.core.provenance import PACKAGE
from netpick.networks.catalogue.import_file import Taken
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.networks.paper.inferred import MIXED
from netpick.networks.paper.operation import Shape
from netpick.networks.paper.spec import LayerSpec, NetworkSpec, layer

OP = "Module"


def read(target: str, image: Shape, classes: int, folder: str | Path = ".") -> Taken:
    """Find, make and try out the networks that `--module` names.

    Parameters
    ----------
    target : `package.module` for every class in it that can be made without arguments, or `package.module:NAME` for a
        class, a list of them, or a function that returns a module or several
    image : shape [C, H, W] of one image
    classes : number of classes
    folder : where modules are looked for first: where the user stands

    Raises
    ------
    SpecError
        Nothing there; or the user's own error, its last line and its place: on import, on making, on running.
    """
    import torch

    with torch.random.fork_rng(devices=[]):  # nobody's random numbers are others because of this
        return _read(target, image, classes, str(Path(folder).resolve()))


def _read(target: str, image: Shape, classes: int, path: str) -> Taken:
    name, _, attribute = target.partition(":")
    module = import_user_module(name, path)
    notes: list[str] = []
    networks = _named(module, attribute) if attribute else _classes(module, notes)
    if not networks:
        raise SpecError(
            f"{target}: no class of torch.nn.Module in it that can be made without arguments: name one as {name}:NAME"
        )
    out: list[NetworkSpec] = []
    seen: set[str] = set()
    for short, where in networks:
        spec, note = _tried(f"{name}:{where}", short, path, image, classes)
        if spec.name in seen:
            raise SpecError(f"{target}: the name '{spec.name}' is taken, give each network a name of its own")
        seen.add(spec.name)
        out.append(spec)
        notes.append(note)
    return Taken(out, [note for note in notes if note])


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
        raise SpecError(f"module {name} can't be imported: {_own(error)}") from None


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
        raise SpecError(f"{of} can't be made: {_own(error)}") from None


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
    return [replace(spec, layers=tuple(_located(one, names, path) for one in spec.layers)) for spec in networks]


def modules_of(networks: Iterable[NetworkSpec]) -> list[str]:
    """Return the names of the modules whose code networks are made by, each once."""
    names = (str(one.args["of"]).partition(":")[0] for spec in networks for one in spec.layers if one.op == OP)
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


def _classes(module: Any, notes: list[str]) -> list[tuple[str, str]]:
    """Return (name, where) of every module class that is defined here and can be made without arguments."""
    from torch import nn

    out, left = [], []
    for name, value in vars(module).items():
        if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == module.__name__:
            if not NAME.fullmatch(name):
                left.append(f"{name} (its name has other letters than A-Z a-z 0-9 _)")
            elif needed := _needed(value):
                left.append(f"{name} (wants {listed(needed, 3)})")
            else:
                out.append((name, name))
    if left:
        notes.append(f"left out: {listed(left, 10)}")
    return out


def _needed(kind: Callable[..., Any]) -> list[str]:
    """Return the arguments that something can't be called without."""
    try:
        parameters = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):
        return []
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variable]


def _named(module: Any, attribute: str) -> list[tuple[str, str]]:
    """Return (name, where) of what one attribute of a module stands for."""
    from torch import nn

    name = module.__name__
    if not attribute.isidentifier() or not hasattr(module, attribute):
        there = [key for key, value in vars(module).items() if callable(value) or isinstance(value, list | tuple)]
        raise SpecError(
            f"{name} has no '{attribute:.100}'{suggest(attribute, there)}: name a class, a list or a function"
        )
    value = getattr(module, attribute)
    if isinstance(value, list | tuple):
        names = [getattr(kind, "__name__", str(i)) for i, kind in enumerate(value)]
        if not all(callable(kind) and not isinstance(kind, nn.Module) for kind in value):
            raise SpecError(f"{name}:{attribute} wants classes (or functions) in its list, which can be made anew")
        return [(_unique(kind, i, names), f"{attribute}[{i}]") for i, kind in enumerate(names)]
    if isinstance(value, nn.Module) or not callable(value):
        raise SpecError(
            f"{name}:{attribute} is a {type(value).__name__}: name a class, a list of classes or a function"
        )
    if needed := _needed(value):
        raise SpecError(f"{name}:{attribute} wants {listed(needed, 5)}: give them defaults, or name a function without")
    if isinstance(value, type):
        return [(attribute, attribute)]
    try:
        made = value()
    except (Exception, SystemExit) as error:  # noqa: BLE001  the user's own error is what is to be said
        raise SpecError(f"{name}:{attribute} can't be called: {_own(error)}") from None
    if isinstance(made, nn.Module):
        return [(attribute, attribute)]
    if isinstance(made, list | tuple) and made and all(isinstance(module, nn.Module) for module in made):
        names = [type(module).__name__ for module in made]
        return [(_unique(kind, i, names), f"{attribute}()[{i}]") for i, kind in enumerate(names)]
    raise SpecError(f"{name}:{attribute} gives a {type(made).__name__}, wanted a torch.nn.Module or a list of them")


def _unique(name: str, index: int, names: list[str]) -> str:
    """Return a name for one of several, with its number where the name alone is not enough."""
    plain = name if NAME.fullmatch(name) and name != "<lambda>" else "Module"
    return plain if names.count(name) == 1 and plain == name else f"{plain}_{index + 1}"


def _maker(module: Any, where: str) -> Callable[[], Any]:
    """Return what makes a network anew, from `NAME`, `NAMES[2]` (a list of classes) or `NAME()[2]` (what it gives)."""
    name, _, rest = where.partition("[")
    value = getattr(module, name.removesuffix("()"))
    if not rest:
        return value
    index = int(rest.rstrip("]"))
    return (lambda: value()[index]) if name.endswith("()") else value[index]


def _inputs(image: Shape) -> Iterator[tuple[str, list[int]]]:
    channels, height, width = image
    yield f"(N, {channels}, {height}, {width})", list(image)
    yield f"(N, {math.prod(image)})", [math.prod(image)]
    if channels == 1:
        yield f"(N, {height}, {width})", [height, width]


def _tried(of: str, name: str, path: str, image: Shape, classes: int) -> tuple[NetworkSpec, str]:
    """Run a network on a few random images; return it with the layers around it that it needs, and a note."""
    import torch

    torch.manual_seed(0)
    model = make(of, path)
    if not isinstance(model, torch.nn.Module):
        raise SpecError(f"{of} makes a {type(model).__name__}, wanted a torch.nn.Module")
    model.eval()
    images = torch.rand(4, *image)
    failures: list[str] = []
    scores, shape, shown = None, list(image), ""
    for text, sizes in _inputs(image):
        try:
            with torch.no_grad():
                out = model(images.reshape(4, *sizes))
        except (Exception, SystemExit) as error:  # noqa: BLE001  the user's own error is what is to be said
            failures.append(f"of {text}: {_own(error)}")
            continue
        if isinstance(out, torch.Tensor) and out.shape == (4, classes):
            scores, shape, shown = out.double(), sizes, text
            break
        got = f"({', '.join(map(str, ('N', *out.shape[1:])))})" if isinstance(out, torch.Tensor) else type(out).__name__
        failures.insert(0, f"of {text} it makes {got}, wanted (N, {classes})")
    if scores is None:
        raise SpecError(f"{of} takes no images of {'×'.join(map(str, image))}: {failures[0]}")
    gives = _gives(scores)
    used = {type(part).__name__ for part in model.modules()} & set(ACTIVATIONS)
    activation = next(iter(used)) if len(used) == 1 else (MIXED if used else "None")
    source = source_hash(of.partition(":")[0], path)
    inner = layer(OP, of=of, gives=gives, num_classes=classes, source=source, path=path)
    layers: list[LayerSpec] = [inner] if shape == list(image) else [layer("Reshape", shape=shape), inner]
    if gives != "log_probabilities":
        layers.append(layer("LogSoftmax", dim=1))
    note = f"{name}: takes {shown}, gives {gives.replace('_', ' ')}"
    return NetworkSpec(name, OP, activation, tuple(layers)), note


def _gives(scores: Any) -> str:
    """Say what a few rows of outputs (samples, classes) are; raw logits and log probabilities are both right."""
    if (scores >= 0).all() and (scores.sum(dim=1) - 1).abs().max() < 1e-4:
        return "probabilities"
    return "log_probabilities" if scores.logsumexp(dim=1).abs().max() < 1e-4 else "logits"


def _own(error: BaseException) -> str:
    """Return an error of the user's code: its class, the last line of what it says, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    here = str(PACKAGE)
    library = (here, "<frozen", str(Path(importlib.__file__).parent))
    own = [f for f in frames if not f.filename.startswith(library) and "site-packages" not in f.filename]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({Path(error.filename).name}:{error.lineno})"
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return f"{last_line(error)}{place}"
