"""A trained network as plain data: the steps by which it answers, from pixels between 0 and 1 to scores.

For whoever runs networks without PyTorch. Everything comes from the run's tables and its kept weights; layers are
checked as those of any network file are, and what a network can't be run for is said in a RunError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netpick.core.errors import RunError, SpecError
from netpick.exam.checks import done
from netpick.exam.exports import scaling
from netpick.exam.forward_steps import LOWERED, Layer, Step, Steps
from netpick.networks.paper import spec
from netpick.networks.paper.operation import Shape
from netpick.networks.paper.spec import LayerSpec, NetworkSpec
from netpick.store.reader import Reader
from netpick.store.weights import kept_weights, read_weights

ROOM = 2**20
"""Bytes of a file of weights besides the weights: its header, and running statistics."""


class Passes:
    """The steps by which the networks of a run answer.

    The image comes in as (channels, height, width) of pixels from 0 to 1; the last step gives one score a class, of
    which the log-softmax is what the run keeps. Steps take each other's outputs, see `netpick.exam.forward_steps`. The
    answers are those of a network's first replicate that is done, after its last epoch.
    """

    def __init__(self, run: Reader) -> None:
        self.run = run
        self.image: Shape = tuple(run.manifest["shape"])
        columns = ["name", "computation", "activation", "layers", *(["recipe"] if "recipe" in run.networks else [])]
        self._rows: dict[str, Any] = {row["name"]: row for row in run.networks[columns].to_dict("records")}
        ended = run.trainings.sort_values("replicate")
        self._statuses = dict(zip(ended["network"].astype(str)[::-1], ended["status"][::-1], strict=True))
        self._replicates = done(run).groupby("network", observed=True)["replicate"].min().to_dict()

    def obstacle(self, name: str) -> str:
        """Say why a network can't be run, as far as that can be told without its weights; "" if it can."""
        if name not in self._replicates:
            ended = self._statuses.get(name)
            return f"its training ended as {ended}" if ended else "it is not trained yet"
        network = self._network(name)
        for layer in network.layers:
            if layer.op not in LOWERED and layer.op not in ("Add", "Concat"):
                return f"{layer.op} has no layers that could be run one by one"
        if self._kept(name) is None:
            return "its weights were not kept: train with `--weights last`"
        if self._scaling(network) is None:
            return "run.toml does not say how its pixels were normalised"
        try:
            spec.check(network.layers, self.image, len(self.run.classes))
        except SpecError as error:
            return str(error)
        return ""

    def of(self, name: str) -> list[Step]:
        """Return the steps of a network; RunError with the reason where it can't be run."""
        if reason := self.obstacle(name):
            raise RunError(reason)
        network = self._network(name)
        path, normalised = self._kept(name), self._scaling(network)
        assert path is not None
        assert normalised is not None
        weights = read_weights(path, 16 * spec.sizes(network.layers, self.image).params + ROOM)
        return lowered(network.layers, self.image, weights, normalised)

    def _network(self, name: str) -> NetworkSpec:
        return NetworkSpec.from_dict(self._rows[name])

    def _scaling(self, network: NetworkSpec) -> tuple[list[float], list[float]] | None:
        return scaling(self.run, {**self.run.recipe, **network.recipe})

    def _kept(self, name: str) -> Path | None:
        return kept_weights(self.run.path, name, self._replicates[name])


def lowered(
    layers: Sequence[LayerSpec],
    image: Shape,
    weights: Mapping[str, np.ndarray],
    normalised: tuple[Sequence[float], Sequence[float]],
) -> list[Step]:
    """Return the steps of layers with these weights; pixels are normalised by mean and standard deviation a channel."""
    steps = Steps()
    mean, std = (np.asarray(values, np.float32) for values in normalised)
    if mean.any() or (std != 1).any():
        steps.affine(1 / std, -mean / std, math.prod(image[1:]))
    after, kept = [steps.at], spec.last_uses(layers)  # the step at which each layer's output is; first the image's
    given = image
    for index, (each, gives) in enumerate(zip(layers, spec.shapes(layers, image), strict=True)):
        if each.op in ("Add", "Concat"):
            steps.add(each.op.lower(), of=(steps.at, after[each.resolved["from"] + 1]))
        else:
            before = layers[index - 1].op if index else ""
            by_channel = before.startswith("Conv") or (before == "Linear" and len(given) == 1)
            layer = Layer(each.op, each.resolved, given, gives, index, weights)
            LOWERED[each.op](steps, layer, by_channel and index - 1 not in kept)
        after.append(steps.at)
        given = gives
    return steps.steps
