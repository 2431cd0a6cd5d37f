"""An ONNX graph as it is put together: nodes, constants, and the shape that each value has for one sample.

The first dimension of every value is the batch; the shapes here are without it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from netpick.core.errors import NetpickError
from netpick.networks.paper.operation import Shape

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET, IR_VERSION = 17, 8
"""Of 2022: what onnxruntime runs from 1.12 on, on phones and boards too."""

INPUT, OUTPUT = "image", "scores"


def onnx_package() -> ModuleType:
    """Return the package onnx; NetpickError where it is not installed, or onnxruntime is not."""
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise NetpickError(
            f"ONNX files want the packages onnx and onnxruntime ({error}): pip install 'netpick[onnx]'"
        ) from None
    return onnx


class Graph:
    """A graph with one input, an image, whose value is called `INPUT`.

    `quantised` has the names of nodes that also work on whole numbers of 8 bits.
    """

    def __init__(self, image: Shape) -> None:
        self._onnx = onnx_package()
        self._image = image
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self.shapes: dict[str, Shape] = {INPUT: image}
        self.quantised: list[str] = []

    def constant(self, values: Any, dtype: type = np.float32) -> str:
        """Add a constant; return its name."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name

    def node(self, op: str, *given: str, shape: Shape | None = None, quantised: bool = False, **attributes: Any) -> str:
        """Add a node; return the name of what it gives, of the shape of its first input where none is said."""
        name = f"{op}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(op, [*given], [name], name, **attributes))
        self.shapes[name] = self.shapes[given[0]] if shape is None else tuple(shape)
        if quantised:
            self.quantised.append(name)
        return name

    def shaped(self, x: str, *shape: int) -> str:
        """Return a value in a shape of as many elements."""
        if self.shapes[x] == shape:
            return x
        return self.node("Reshape", x, self.constant([-1, *shape], np.int64), shape=shape, quantised=True)

    def by_channel(self, x: str, channels: int, inner: int) -> tuple[str, tuple[int, ...]]:
        """Return a value whose first dimension has so many channels, and the shape of a vector along them."""
        shape = self.shapes[x]
        if shape[0] != channels or math.prod(shape[1:]) != inner:
            x, shape = self.shaped(x, math.prod(shape) // (channels * inner), channels, inner), (1, channels, inner)
            return x, (channels, 1)
        return x, (channels, *(1 for _ in shape[1:]))

    def model(self, last: str, about: Mapping[str, Any]) -> ModelProto:
        """Return the model that gives the value `last`; what is said `about` it are words, or else written as JSON."""
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        self._nodes.append(helper.make_node("Identity", [last], [OUTPUT], OUTPUT))
        given = helper.make_tensor_value_info(INPUT, kind, ["N", *self._image])
        gives = helper.make_tensor_value_info(OUTPUT, kind, ["N", *self.shapes[last]])
        graph = helper.make_graph(self._nodes, "network", [given], [gives], self._constants)
        model: ModelProto = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="netpick"
        )
        words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
        helper.set_model_props(model, words)
        return model
