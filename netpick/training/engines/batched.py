"""Replicates of one network trained as one batched model: the same layers for all, each with weights of its own.

The weights of all replicates are stacked, and `torch.func` maps the loss and its gradient over them, so that a step of
R replicates is as many calls as a step of one. The mapping is traced once for each batch size and only what it comes
to, calls of torch's own kernels on stacked tensors, is repeated. The optimizers are elementwise: one kernel on all
values does what R optimizers would. Each replicate has the initial weights, the batches and the end that it has by
itself; its numbers differ by rounding, which depends on R, so that a group is always trained whole. Which networks can
be trained so, and where it pays, `plan` says: nothing random in the layers, no buffers, float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from netpick.core.metrics import evaluate
from netpick.core.result import EpochResult, SplitResult, TrainingResult
from netpick.networks.catalogue.template import Recipe
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import LayerSpec, NetworkSpec
from netpick.training.engines.explicit.step import FlatParameters
from netpick.training.plan import Plan
from netpick.training.steps import EVALUATION_BATCH, STEPS_A_GATHER, Data, make_optimizer, make_step

ROOM = 4
"""Times the memory of one network that an evaluation of all may take."""


class Stacked:
    """R replicates of one network as one model.

    Parameters
    ----------
    layers : of the network
    seeds : of the initial weights, one a replicate

    Notes
    -----
    All parameters are views (R, ...) of one flat tensor, see `FlatParameters`, so that the optimizer is one kernel.
    """

    def __init__(self, layers: Sequence[LayerSpec], seeds: Sequence[int]) -> None:
        models = []
        for seed in seeds:
            torch.manual_seed(seed)
            models.append(build(layers))
        self.model = models[0]
        self.count = len(seeds)
        self.names = [name for name, _ in self.model.named_parameters()]
        each = zip(*(model.parameters() for model in models), strict=True)
        holder = nn.ParameterList([nn.Parameter(torch.stack([p.detach() for p in one])) for one in each])
        self.flat = FlatParameters(holder)
        self.values = [p.detach() for p in holder]
        self.gradients = [self.flat.gradients[p] for p in holder]
        self._traced: dict[tuple[str, int], Callable[..., Any]] = {}

    def weights(self, replicate: int) -> dict[str, np.ndarray]:
        """Return the state dict of one replicate, as arrays of its own."""
        return {name: p[replicate].numpy().copy() for name, p in zip(self.names, self.values, strict=True)}

    def gradient(self, x: Tensor, labels: Tensor) -> Tensor:
        """Write the gradients of each replicate's mean loss on its own batch; return the losses (R,).

        x (R, batch, C, H, W), labels (R, batch). Call it under `torch.no_grad`.
        """

        def loss(values: tuple[Tensor, ...], x: Tensor, labels: Tensor) -> Tensor:
            scores = functional_call(self.model, dict(zip(self.names, values, strict=True)), (x,))
            return -scores.gather(1, labels.unsqueeze(1)).mean()  # nll_loss, in fewer calls

        def step(x: Tensor, labels: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
            gradients, losses = vmap(grad_and_value(loss))(values, x, labels)
            return losses, *gradients

        losses, *gradients = self._run("step", step, x.shape[1], x, labels)
        torch._foreach_copy_(self.gradients, gradients)
        return losses

    def scores(self, x: Tensor) -> Tensor:
        """Return each replicate's scores (R, samples, classes) of the same inputs (samples, C, H, W)."""

        def forward(x: Tensor, *values: Tensor) -> Tensor:
            def one(values: tuple[Tensor, ...]) -> Tensor:
                out: Tensor = functional_call(self.model, dict(zip(self.names, values, strict=True)), (x,))
                return out

            return vmap(one)(values)

        out: Tensor = self._run("scores", forward, len(x), x)
        return out

    def _run(self, what: str, function: Callable[..., Any], batch: int, *inputs: Tensor) -> Any:
        """Call what a function comes to on inputs of this size; it is traced the first time."""
        from torch.fx.experimental.proxy_tensor import make_fx

        run = self._traced.get((what, batch))
        if run is None:
            with torch.enable_grad():
                run = self._traced[what, batch] = make_fx(function)(*inputs, *self.values)
        return run(*inputs, *self.values)


