"""Layers as one writes them in PyTorch, and the table of a network's layers with shapes and costs."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from netpick.networks.paper.operations import OPERATIONS, find
from netpick.networks.paper.spec import LayerSpec, walk
from netpick.networks.paper.whole_networks import OWN


def layer_table(layers: Iterable[LayerSpec], image: tuple[int, ...]) -> pd.DataFrame:
    """Return a row a layer: how it is written, output shape per sample, parameters, multiply-accumulates.

    Where there are skip connections each layer has its number, since that is what they go back to.
    """
    layers = list(layers)
    numbered = any(layer.op in ("Add", "Concat") for layer in layers)
    rows = [
        {
            "layer": (f"{at}: " if numbered else "") + written(layer) + _joined(layer, layers),
            "shape": "×".join(map(str, shape)),
            "params": size.params,
            "macs": size.macs,
        }
        for at, (layer, (shape, size)) in enumerate(zip(layers, walk(layers, image), strict=True))
    ]
    return pd.DataFrame(rows, columns=["layer", "shape", "params", "macs"])


POSITIONAL = ("in_channels", "out_channels", "in_features", "out_features", "inplanes", "planes", "num_features")


def written(layer: LayerSpec) -> str:
    """Write a layer as one would in PyTorch: `Conv2d(1, 62, kernel_size=5, bias=False)`; defaults are left out."""
    if layer.op == OWN:
        return f"{OWN}({layer.args['of']})"
    if layer.op == "Reshape":
        return f"Reshape({', '.join(map(str, layer.resolved['shape']))})"
    unwritten = LayerSpec(layer.op, {k: v for k, v in layer.args.items() if k in _needed(layer)}).resolved
    out = []
    for key, value in layer.resolved.items():
        if key in POSITIONAL:
            out.append(str(value))
        elif key in _needed(layer) or key not in unwritten or value != unwritten[key]:
            # LayerNorm's sizes are a shape: one number would be another.
            out.append(f"{key}={value!r}" if key == "normalized_shape" else f"{key}={_value(value)}")
    return f"{layer.op}({', '.join(out)})"


def _joined(layer: LayerSpec, layers: list[LayerSpec]) -> str:
    """Say where a skip connection comes from."""
    if layer.op not in ("Add", "Concat"):
        return ""
    source = layer.args["from"]
    words = "the input" if source == -1 else f"layer {source}: {layers[source].op}"
    return f"  # {'+' if layer.op == 'Add' else 'with'} {words}"


def _needed(layer: LayerSpec) -> set[str]:
    """Return the arguments that PyTorch has no default for, or none that we want to rely on."""
    row = find(layer.op) or OPERATIONS[layer.op]
    return {k for k in row.arguments if k not in row.defaults or k == "dim"}


def _value(value: object) -> str:
    if isinstance(value, tuple) and len(set(value)) == 1 and value[0] is not None:
        return str(value[0])  # a square kernel
    return repr(value)
