"""Write one network of a run as PyTorch source that stands alone, with its weights beside it.

The source is a template, `templates/network.py.jinja`; this module works out what goes into it. It reads the run and
writes two files. Nothing is built here, and no torch is loaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from netpick.core.errors import NetpickError
from netpick.core.files import atomic_write, named_errors, written_aside
from netpick.core.words import percent
from netpick.exam import marks
from netpick.exam.checks import need_trained
from netpick.exam.network_card import network_row
from netpick.networks.catalogue.import_file import to_lines
from netpick.networks.paper.spec import LayerSpec, NetworkSpec, last_uses, shapes
from netpick.networks.paper.whole_networks import MODELS, OWN, UNLIKE, is_baseline
from netpick.networks.paper.written import written
from netpick.store.reader import Reader
from netpick.store.weights import kept_weights, weights_content

TEMPLATE = "network.py.jinja"
OURS = ("BasicBlock", "BinaryLogSigmoid", "Reshape")
TAKEN = (*OURS, "Tensor", "Path", "MEAN", "STD", "CLASSES", "None", "True", "False")


@dataclass(frozen=True)
class Exported:
    """What was written: the source, the weights (None where the run kept none), and what to know of it."""

    source: Path
    weights: Path | None
    note: str = ""


def export(run: Reader, name: str, path: str | Path, overwrite: bool = False) -> Exported:
    """Write a network's source and its weights.

    Parameters
    ----------
    run : Run
    name : str
        Of the network.
    path : str or Path
        A file that ends in .py, or a folder; the weights go beside it, as NAME.safetensors.
    overwrite : bool
        Write over files that are there.

    Raises
    ------
    NetpickError
        Unknown network (the nearest is suggested), a path that is no .py file, files that are there already;
        WorkError where they can't be written.
    """
    text, weights = source(run, name)
    target = Path(path)
    if os.path.isdir(target):
        target = target / f"{_class_name(name)}.py"
    if target.suffix != ".py":
        raise NetpickError(f"{target} does not end in .py: give the name of a Python file, or a folder")
    beside = target.with_name(f"{name}.safetensors") if weights else None
    refuse_existing(overwrite, target, *([beside] if beside else []))
    written_out = [(target, text.encode())]
    if weights and beside and beside.resolve() != weights.resolve():
        written_out.insert(0, (beside, weights_content(weights)))
    with named_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as both:  # or none: one of them alone would be in the way of the next attempt
        for file, content in written_out:
            both.enter_context(named_errors(file))
            both.enter_context(written_aside(file)).write_bytes(content)
    note = "" if weights else f"no weights of {name} were kept in {run.path}: train with `--weights last`"
    return Exported(target, beside, note)


def export_networks(run: Reader, path: str | Path, wanted: Sequence[str] = (), overwrite: bool = False) -> int:
    """Write the networks of a run, or some of them, as JSON lines that `netpick generate --networks` takes.

    Returns how many there are; raises as `export`.
    """
    need_trained(run, "network to export")
    target = Path(path)
    names = wanted or run.networks["name"].tolist()
    specs: dict[str, NetworkSpec] = {}
    for network in names:  # by several recipes it is the same network
        spec = replace(NetworkSpec.from_dict(network_row(run, network)), recipe={})
        specs.setdefault(spec.layers_hash, spec)
    refuse_existing(overwrite, target)
    with named_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    with named_errors(target):
        atomic_write(target, to_lines(list(specs.values())).encode())
    return len(specs)


def refuse_existing(overwrite: bool, *paths: Path) -> None:
    """Raise NetpickError where one of the files is there, unless it may be written over."""
    for path in paths:
        if os.path.lexists(path) and not overwrite:
            raise NetpickError(f"{path} is there already: give another path, or ask to overwrite it")


def source(run: Reader, name: str) -> tuple[str, Path | None]:
    """Return the source of a network, and the run's file with its weights, or None where there is none."""
    from jinja2 import Environment, StrictUndefined

    row = network_row(run, name)
    need_trained(run, "network to export")
    spec = NetworkSpec.from_dict(row)
    weights = weights_of(run, name)
    if is_baseline(spec.layers):
        kept = f"; its fitted numbers are in {weights}" if weights else ""
        raise NetpickError(
            f"{name} is a baseline, {written(spec.layers[0])}, and no network that PyTorch could run: "
            f"fit it with scikit-learn or numpy, or name another network{kept}"
        )
    image = tuple(run.manifest["shape"])
    blocks = [layer.resolved for layer in spec.layers if layer.op == "BasicBlock"]
    activations = {b["activation"] for b in blocks}
    normalised = normalisation(run, name)
    template = (files("netpick.templates") / TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined, autoescape=False
    )
    text = environment.from_string(template).render(
        title=_plain(_title(spec, int(row["params"]))),
        about=_plain(_about(run, spec, normalised is not None, weights is not None)),
        name=_class_name(name),
        classes=_quoted(run.classes),
        count=len(run.classes),
        image=", ".join(map(str, image)),
        mean=None if normalised is None else str(normalised[0]),
        std=None if normalised is None else str(normalised[1]),
        weights=None if weights is None else _quoted(f"{name}.safetensors"),
        reshape=any(_line(layer, False).startswith("Reshape") for layer in spec.layers),
        binary=any(layer.op == "BinaryLogSigmoid" for layer in spec.layers),
        block=None if not blocks else _block(blocks, activations),
        layers=_lines(spec, image, len(activations) > 1),
        torchvision=_adapted(spec),
        own=sorted({layer.resolved["of"].partition(":")[0] for layer in spec.layers if layer.op == OWN}),
        concat=any(layer.op == "Concat" for layer in spec.layers),
        forward=_forward(spec.layers),
    )
    return text, weights


