"""The steps by which a network answers, as an ONNX graph.

One table, `NODES`, from a step to the nodes that it comes to. A step lays its values out one after the other, so that a
value is only given another shape where an ONNX operation wants it. Windows of one dimension are those of two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from netpick.exam.device.activations import ACTIVATIONS
from netpick.exam.device.graph import INPUT, Graph
from netpick.exam.forward_steps import Step
from netpick.networks.paper.operation import Shape

if TYPE_CHECKING:
    from onnx import ModelProto

LOWEST = -3.4e38
"""What pads where the highest value is taken."""

PADDINGS = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""What numpy calls them."""


class Window(NamedTuple):
    """A window that slides over 2 or 3 dimensions; `given` and `gives` have the channels before them."""

    given: Shape
    gives: Shape
    kernel: Shape
    stride: Shape
    dilation: Shape
    lead: Shape

    @classmethod
    def of(cls, sizes: Mapping[str, Any]) -> Window:
        """Read the sizes of a step, which has 3 dimensions; the first is left out where nothing is in it."""
        given, gives, kernel = sizes["given"], sizes["gives"], sizes["kernel"]
        cut = int(given[1] == gives[1] == kernel[0] == 1)
        inner = (tuple(sizes[key][cut:]) for key in ("kernel", "stride", "dilation", "lead"))
        return cls((given[0], *given[1 + cut :]), (gives[0], *gives[1 + cut :]), *inner)

    @property
    def tail(self) -> Shape:
        """How many elements are padded behind the input."""
        each = zip(self.given[1:], self.gives[1:], self.kernel, self.stride, self.dilation, self.lead, strict=True)
        return tuple(max(0, (to - 1) * s + d * (k - 1) + 1 - n - lead) for n, to, k, s, d, lead in each)

    @property
    def attributes(self) -> dict[str, Any]:
        """What ONNX calls it."""
        return {"kernel_shape": self.kernel, "strides": self.stride, "pads": [*self.lead, *self.tail]}


def _linear(graph: Graph, step: Step, x: str) -> str:
    rows, (outputs, inputs), (bias,) = step.sizes["rows"], step.matrix.shape, step.numbers
    if rows == 1:
        given = (graph.shaped(x, inputs), graph.constant(step.matrix), graph.constant(bias))
        return graph.node("Gemm", *given, shape=(outputs,), transB=1, quantised=True)
    product = graph.node(
        "MatMul", graph.shaped(x, rows, inputs), graph.constant(step.matrix.T), shape=(rows, outputs), quantised=True
    )
    return graph.node("Add", product, graph.constant(bias))


def _conv(graph: Graph, step: Step, x: str) -> str:
    window = Window.of(step.sizes)
    weight = step.matrix.reshape(len(step.matrix), -1, *window.kernel)
    return graph.node(
        "Conv", graph.shaped(x, *window.given), graph.constant(weight), graph.constant(step.numbers[0]),
        shape=window.gives, group=step.sizes["groups"], dilations=window.dilation, quantised=True, **window.attributes,
    )  # fmt: skip


def _pool(graph: Graph, step: Step, x: str) -> str:
    window, highest = Window.of(step.sizes), step.sizes["kind"] == "Max"
    x = graph.shaped(x, *window.given)
    attributes = window.attributes
    if any(pad >= k for pads in (window.lead, window.tail) for pad, k in zip(pads, window.kernel, strict=True)):
        pads = graph.constant([0, 0, *window.lead, 0, 0, *window.tail], np.int64)
        x = graph.node("Pad", x, pads, graph.constant(LOWEST if highest else 0))
        attributes["pads"] = [0] * len(attributes["pads"])
    if highest:
        return graph.node("MaxPool", x, shape=window.gives, dilations=window.dilation, quantised=True, **attributes)
    mean = graph.node("AveragePool", x, shape=window.gives, count_include_pad=1, quantised=True, **attributes)
    share = _share(window, step.sizes["counts_padding"], step.sizes["divisor"])
    return mean if (share == 1).all() else graph.node("Mul", mean, graph.constant(share))


def _share(window: Window, counts_padding: bool, divisor: int | None) -> np.ndarray:
    """Return the elements of a window over what torch divides its sum by, for each place of the window."""
    counts = []
    each = zip(window.given[1:], window.gives[1:], window.kernel, window.stride, window.lead, strict=True)
    for size, places, kernel, stride, pad in each:
        start = np.arange(places) * stride - pad
        end = np.minimum(start + kernel, size + pad)
        counts.append(end - start if counts_padding else np.minimum(end, size) - np.maximum(start, 0))
    counted = np.ones((), np.int64)
    for count in counts:
        counted = np.multiply.outer(counted, count)
    return math.prod(window.kernel) / (np.full_like(counted, divisor) if divisor else counted)


