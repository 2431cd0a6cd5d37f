"""What goes into a network and what it multiplies, from its layers alone: by this it is decided how it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netpick.networks.paper.spec import LayerSpec, walk


def input_of(layers: Sequence[LayerSpec]) -> tuple[int, ...] | None:
    """Return a shape that a network's input may have, or None where the layers don't say."""
    if layers and layers[0].op == "Reshape":
        return tuple(layers[0].resolved["shape"])
    if len(layers) > 1 and (layers[0].op, layers[1].op) == ("Flatten", "Linear") and not layers[0].options:
        return (layers[1].resolved["in_features"],)
    return None


def macs_of(layers: Sequence[LayerSpec], counts: Callable[[str], bool] = lambda op: True) -> int:
    """Return the multiply-accumulates of a sample in the operations that count; 0 where the input isn't known."""
    image = input_of(layers)
    if image is None:
        return 0
    steps = zip(layers, walk(layers, image), strict=True)
    return sum(size.macs for layer, (_, size) in steps if counts(layer.op))


def is_convolution(op: str) -> bool:
    """Return whether an operation is a convolution, or made of some."""
    return op == "BasicBlock" or op.startswith("Conv")
