"""What engines share: batches in their order, optimizers with torch's own kernels, weights as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netpick.core.errors import WorkError
from netpick.networks.catalogue.template import Recipe
from netpick.networks.paper.spec import NetworkSpec, needs_two
from netpick.training.plan import Plan

Data = Mapping[str, tuple[Tensor, Tensor]]
"""Inputs (samples, C, H, W) float32 and labels (samples,) int64 of each split, on the device."""


STEPS_A_GATHER = 64
"""Steps whose samples are gathered at once: a gather for each step costs more than the step of a small network."""


EVALUATION_BATCH = 250
"""Samples in one forward pass of an evaluation: small enough for the caches, large enough to hide the calls."""


def arrays_of(model: nn.Module) -> dict[str, np.ndarray]:
    """Return the state dict of a model as arrays, as a result carries it."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}


def smallest_batch(spec: NetworkSpec, recipe: Recipe, inputs: Tensor) -> int:
    """Return 2 where a last batch of a single sample has to be left out, since a batch norm can't be trained on it.

    Raises WorkError where every batch is such a one.
    """
    if len(inputs) % recipe.batch_size != 1 % recipe.batch_size or not needs_two(spec.layers, tuple(inputs.shape[1:])):
        return 1
    if recipe.batch_size == 1 or len(inputs) == 1:
        raise WorkError(
            "a batch norm that sees one value a channel can't be trained on batches of one sample: "
            f"got batch_size = {recipe.batch_size} and {len(inputs)} samples"
        )
    return 2


def make_optimizer(model: nn.Module, recipe: Recipe, plan: Plan) -> torch.optim.Optimizer:
    """Make the recipe's optimizer, with the kernel that the plan says."""
    return make_flat_optimizer(model.parameters(), recipe, plan)


def make_flat_optimizer(parameters: Iterable[Tensor], recipe: Recipe, plan: Plan) -> torch.optim.Optimizer:
    """Make the recipe's optimizer of some tensors, with the kernel that the plan says."""
    args: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in recipe.optimizer_args.items()}
    args[plan.kernel] = True
    return getattr(torch.optim, recipe.optimizer)(parameters, lr=recipe.lr, **args)


def make_step(optimizer: torch.optim.Optimizer) -> Callable[[], object]:
    """Return what takes an optimizer's step: for a fused Adam the kernel itself, else `optimizer.step`.

    Around the kernel torch.optim does bookkeeping that is the same in every step, and takes longer than the kernel of a
    small network: the lists of parameters and of their states. Here they are gathered once. The numbers are the same.
    """
    group = optimizer.param_groups[0]
    kernel = getattr(torch, {"Adam": "_fused_adam_", "AdamW": "_fused_adamw_"}.get(type(optimizer).__name__, ""), None)
    if kernel is None or not group["fused"]:
        return optimizer.step
    parameters: list[Tensor] = group["params"]
    values = [p.detach() for p in parameters]  # the same memory, without a history to be kept
    beta1, beta2 = group["betas"]
    fixed = {key: group[key] for key in ("lr", "weight_decay", "eps", "amsgrad", "maximize")}
    states: list[list[Tensor]] = []

    def step() -> None:
        if not states:
            optimizer.step()  # the first one makes the states
            keys = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step")
            states.extend([optimizer.state[p][key] for p in parameters if key in optimizer.state[p]] for key in keys)
            return
        gradients = [p.grad for p in parameters]
        torch._foreach_add_(states[3], 1)
        kernel(values, gradients, *states, beta1=beta1, beta2=beta2, **fixed)

    return step


def batches(
    inputs: Tensor, labels: Tensor, batch_size: int, order: torch.Generator | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch; the last one may be shorter.

    With a generator in the order of a fresh permutation, without one in the order of the data.
    """
    span = batch_size * STEPS_A_GATHER
    indices = torch.randperm(len(labels), generator=order).to(labels.device) if order else None
    for start in range(0, len(labels), span):
        if indices is None:
            x, y = inputs[start : start + span], labels[start : start + span]
        else:
            chosen = indices[start : start + span]
            x, y = inputs.index_select(0, chosen), labels.index_select(0, chosen)
        yield from zip(x.split(batch_size), y.split(batch_size), strict=True)


class StopTraining(Exception):  # noqa: N818  no error, but a way out
    """Ends a training early with a status."""

    def __init__(self, status: str, error: str) -> None:
        super().__init__(error)
        self.status, self.error = status, error