def _adaptive(graph: Graph, step: Step, x: str) -> str:
    given, gives, highest = step.sizes["given"], step.sizes["gives"], step.sizes["kind"] == "Max"
    if all(size % places == 0 for size, places in zip(given[1:], gives[1:], strict=True)):
        kernel = [size // places for size, places in zip(given[1:], gives[1:], strict=True)]
        plain = {"kernel": kernel, "stride": kernel, "dilation": [1, 1, 1], "lead": [0, 0, 0]}
        window = Window.of({"given": given, "gives": gives, **plain})
        x = graph.shaped(x, *window.given)
        op = "MaxPool" if highest else "AveragePool"
        return graph.node(op, x, shape=window.gives, quantised=True, **window.attributes)
    now = list(given)
    for axis, places in enumerate(gives[1:], 1):  # windows are boxes: one dimension after the other
        if now[axis] == places:
            continue
        size, outer, inner = now[axis], math.prod(now[:axis]), math.prod(now[axis + 1 :])
        starts, ends = np.arange(places) * size // places, -(-(np.arange(places) + 1) * size // places)
        x = graph.shaped(x, outer, size, inner)
        if highest:
            longest = int((ends - starts).max())
            taken = np.minimum(starts[:, None] + np.arange(longest), ends[:, None] - 1)  # some of them twice
            x = graph.node("Gather", x, graph.constant(taken, np.int64), axis=2, shape=(outer, places, longest, inner))
            x = graph.node("ReduceMax", x, axes=[3], keepdims=0, shape=(outer, places, inner))
        else:
            place = np.arange(size)
            inside = (place >= starts[:, None]) & (place < ends[:, None])
            means = graph.constant(inside / inside.sum(axis=1, keepdims=True))
            x = graph.node("MatMul", means, x, shape=(outer, places, inner))
        now[axis] = places
    return graph.shaped(x, *gives)


def _pad(graph: Graph, step: Step, x: str) -> str:
    given, gives, lead = step.sizes["given"], step.sizes["gives"], step.sizes["lead"]
    x, shape = graph.shaped(x, *given), list(given)
    for axis, (size, wide, before) in enumerate(zip(given[1:], gives[1:], lead, strict=True), 1):
        if wide != size:
            shape[axis] = wide
            mode: Any = PADDINGS[step.sizes["mode"]]
            places = np.pad(np.arange(size), (before, wide - size - before), mode)
            x = graph.node("Gather", x, graph.constant(places, np.int64), axis=axis + 1, shape=tuple(shape))
    return x


def _affine(graph: Graph, step: Step, x: str) -> str:
    x, along = graph.by_channel(x, step.sizes["channels"], step.sizes["inner"])
    scale, shift = (graph.constant(numbers.reshape(along)) for numbers in step.numbers)
    return graph.node("Add", graph.node("Mul", x, scale), shift)


def _slopes(graph: Graph, step: Step, x: str) -> str:
    slopes = step.numbers[0]
    if len(slopes) == 1:
        return graph.node("PRelu", x, graph.constant(slopes))
    x, along = graph.by_channel(x, step.sizes["channels"], step.sizes["inner"])
    return graph.node("PRelu", x, graph.constant(slopes.reshape(along)))


def _normalise(graph: Graph, step: Step, x: str) -> str:
    shape, size = graph.shapes[x], step.sizes["size"]
    x = graph.shaped(x, math.prod(shape) // size, size)
    x = graph.node("LayerNormalization", x, graph.constant(np.ones(size)), axis=-1, epsilon=step.sizes["eps"])
    return graph.shaped(x, *shape)


def _act(graph: Graph, step: Step, x: str) -> str:
    said = {key: value for key, value in step.sizes.items() if key != "name"}
    return ACTIVATIONS[step.sizes["name"]](graph, x, **said)


def _softmax(graph: Graph, step: Step, x: str) -> str:
    shape, size, inner = graph.shapes[x], step.sizes["size"], step.sizes["inner"]
    x = graph.shaped(x, size) if shape == (size,) else graph.shaped(x, math.prod(shape) // size // inner, size, inner)
    axis = 1 if shape == (size,) else 2
    return graph.shaped(graph.node("LogSoftmax" if step.sizes["log"] else "Softmax", x, axis=axis), *shape)


def _add(graph: Graph, step: Step, x: str, earlier: str) -> str:
    return graph.node("Add", x, graph.shaped(earlier, *graph.shapes[x]), quantised=True)


def _concat(graph: Graph, step: Step, x: str, earlier: str) -> str:
    both = [x, earlier]
    if graph.shapes[x][1:] != graph.shapes[earlier][1:]:
        both = [graph.shaped(each, math.prod(graph.shapes[each])) for each in both]
    first, *rest = graph.shapes[both[0]]
    shape = (first + graph.shapes[both[1]][0], *rest)
    return graph.node("Concat", *both, axis=1, shape=shape, quantised=True)


NODES: dict[str, Callable[..., str]] = {
    "linear": _linear,
    "conv": _conv,
    "pool": _pool,
    "adaptive": _adaptive,
    "affine": _affine,
    "normalise": _normalise,
    "act": _act,
    "slopes": _slopes,
    "softmax": _softmax,
    "pad": _pad,
    "add": _add,
    "concat": _concat,
}
"""What adds the nodes of a step, given the names of what it works on."""


def translated(steps: Sequence[Step], image: Shape, about: Mapping[str, Any]) -> tuple[ModelProto, list[str]]:
    """Return the model of a network's steps, and the names of its nodes that can work on 8 bits.

    It takes pixels, float32 (N, channels, height, width), and gives the logarithms of the classes' probabilities.
    """
    graph = Graph(image)
    names = [INPUT]
    for step in steps:
        names.append(NODES[step.op](graph, step, *(names[of + 1] for of in step.of)))
    last = graph.shaped(names[-1], math.prod(graph.shapes[names[-1]]))
    ended = steps[-1] if steps else None
    if not (ended and ended.op == "softmax" and ended.sizes["log"] and ended.sizes["size"] == graph.shapes[last][0]):
        last = graph.node("LogSoftmax", last, axis=1)
    return graph.model(last, about), graph.quantised
