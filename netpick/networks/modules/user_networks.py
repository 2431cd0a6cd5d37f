"""Networks found in the user's own Python when a run is generated: in a class, a list or a function, each tried out.

torch is loaded in the functions that need it. How they are made again is in `user_code`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from netpick.core.errors import SpecError, listed, suggest
from netpick.core.names import NAME
from netpick.networks.catalogue.import_file import Taken
from netpick.networks.modules.user_code import OP, import_user_module, make, own_error, source_hash
from netpick.networks.paper.operation import Shape
from netpick.networks.paper.spec import LayerSpec, NetworkSpec, layer


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
        raise SpecError(f"{name}:{attribute} can't be called: {own_error(error)}") from None
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


def _inputs(image: Shape) -> Iterator[tuple[str, list[int]]]:
    channels, height, width = image
    yield f"(N, {channels}, {height}, {width})", list(image)
    yield f"(N, {math.prod(image)})", [math.prod(image)]
    if channels == 1:
        yield f"(N, {height}, {width})", [height, width]


def _tried(of: str, name: str, path: str, image: Shape, classes: int) -> tuple[NetworkSpec, str]:
    """Run a network on a few random images; return it with the layers around it that it needs, and a note."""
    import torch

    from netpick.networks.modules import watched

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
            failures.append(f"of {text}: {own_error(error)}")
            continue
        if isinstance(out, torch.Tensor) and out.shape == (4, classes):
            scores, shape, shown = out.double(), sizes, text
            break
        got = f"({', '.join(map(str, ('N', *out.shape[1:])))})" if isinstance(out, torch.Tensor) else type(out).__name__
        failures.insert(0, f"of {text} it makes {got}, wanted (N, {classes})")
    if scores is None:
        raise SpecError(f"{of} takes no images of {'×'.join(map(str, image))}: {failures[0]}")
    gives = _gives(scores)
    computation, activation = watched.family(model, images.reshape(4, *shape))
    source = source_hash(of.partition(":")[0], path)
    inner = layer(OP, of=of, gives=gives, num_classes=classes, source=source, path=path)
    layers: list[LayerSpec] = [inner] if shape == list(image) else [layer("Reshape", shape=shape), inner]
    if gives != "log_probabilities":
        layers.append(layer("LogSoftmax", dim=1))
    note = f"{name}: takes {shown}, gives {gives.replace('_', ' ')}"
    return NetworkSpec(name, computation, activation, tuple(layers)), note


def _gives(scores: Any) -> str:
    """Say what a few rows of outputs (samples, classes) are; raw logits and log probabilities are both right."""
    if (scores >= 0).all() and (scores.sum(dim=1) - 1).abs().max() < 1e-4:
        return "probabilities"
    return "log_probabilities" if scores.logsumexp(dim=1).abs().max() < 1e-4 else "logits"