def normalisation(run: Reader, name: str = "") -> tuple[list[float], list[float]] | None:
    """Return mean and standard deviation a channel that pixels from 0 to 1 were normalised with; None if not known.

    Taken from the table `input` of run.toml (`mean`, `std`), which the first training writes.
    """
    return scaling(run, run.recipe_of(name))


def scaling(run: Reader, recipe: Mapping[str, Any]) -> tuple[list[float], list[float]] | None:
    """Return the same for the recipe of a network."""
    channels = int(run.manifest["shape"][0])
    if recipe.get("normalize") == "unit":
        return [0.0] * channels, [1.0] * channels
    known = run.manifest.get("input", {})
    if "mean" not in known or "std" not in known:
        return None
    return [round(float(m), 7) for m in known["mean"]], [round(float(s), 7) or 1.0 for s in known["std"]]


def weights_of(run: Reader, name: str) -> Path | None:
    """Return the file with the weights of the replicate whose answers stand for the network."""
    done = run.trainings[run.trainings["status"] == "done"]
    replicates = sorted(done.loc[done["network"] == name, "replicate"])
    return kept_weights(run.path, name, replicates[0]) if replicates else None


def _title(spec: NetworkSpec, params: int) -> str:
    activation = "no activation" if spec.activation == "None" else spec.activation
    return f"{spec.name}: {spec.computation} with {activation}, {params:,} parameters."


def _about(run: Reader, spec: NetworkSpec, normalised: bool, weights: bool) -> str:
    image = "×".join(map(str, run.manifest["shape"]))
    out = f"For {image} images of {run.manifest.get('dataset', 'a data set')}, in {len(run.classes)} classes."
    if spec.name in set(run.trainings.loc[run.trainings["status"] == "done", "network"]):
        students = marks.students(run)
        student = students[students["name"] == spec.name].iloc[0]
        epochs = f"{student['epochs']} epoch{'' if student['epochs'] == 1 else 's'}"
        out += f" After {epochs} it was right on {percent(student['accuracy'])} of {len(run.labels())} test samples."
    if not normalised:
        out += "\nPixels from 0 to 1 are to be normalised with the mean and standard deviation of the training set."
    needs = "PyTorch and safetensors" if weights else "PyTorch"
    return f"{out}\nWritten by netpick from the run {run.name}; needs {needs}, not netpick."


def _class_name(name: str) -> str:
    """Make a class name of a network's name: Conv2dReLU_12 becomes Conv2dReLU12."""
    word = re.sub(r"[^0-9A-Za-z]", "", name) or "Network"
    if not word[0].isalpha():
        word = f"Network{word}"
    word = word[0].upper() + word[1:]
    return f"{word}Network" if word in TAKEN else word