def train_replicas(
    spec: NetworkSpec,
    recipe: Recipe,
    device: str,
    data: Data,
    seeds: Sequence[int],
    plan: Plan,
    keep_weights: bool = False,
) -> list[TrainingResult]:
    """Train the replicates 0 to R-1 of a network as one model and evaluate each after every epoch.

    Parameters
    ----------
    spec, recipe, device, data, plan, keep_weights : as for `train.train`
    seeds : of the R replicates

    Returns
    -------
    list[TrainingResult]
        One a replicate, as `train.train` returns it. Seconds are those of the group divided by R; the recipe's
        `timeout` is for one, and so R times as long for the group. One that diverges leaves the others alone.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    count = len(seeds)
    stacked = Stacked(spec.layers, seeds)
    step = make_step(make_optimizer(nn.ParameterList([stacked.flat.values]), recipe, plan))
    orders = [torch.Generator().manual_seed(seed ^ 0x5EED) if recipe.shuffle else None for seed in seeds]
    deadline = clock + count * recipe.timeout if recipe.timeout else np.inf
    epochs: list[list[EpochResult]] = [[] for _ in seeds]
    ended: dict[int, tuple[str, str]] = {}
    for epoch in range(1, recipe.epochs + 1):
        start = time.perf_counter()
        losses = _train_epoch(stacked, step, *data["train"], recipe.batch_size, orders, deadline)
        seconds = (time.perf_counter() - start) / count
        if losses is None:
            late = ("timeout", f"not finished after {recipe.timeout:g} seconds")
            ended = dict.fromkeys(range(count), late) | ended
            break
        for n, loss in enumerate(losses.tolist()):
            if not np.isfinite(loss):
                ended.setdefault(n, ("diverged", f"training loss became {loss} in epoch {epoch}"))
        going = [n for n in range(count) if n not in ended]
        splits: dict[int, list[SplitResult]] = {n: [] for n in going}
        for name, (inputs, labels) in data.items():
            if name != "train" and splits:
                for n, found in _evaluate(stacked, name, inputs, labels, list(splits)).items():
                    if found is None:
                        ended[n] = ("diverged", f"scores of split {name} are not numbers after epoch {epoch}")
                        del splits[n]
                    else:
                        splits[n].append(found)
        for n, own in splits.items():
            epochs[n].append(EpochResult(epoch, losses[n].item(), seconds, None, tuple(own)))
        if not splits:
            break
    whole = (time.perf_counter() - clock) / count
    return [
        TrainingResult(
            network=spec.name,
            hash=spec.hash,
            replicate=n,
            status=ended[n][0] if n in ended else "done",
            error=ended[n][1] if n in ended else None,
            seed=seed,
            device=device,
            plan=str(plan),
            started=started,
            seconds=whole,
            epochs=tuple(epochs[n]),
            weights=stacked.weights(n) if keep_weights and n not in ended else None,
        )
        for n, seed in enumerate(seeds)
    ]


@torch.no_grad()
def _train_epoch(
    stacked: Stacked,
    step: Callable[[], object],
    inputs: Tensor,
    labels: Tensor,
    batch_size: int,
    orders: Sequence[torch.Generator | None],
    deadline: float,
) -> Tensor | None:
    """Train one epoch; return the mean losses (R,) float64 over the samples, or None where the time has run out."""
    total = torch.zeros(stacked.count, dtype=torch.float64)
    for x, y in batches(inputs, labels, batch_size, orders):
        total.add_(stacked.gradient(x, y), alpha=y.shape[1])
        step()
        if time.perf_counter() > deadline:
            return None
    return total / len(labels)


def batches(
    inputs: Tensor, labels: Tensor, batch_size: int, orders: Sequence[torch.Generator | None]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch, (R, batch, C, H, W) and (R, batch); those of each replicate are its own.

    As `train.batches` for each generator; as many samples are gathered at once as there for one.
    """
    count = len(labels)
    indices = torch.stack([torch.arange(count) if o is None else torch.randperm(count, generator=o) for o in orders])
    span = batch_size * max(1, STEPS_A_GATHER // len(orders))
    for start in range(0, count, span):
        chosen = indices[:, start : start + span]
        full = chosen.shape[1] // batch_size * batch_size
        for part, size in ((chosen[:, :full], batch_size), (chosen[:, full:], chosen.shape[1] - full)):
            if part.shape[1]:
                flat = part.reshape(len(orders), -1, size).transpose(0, 1).flatten()  # step by step, so that each
                x = inputs.index_select(0, flat).view(-1, len(orders), size, *inputs.shape[1:])  # is contiguous
                yield from zip(x, labels.index_select(0, flat).view(-1, len(orders), size), strict=True)


@torch.no_grad()
def _evaluate(
    stacked: Stacked, split: str, inputs: Tensor, labels: Tensor, going: Sequence[int]
) -> dict[int, SplitResult | None]:
    """Score every sample of a split with each replicate that goes on; None for those whose scores are no numbers."""
    start = time.perf_counter()
    chunk = max(1, min(EVALUATION_BATCH // 2, ROOM * EVALUATION_BATCH // stacked.count))
    scores = torch.cat([stacked.scores(x) for x in inputs.split(chunk)], 1).numpy()
    seconds = (time.perf_counter() - start) / stacked.count
    there = labels.numpy()
    return {n: None if np.isnan(scores[n]).any() else evaluate(split, scores[n], there, seconds) for n in going}
