"""The arithmetic of layers as a few plain steps, all sizes written out and weights among them.

One table, `LOWERED`, from an operation to the steps that it comes to when a network answers: `linear`, `conv`, `pool`,
`adaptive`, `affine`, `normalise`, `act`, `slopes`, `softmax`, `pad`, `add`, `concat`. A convolution of 1 or 2
dimensions is one of 3; a batch norm right behind a convolution or a linear layer is in that layer's weights; what does
nothing when a network answers (reshapes, dropout) is no step. Whoever can do these twelve runs any catalogue network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netpick.core.errors import RunError
from netpick.networks.paper import operations
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.networks.paper.operation import Shape

NOTHING = (
    "Reshape", "Flatten", "Identity", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout",
)  # fmt: skip
"""Operations that leave the values of one sample as they are."""


@dataclass
class Step:
    """One step: what it does, of which steps' outputs (-1 is the image), with which sizes and numbers.

    `weight` is a matrix with a row an output channel, or None; `numbers` are vectors, such as the biases.
    """

    op: str
    of: tuple[int, ...]
    sizes: Mapping[str, Any]
    weight: np.ndarray | None = None
    numbers: list[np.ndarray] = field(default_factory=list)

    @property
    def matrix(self) -> np.ndarray:
        """The weights of a step that has some."""
        assert self.weight is not None
        return self.weight


@dataclass
class Layer:
    """A layer to be lowered: its arguments, its input's and output's shape, and what its weights are by name."""

    op: str
    args: Mapping[str, Any]
    given: Shape
    gives: Shape
    index: int
    weights: Mapping[str, np.ndarray]

    def numbers(self, name: str, *shape: int) -> np.ndarray:
        """Return a parameter or a running statistic, float32; RunError where it is not there in this shape."""
        key = f"{self.index}.{name}"
        array = self.weights.get(key)
        if array is None or array.shape != shape or not np.isfinite(array).all():
            got = "none" if array is None else f"{list(array.shape)}" if array.shape != shape else "not finite"
            raise RunError(f"its weights want {key} of shape {list(shape)} with finite numbers, got {got}")
        return np.asarray(array, np.float32)


class Steps:
    """The steps so far; `at` is the one whose output is the input of the next."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.at = -1

    def add(
        self,
        op: str,
        *numbers: np.ndarray,
        weight: np.ndarray | None = None,
        of: tuple[int, ...] | None = None,
        **sizes: Any,
    ) -> None:
        """Add a step, of the last one's output where `of` says nothing else."""
        self.steps.append(Step(op, (self.at,) if of is None else of, sizes, weight, list(numbers)))
        self.at = len(self.steps) - 1

    def affine(self, scale: np.ndarray, shift: np.ndarray, inner: int) -> None:
        """Multiply and shift channels, each of `inner` values."""
        self.add("affine", scale, shift, channels=len(scale), inner=inner)

    def fold(self, scale: np.ndarray, shift: np.ndarray) -> None:
        """Put the scale and the shift of each output channel into the last step, a convolution or a linear layer."""
        last = self.steps[-1]
        last.weight = last.matrix * scale[:, None]
        last.numbers = [last.numbers[0] * scale + shift]


def _three(values: Sequence[int], fill: int) -> list[int]:
    """Write sizes of 1 to 3 dimensions as those of 3."""
    return [fill] * (3 - len(values)) + [int(value) for value in values]


def _volume(shape: Shape) -> list[int]:
    return [shape[0], *_three(shape[1:], 1)]


def _linear(steps: Steps, layer: Layer, foldable: bool) -> None:
    inputs, outputs = layer.args["in_features"], layer.args["out_features"]
    bias = layer.numbers("bias", outputs) if layer.args["bias"] else np.zeros(outputs, np.float32)
    weight = layer.numbers("weight", outputs, inputs)
    steps.add("linear", bias, weight=weight, rows=math.prod(layer.given[:-1]))


