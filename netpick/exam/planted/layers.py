"""How long the layers of a planted exam take: by their macs, each kind by its own factor, with some noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netpick.exam.planted.design import Design
from netpick.networks.paper.spec import NetworkSpec, walk

FACTORS = {"Linear": 1.0, "Conv1d": 1.5, "Conv2d": 2.0, "Conv3d": 4.0, "BasicBlock": 8.0}
"""How many times as long as a Linear layer others take at the same macs."""


def layer_rows(specs: Sequence[NetworkSpec], design: Design) -> list[dict[str, Any]]:
    """Return the rows of layer_times.parquet: 2 µs a layer, or its factor times the root of its macs in 0.1 µs."""
    rng = np.random.default_rng([design.seed, 2])
    return [
        {
            "network": spec.name, "device": "cpu", "threads": 1, "layer": place, "op": layer.op, "macs": size.macs,
            "seconds": float(
                (1e-7 * FACTORS.get(layer.op, 1.0) * size.macs**0.5 if size.macs else 2e-6) * np.exp(0.1 * rng.normal())
            ),
        }
        for spec in specs
        for place, (layer, (_, size)) in enumerate(
            zip(spec.layers, walk(spec.layers, tuple(design.shape)), strict=True)
        )
    ]  # fmt: skip