def _lines(spec: NetworkSpec, image: tuple[int, ...], several: bool) -> list[str]:
    """Write the layers, each with its output shape where that is another one than before."""
    out = []
    before = image
    for layer, shape in zip(spec.layers, shapes(spec.layers, image), strict=True):
        out.append(f"{_line(layer, several)},")
        notes = [] if shape == before else [" × ".join(map(str, shape))]
        if layer.op in ("Add", "Concat"):
            notes.append("see forward: " + ("the sum of two" if layer.op == "Add" else "the channels of two"))
        if notes:
            out[-1] += f"  # {'; '.join(notes)}"
        before = shape
    return out


def _line(layer: LayerSpec, several: bool) -> str:
    """Write a layer as a line of the source; `several` says that blocks differ in their activation."""
    if layer.op == "Reshape":
        return "nn.Flatten()" if len(layer.resolved["shape"]) == 1 else written(layer)
    if layer.op in ("Add", "Concat"):
        return "nn.Identity()"  # keeps the numbers of the layers, and so the names of the weights
    if layer.op == OWN:
        where = layer.resolved["of"].replace(":", ".")
        return where if "()" in where else f"{where}()"
    if layer.op in MODELS:
        args, name = layer.resolved, layer.op.partition(":")[2]
        extra = "".join(f", {key}={value}" for key, value in UNLIKE.get(name, {}).items())
        model = f"models.{name}(num_classes={args['num_classes']}{extra})"
        return model if args["in_channels"] == 3 else f"with_channels({model}, {args['in_channels']})"
    if layer.op == "BasicBlock":
        args = layer.resolved
        parts = [str(args["inplanes"]), str(args["planes"])]
        if args["stride"] != 1:
            parts.append(f"stride={args['stride']}")
        if several and args["activation"] != "ReLU":
            parts.append(f"activation=nn.{_module(args['activation'])}")
        return f"BasicBlock({', '.join(parts)})"
    if layer.op == "BinaryLogSigmoid":
        return written(layer)
    return f"nn.{written(layer)}"


def _forward(layers: Sequence[LayerSpec]) -> list[str]:
    """Write the lines of the forward pass; what a skip connection goes back to has a name."""
    last = last_uses(layers)

    def through(given: str, start: int, end: int) -> str:
        if start == end:
            return given
        if end - start == 1:
            return f"self.layers[{start}]({given})"
        return f"self.layers[{start or ''}:{'' if end == len(layers) else end}]({given})"

    out = ["image = x"] if -1 in last else []
    here, start = "x", 0
    for index, layer in enumerate(layers):
        if layer.op not in ("Add", "Concat") and index not in last:
            continue
        name = f"after_{index}" if index in last else "x"
        if layer.op in ("Add", "Concat"):
            source = layer.args["from"]
            earlier = "image" if source == -1 else f"after_{source}"
            given = through(here, start, index)
            joined = f"{given} + {earlier}" if layer.op == "Add" else f"torch.cat([{given}, {earlier}], dim=1)"
            out.append(f"{name} = {joined}")
        else:
            out.append(f"{name} = {through(here, start, index + 1)}")
        here, start = name, index + 1
    return [*out, f"return {through(here, start, len(layers))}"] if last else ["return self.layers(x)"]


def _module(activation: str) -> str:
    return "Identity" if activation == "None" else activation


def _adapted(spec: NetworkSpec) -> bool | None:
    """Say whether a model of torchvision gets another first convolution; None where there is no such model."""
    others = [layer.resolved["in_channels"] != 3 for layer in spec.layers if layer.op in MODELS]
    return any(others) if others else None


def _block(blocks: Sequence[dict[str, Any]], activations: set[str]) -> dict[str, Any]:
    """Say what the class BasicBlock has to be able to do."""
    several = len(activations) > 1
    activation = next(iter(activations))
    return {
        "stride": any(b["stride"] != 1 for b in blocks),
        "shortcut": any(b["stride"] != 1 or b["inplanes"] != b["planes"] for b in blocks),
        "several": several,
        "activation": "activation" if several else ("" if activation == "None" else f"nn.{activation}"),
    }


def _quoted(value: str | list[str]) -> str:
    """Write text as a Python literal, in double quotes as formatters like it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_quoted, value))}]"
    if '"' in value or "\\" in value or not value.isprintable():
        return repr(value)
    return f'"{value}"'


def _plain(text: str) -> str:
    """Make text fit for a docstring: nothing ends it, or could not be encoded."""
    shown = "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)
    return shown.replace("\\", "/").replace('"""', "'''")