def _padded(steps: Steps, layer: Layer) -> tuple[list[int], list[int]]:
    """Return the convolution's input sizes and the zeros before each; another padding than zeros is a step before."""
    args, given = layer.args, _volume(layer.given)
    if args["padding"] == "same":  # what does not divide by two is longer behind
        around = [d * (k - 1) for d, k in zip(args["dilation"], args["kernel_size"], strict=True)]
        before, behind = [a // 2 for a in around], [a - a // 2 for a in around]
    else:
        before = behind = list(args["padding"])
    lead, tail = _three(before, 0), _three(behind, 0)
    mode = args.get("padding_mode", "zeros")
    if mode == "zeros":
        return given, lead
    gives = [given[0], *(a + n + b for a, n, b in zip(lead, given[1:], tail, strict=True))]
    steps.add("pad", given=given, gives=gives, lead=lead, mode=mode)
    return gives, [0, 0, 0]


def _conv(steps: Steps, layer: Layer, foldable: bool) -> None:
    args = layer.args
    inputs, outputs, kernel = args["in_channels"] // args["groups"], args["out_channels"], args["kernel_size"]
    weight = layer.numbers("weight", outputs, inputs, *kernel)
    bias = layer.numbers("bias", outputs) if args["bias"] else np.zeros(outputs, np.float32)
    given, lead = _padded(steps, layer)
    steps.add(
        "conv", bias, weight=weight.reshape(outputs, -1), given=given, gives=_volume(layer.gives),
        kernel=_three(kernel, 1), stride=_three(args["stride"], 1), dilation=_three(args["dilation"], 1), lead=lead,
        groups=args["groups"],
    )  # fmt: skip


def _scaling(layer: Layer, name: str, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what a batch norm multiplies each channel with, and adds to it."""
    args = layer.args
    affine = args.get("affine", True)
    mean, variance = layer.numbers(f"{name}running_mean", channels), layer.numbers(f"{name}running_var", channels)
    scale = (1 / np.sqrt(variance.astype(np.float64) + args.get("eps", 1e-5))).astype(np.float32)
    if affine:
        scale = scale * layer.numbers(f"{name}weight", channels)
    shift = -mean * scale
    if affine and args.get("bias", True):
        shift = shift + layer.numbers(f"{name}bias", channels)
    return scale, shift


def _batch_norm(steps: Steps, layer: Layer, foldable: bool) -> None:
    scale, shift = _scaling(layer, "", layer.args["num_features"])
    if foldable:
        steps.fold(scale, shift)
    else:
        steps.affine(scale, shift, math.prod(layer.given[1:]))


def _learned(steps: Steps, layer: Layer, affine: bool, shape: Shape, inner: int) -> None:
    """Add the scale and the shift that a layer norm or a group norm has learned."""
    if affine:
        count = math.prod(shape)
        bias = layer.numbers("bias", *shape) if layer.args.get("bias", True) else np.zeros(count, np.float32)
        steps.affine(layer.numbers("weight", *shape).ravel(), bias.ravel(), inner)


def _layer_norm(steps: Steps, layer: Layer, foldable: bool) -> None:
    shape = layer.args["normalized_shape"]
    steps.add("normalise", size=math.prod(shape), eps=layer.args.get("eps", 1e-5))
    _learned(steps, layer, layer.args.get("elementwise_affine", True), shape, 1)


def _group_norm(steps: Steps, layer: Layer, foldable: bool) -> None:
    size = math.prod(layer.given) // layer.args["num_groups"]
    steps.add("normalise", size=size, eps=layer.args.get("eps", 1e-5))
    _learned(steps, layer, layer.args.get("affine", True), (layer.given[0],), math.prod(layer.given[1:]))


def _activate(steps: Steps, name: str, args: Mapping[str, Any]) -> None:
    """Add an activation without weights, with all the numbers and words that it depends on."""
    row = operations.OPERATIONS[name]
    defaults = {key: option.default for key, option in row.options.items()}
    said: dict[str, Any] = {key: args.get(key, default) for key, default in defaults.items()}
    for key in [key for key, value in said.items() if not isinstance(value, float | str)]:
        del said[key]
    steps.add("act", name=name, **said)


def _slopes(steps: Steps, slopes: np.ndarray, shape: Shape) -> None:
    """Add a PReLU, with one slope or one a channel."""
    steps.add("slopes", slopes, channels=len(slopes), inner=math.prod(shape[1:]))


def _activation(steps: Steps, layer: Layer, foldable: bool) -> None:
    if layer.op == "PReLU":
        _slopes(steps, layer.numbers("weight", layer.args.get("num_parameters", 1)), layer.given)
    else:
        _activate(steps, layer.op, layer.args)


def _pool(steps: Steps, layer: Layer, foldable: bool) -> None:
    args, dims = layer.args, len(layer.args["kernel_size"])
    steps.add(
        "pool", kind=layer.op[:3], given=_volume(layer.given), gives=_volume(layer.gives),
        kernel=_three(args["kernel_size"], 1), stride=_three(args["stride"], 1), lead=_three(args["padding"], 0),
        dilation=_three(args.get("dilation", (1,) * dims), 1), counts_padding=args.get("count_include_pad", True),
        divisor=args.get("divisor_override"),
    )  # fmt: skip


def _adaptive(steps: Steps, layer: Layer, foldable: bool) -> None:
    steps.add("adaptive", kind=layer.op[8:11], given=_volume(layer.given), gives=_volume(layer.gives))


def _softmax(steps: Steps, layer: Layer, foldable: bool) -> None:
    shape = layer.given
    size, inner = (shape[0], math.prod(shape[1:])) if layer.args["dim"] == 1 else (shape[-1], 1)
    steps.add("softmax", size=size, inner=inner, log=layer.op == "LogSoftmax")


def _binary(steps: Steps, layer: Layer, foldable: bool) -> None:
    """Add the scores of two classes from one output: the log-softmax of it and 0."""
    output = steps.at
    steps.affine(np.zeros(1, np.float32), np.zeros(1, np.float32), 1)
    steps.add("concat", of=(steps.at, output) if layer.args["positive"] else (output, steps.at))
    steps.add("softmax", size=2, inner=1, log=True)


def _block_conv(steps: Steps, layer: Layer, name: str, norm: str, kernel: int, stride: int, given: Shape) -> None:
    """Add a convolution without bias of a residual block, with its batch norm."""
    planes = layer.args["planes"]
    weight = layer.numbers(f"{name}.weight", planes, given[0], kernel, kernel)
    steps.add(
        "conv", np.zeros(planes, np.float32), weight=weight.reshape(planes, -1), given=_volume(given),
        gives=_volume(layer.gives), kernel=[1, kernel, kernel], stride=[1, stride, stride], dilation=[1, 1, 1],
        lead=[0, kernel // 2, kernel // 2], groups=1,
    )  # fmt: skip
    steps.fold(*_scaling(Layer("", {}, given, given, layer.index, layer.weights), f"{norm}.", planes))


def _block(steps: Steps, layer: Layer, foldable: bool) -> None:
    stride, before = layer.args["stride"], steps.at

    def activate(number: int) -> None:
        name = layer.args["activation"]
        if name == "PReLU":
            _slopes(steps, layer.numbers(f"activation{number}.weight", 1), layer.gives)
        elif name != "None":
            _activate(steps, name, {})

    _block_conv(steps, layer, "conv1", "bn1", 3, stride, layer.given)
    activate(1)
    _block_conv(steps, layer, "conv2", "bn2", 3, 1, layer.gives)
    inside, short = steps.at, before
    if stride != 1 or layer.given[0] != layer.gives[0]:
        steps.at = before
        _block_conv(steps, layer, "shortcut.0", "shortcut.1", 1, stride, layer.given)
        short = steps.at
    steps.add("add", of=(inside, short))
    activate(2)


LOWERED: dict[str, Callable[[Steps, Layer, bool], None]] = {
    "Linear": _linear,
    **{f"Conv{n}d": _conv for n in (1, 2, 3)},
    "BasicBlock": _block,
    **dict.fromkeys(ACTIVATIONS, _activation),
    **{f"{kind}Pool{n}d": _pool for kind in ("Max", "Avg") for n in (1, 2, 3)},
    **{f"Adaptive{kind}Pool{n}d": _adaptive for kind in ("Max", "Avg") for n in (1, 2, 3)},
    **{f"BatchNorm{n}d": _batch_norm for n in (1, 2, 3)},
    "LayerNorm": _layer_norm,
    "GroupNorm": _group_norm,
    "LogSoftmax": _softmax,
    "Softmax": _softmax,
    "BinaryLogSigmoid": _binary,
    **dict.fromkeys(NOTHING, lambda steps, layer, foldable: None),
}
"""What adds the steps of a layer; told whether a norm may be folded into the step before."""
