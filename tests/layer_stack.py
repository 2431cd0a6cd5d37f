"""Layers as hypothesis draws them: one after another, without those that do not fit."""

from __future__ import annotations

from hypothesis import strategies as st

from netpick.core.errors import SpecError
from netpick.networks.paper import operations
from netpick.networks.paper.operation import Shape
from netpick.networks.paper.spec import LayerSpec, layer


class Stack:
    """Layers on an image."""

    def __init__(self, image: Shape) -> None:
        self.shape = image
        self.layers: list[LayerSpec] = []

    def add(self, op: str, **args: object) -> None:
        """Add a layer, if it takes what the layers before give."""
        added = layer(op, **args)
        try:
            self.shape = operations.output_shape(op, added.resolved, self.shape)
        except SpecError:
            return
        self.layers.append(added)


@st.composite
def image_shapes(draw) -> Shape:
    """The shape of an image of one to three dimensions."""
    dims = draw(st.sampled_from([1, 2, 3]))
    return (draw(st.sampled_from([1, 2, 3])), *(draw(st.integers(1, 7)) for _ in range(dims)))
