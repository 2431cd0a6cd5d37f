"""A network as data: frozen layer and network descriptions, their JSON form, and the content hash.

Plain values only; building modules from them is the business of `build`. The hash covers the layers in canonical form
(all arguments written out), so that two spellings of one network have one hash, and the values of the recipe in which
this student differs from the others of its run: it names files, finds duplicates, and is what resume goes by.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from netpick.core.errors import SpecError
from netpick.core.recipe import FOR_A_CELL
from netpick.networks.paper import operations
from netpick.networks.paper.in_place import check_overwriting
from netpick.networks.paper.operation import Shape
from netpick.networks.paper.operations import OPERATIONS
from netpick.networks.paper.whole_networks import ASIDE, MODELS, OWN, WHOLE, is_baseline, is_whole


@dataclass(frozen=True)
class LayerSpec:
    """One layer: the name of an operation, and the arguments that were written for it."""

    op: str
    args: Mapping[str, Any]

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """All arguments, defaults included; raises SpecError where one is wrong."""
        return operations.resolve(self.op, self.args)

    @property
    def options(self) -> dict[str, Any]:
        """Those of torch's further arguments that are not as torch has them by default."""
        row = operations.find(self.op)
        return {name: value for name, value in self.resolved.items() if row and name in row.options}

    def to_dict(self) -> dict[str, Any]:
        """Return {"op": ..., argument: value, ...} with lists for tuples, as in a template."""
        return {"op": self.op, **{k: list(v) if isinstance(v, tuple) else v for k, v in self.args.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LayerSpec:
        """Read the form that `to_dict` writes; raises SpecError."""
        if not isinstance(data, Mapping) or not isinstance(data.get("op"), str):
            raise SpecError(f"a layer wants an 'op' with the name of an operation, got {data!r:.80}")
        return cls(data["op"], {k: v for k, v in data.items() if k != "op"})


def read_layers(layers: Sequence[Any], image: Shape, classes: int) -> list[LayerSpec]:
    """Read the layers of a template or a file.

    What the data set decides is filled in, and the LogSoftmax that a model of torchvision leaves to its user.

    Parameters
    ----------
    layers : objects with an 'op', whatever a stranger has put into them
    image : shape [C, H, W] of one image
    classes : number of classes

    Raises
    ------
    SpecError
        What is no layer; a network of the user's own code, which only the user can name.
    """
    out = []
    for index, entry in enumerate(layers):
        given = LayerSpec.from_dict(entry)
        if given.op == OWN:
            raise SpecError(f"layer {index}: {OWN} stands for code of one's own, which is named with --module alone")
        known = WHOLE[given.op].arguments if given.op in WHOLE else {}
        filled = {name: n for name, n in (("in_channels", image[0]), ("num_classes", classes)) if name in known}
        out.append(LayerSpec(given.op, {**given.args, **{k: n for k, n in filled.items() if k not in given.args}}))
    if out and out[-1].op in MODELS:
        out.append(LayerSpec("LogSoftmax", {"dim": 1}))
    return out


def layer(op: str, **args: Any) -> LayerSpec:
    """Write a layer like a call: `layer("Linear", in_features=4, out_features=2)`."""
    return LayerSpec(op, args)


@dataclass(frozen=True)
class NetworkSpec:
    """One network: its name, its family (computation and activation), and its layers.

    `recipe` has the values in which it is trained differently from the run's recipe; for most runs there are none.
    """

    name: str
    computation: str
    activation: str
    layers: tuple[LayerSpec, ...]
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> tuple[str, str]:
        """Computation and activation."""
        return self.computation, self.activation

    @cached_property
    def layers_hash(self) -> str:
        """Content hash of the layers in canonical form: 16 hexadecimal digits of SHA-256; seeds come from it."""
        return hashlib.sha256(self._canonical().encode()).hexdigest()[:16]

    @cached_property
    def hash(self) -> str:
        """Content hash of layers and recipe; where there is nothing of the latter, that of the layers alone."""
        changes = {key: value for key, value in self.recipe.items() if key not in FOR_A_CELL}
        if not changes:
            return self.layers_hash
        text = self._canonical() + json.dumps(changes, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _canonical(self) -> str:
        canonical = [
            [layer.op, {k: v for k, v in layer.resolved.items() if k not in ASIDE.get(layer.op, ())}]
            for layer in self.layers
        ]
        return json.dumps(canonical, sort_keys=True, separators=(",", ":"))

    def recipe_json(self) -> str:
        """Return the values of its own recipe as one line of JSON."""
        return json.dumps(dict(self.recipe))

    def layers_json(self) -> str:
        """Return the layers as one line of JSON."""
        return json.dumps([layer.to_dict() for layer in self.layers])

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: name, computation, activation, layers, and the recipe where it has values."""
        layers = [layer.to_dict() for layer in self.layers]
        form = {"name": self.name, "computation": self.computation, "activation": self.activation, "layers": layers}
        return {**form, "recipe": dict(self.recipe)} if self.recipe else form

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NetworkSpec:
        """Read the form that `to_dict` writes, or a row of networks.parquet (layers and recipe as JSON text)."""
        layers, recipe = data["layers"], data.get("recipe")
        if isinstance(layers, str):
            layers = json.loads(layers)
        if isinstance(recipe, str):
            recipe = json.loads(recipe)
        specs = tuple(LayerSpec.from_dict(entry) for entry in layers)
        return cls(data["name"], data["computation"], data["activation"], specs, recipe if recipe else {})


def seed_of(run_seed: int, network_hash: str, replicate: int) -> int:
    """Return the seed of one training: the same wherever and whenever it is trained, different for each.

    The hash is that of the layers alone, so that a network trained by several recipes begins with the same weights.
    """
    digest = hashlib.sha256(f"{run_seed}/{network_hash}/{replicate}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # fits a signed 64-bit column


@dataclass(frozen=True)
class Size:
    """What can be said of a network on paper: parameters, and multiply-accumulates of one input.

    What layers that are whole networks have is not in it: see `whole`.
    """

    params: int
    macs: int


def walk(layers: Sequence[LayerSpec], image: Shape) -> Iterator[tuple[Shape, Size]]:
    """Yield, layer by layer, the output shape per sample and what the layer costs.

    Raises
    ------
    SpecError
        A layer is unknown, has a wrong argument or gets a shape that does not fit; says which layer and what it got.
    """
    before = [image]
    for index, layer_spec in enumerate(layers):
        shape = before[-1]
        try:
            args = layer_spec.resolved
            out = operations.output_shape(layer_spec.op, args, shape, before)
        except SpecError as error:
            raise SpecError(f"layer {index}: {error}") from None
        row = OPERATIONS.get(layer_spec.op) or WHOLE[layer_spec.op]
        yield out, Size(row.params(shape, out, args), row.macs(shape, out, args))
        before.append(out)


def last_uses(layers: Sequence[LayerSpec]) -> dict[int, int]:
    """Return, for each layer whose output is asked for again, the last layer that asks for it; -1 is the input."""
    return {
        source.args["from"]: index
        for index, source in enumerate(layers)
        if (OPERATIONS.get(source.op) or WHOLE[source.op]).join
    }


def needs_two(layers: Sequence[LayerSpec], image: Shape) -> bool:
    """Return whether a batch of one sample can't be trained on.

    So where a batch norm sees one value a channel of each sample: the variance of a single value is no number to divide
    by, and torch refuses.
    """
    if is_whole(layers):
        return True  # what is inside can't be seen
    for layer_spec, out in zip(layers, shapes(layers, image), strict=True):
        if (layer_spec.op == "BasicBlock" or layer_spec.op.startswith("BatchNorm")) and math.prod(out[1:]) == 1:
            return True
    return False


def sizes(layers: Sequence[LayerSpec], image: Shape) -> Size:
    """Return the parameters and multiply-accumulates of all layers together, from the shapes."""
    costs = [size for _, size in walk(layers, image)]
    return Size(sum(c.params for c in costs), sum(c.macs for c in costs))


def shapes(layers: Sequence[LayerSpec], image: Shape) -> list[Shape]:
    """Return the output shape of each layer, per sample."""
    return [shape for shape, _ in walk(layers, image)]


def check(layers: Sequence[LayerSpec], image: Shape, classes: int) -> Size:
    """Work out every shape of a network that gets an image and must give one score a class.

    Parameters
    ----------
    layers : the layers, in order
    image : shape [C, H, W] of one image
    classes : number of classes

    Returns
    -------
    Size
        Parameters and multiply-accumulates, from the shapes.

    Raises
    ------
    SpecError
        As `walk`, where a layer overwrites what others need, and where the last does not give one score a class.
    """
    if not layers:
        raise SpecError("a network needs at least one layer")
    if len(layers) > 1 and is_baseline(layers):
        raise SpecError(f"a baseline is the only layer of its network, got {len(layers)} layers: leave the others out")
    steps = list(walk(layers, image))
    check_overwriting(layers, last_uses(layers))
    last = steps[-1][0]
    if last != (classes,):
        raise SpecError(f"the last layer gives {list(last)}, wanted [{classes}], one score a class")
    return Size(sum(size.params for _, size in steps), sum(size.macs for _, size in steps))
