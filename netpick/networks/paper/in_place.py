"""Layers that overwrite their input: which do, and where that would change what others need.

An activation or a dropout with `inplace` writes its output where its input lies, which saves memory. The input may be
needed still: for the gradient, where the layer before keeps its output for it; for a skip connection; and what lies
there may be the images themselves, which are trained on in every epoch. torch raises at the first of these while it
trains, and says nothing of the others; here all three are refused before anything is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netpick.core.errors import SpecError

_KEEP_OUTPUT = {"ReLU", "Sigmoid", "Tanh", "Softmax", "LogSoftmax"}
"""Operations that keep their output for the gradient, as torch implements them."""

_KEEP_OVERWRITTEN = {"ReLU", "CELU", "ELU", "SELU", "LeakyReLU", "RReLU"}
"""Those that do when they work in place."""

_SLOPES = {"ELU": "alpha", "CELU": "alpha", "LeakyReLU": "negative_slope"}
"""The arguments below 0 of which the gradient can't be told from the output."""

_SAME_MEMORY = {"Identity", "Reshape", "Flatten"}


def overwrites(layer: Any) -> bool:
    """Whether a layer writes its output where its input lies."""
    return bool(layer.resolved.get("inplace", False))


def check_overwriting(layers: Sequence[Any], last_uses: Mapping[int, int]) -> None:
    """Refuse layers that overwrite what is still needed.

    Parameters
    ----------
    layers : of a network, each of which is right by itself
    last_uses : for each layer whose output is asked for again, the last layer that asks for it; -1 is the input

    Raises
    ------
    SpecError
        Says which layer, and what it would overwrite.
    """
    for index, layer in enumerate(layers):
        if overwrites(layer):
            try:
                _check_layer(layers, index, last_uses)
            except SpecError as error:
                raise SpecError(f"layer {index}: {layer.op} with inplace {error}: leave inplace out") from None


def _check_layer(layers: Sequence[Any], index: int, last_uses: Mapping[int, int]) -> None:
    slope = _SLOPES.get(layers[index].op, "")
    if layers[index].resolved.get(slope, 0) < 0:
        raise SpecError(f"has no gradient for {slope} below 0")
    fresh = False  # whether it is another tensor than that of the layer, in training
    for at in range(index - 1, -1, -1):
        layer = layers[at]
        if last_uses.get(at, -1) > index:
            raise SpecError(f"would overwrite the output of layer {at}, which layer {last_uses[at]} goes back to")
        if not fresh and _keeps_output(layer):
            raise SpecError(f"would overwrite the output of layer {at}, {layer.op}, which its gradient needs")
        if "Dropout" in layer.op:  # gives its input on when it is not trained, and where it leaves nothing out
            fresh = fresh or (layer.resolved["p"] > 0 and not overwrites(layer))
        elif layer.op not in _SAME_MEMORY and not overwrites(layer):
            return
    raise SpecError("would overwrite the images")


def _keeps_output(layer: Any) -> bool:
    if layer.op == "BasicBlock":  # which ends in an activation that works in place where there is such a form
        return layer.resolved["activation"] in _KEEP_OUTPUT | _KEEP_OVERWRITTEN
    return layer.op in _KEEP_OUTPUT or (layer.op in _KEEP_OVERWRITTEN and overwrites(layer))
