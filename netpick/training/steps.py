"""What engines share: batches in their order, parameters in one tensor, optimizers with torch's own kernels, scores."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netpick.core.errors import WorkError
from netpick.core.recipe import Recipe
from netpick.networks.paper.spec import NetworkSpec, needs_two, shapes
from netpick.networks.paper.whole_networks import is_whole
from netpick.training.augmentation import Augmentation
from netpick.training.job import EVALUATION_BATCH, STEPS_A_GATHER, Job
from netpick.training.plan import Plan


def autocast(plan: Plan, device: str) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which a network's forward passes run."""
    if plan.precision == "bf16":
        return torch.autocast(device.partition(":")[0], dtype=torch.bfloat16)
    return contextlib.nullcontext()


FEWEST_EVALUATED, VALUES_EVALUATED = 32, 2**18
"""Samples that the CPU evaluates at a time: so many that the largest layer makes so many values, 1 MB of them.

What doesn't stay in the caches is computed several times slower, and most slowly where memory is asked of the system
anew for each batch. Of networks whose inside can't be seen there are the fewest.
"""


def evaluated_together(job: Job, inputs: Tensor) -> int:
    """Return how many samples are in a forward pass of an evaluation, by torch's kernels."""
    layers = job.spec.layers
    if job.kind != "cpu":
        return EVALUATION_BATCH
    if is_whole(layers):
        return FEWEST_EVALUATED
    largest = max(math.prod(shape) for shape in shapes(layers, tuple(inputs.shape[1:])))
    return max(FEWEST_EVALUATED, min(EVALUATION_BATCH, VALUES_EVALUATED // largest))


def scores_of(model: nn.Module, job: Job, inputs: Tensor) -> np.ndarray:
    """Return the scores (samples, classes) float32 of a model as torch computes them; leave it in evaluation mode."""
    model.eval()
    with autocast(job.plan, job.device):
        scores = torch.cat([model(x).float() for x in inputs.split(evaluated_together(job, inputs))])
    array: np.ndarray = scores.cpu().numpy()
    return array


def arrays_of(model: nn.Module) -> dict[str, np.ndarray]:
    """Return the state dict of a model as arrays, as a result carries it."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}


def smallest_batch(spec: NetworkSpec, recipe: Recipe, count: int, image: tuple[int, ...]) -> int:
    """Return 2 where a last batch of a single sample has to be left out, since a batch norm can't be trained on it.

    Raises WorkError where every batch is such a one.
    """
    if count % recipe.batch_size != 1 % recipe.batch_size or not needs_two(spec.layers, image):
        return 1
    if recipe.batch_size == 1 or count == 1:
        raise WorkError(
            "a batch norm that sees one value a channel can't be trained on batches of one sample: "
            f"got batch_size = {recipe.batch_size} and {count} samples"
        )
    return 2


def steps_of(count: int, batch_size: int, smallest: int) -> int:
    """Return the steps of an epoch of `count` samples, where batches of fewer than `smallest` are left out."""
    full, last = divmod(count, batch_size)
    return full + (last >= smallest)


def optimizer_arguments(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe's arguments as torch.optim takes them."""
    args = {key: tuple(value) if isinstance(value, list) else value for key, value in recipe.optimizer_args.items()}
    return {"lr": recipe.lr, **args}


def make_optimizer(parameters: Iterable[Tensor], job: Job) -> torch.optim.Optimizer:
    """Make the recipe's optimizer of some tensors, with the kernel that the plan says."""
    kind = getattr(torch.optim, job.recipe.optimizer)
    return kind(parameters, **optimizer_arguments(job.recipe), **{job.plan.kernel: True})


def move(optimizer: torch.optim.Optimizer, lr: float, momentum: float) -> None:
    """Give an optimizer the learning rate and the momentum (of Adam the first beta) of its next step."""
    for group in optimizer.param_groups:
        group["lr"] = lr
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["momentum"] = momentum


def make_step(
    optimizer: torch.optim.Optimizer, schedule: np.ndarray | None = None, clip: float = 0.0
) -> Callable[[], object]:
    """Return what takes an optimizer's step: for a fused Adam the kernel itself, else `optimizer.step`.

    Around the kernel torch.optim does bookkeeping that is the same in every step, and takes longer than the kernel of a
    small network: the lists of parameters and of their states. Here they are gathered once. The numbers are the same.
    With a `schedule`, learning rate and momentum of each step, these are moved before; a gradient longer than `clip`,
    where that is not 0, is shortened to it.
    """
    step = _make_step(optimizer)
    if schedule is None and not clip:
        return step
    values = None if schedule is None else iter(schedule.tolist())
    parameters = optimizer.param_groups[0]["params"]

    def whole() -> None:
        if values is not None:
            move(optimizer, *next(values))
        if clip:
            nn.utils.clip_grad_norm_(parameters, clip)
        step()

    return whole


def _make_step(optimizer: torch.optim.Optimizer) -> Callable[[], object]:
    group = optimizer.param_groups[0]
    kernel = getattr(torch, {"Adam": "_fused_adam_", "AdamW": "_fused_adamw_"}.get(type(optimizer).__name__, ""), None)
    if kernel is None or not group["fused"]:
        return optimizer.step
    parameters: list[Tensor] = group["params"]
    values = [p.detach() for p in parameters]  # the same memory, without a history to be kept
    fixed = {key: group[key] for key in ("weight_decay", "eps", "amsgrad", "maximize")}
    states: list[list[Tensor]] = []

    def step() -> None:
        if not states:
            optimizer.step()  # the first one makes the states
            keys = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step")
            states.extend([optimizer.state[p][key] for p in parameters if key in optimizer.state[p]] for key in keys)
            return
        gradients = [p.grad for p in parameters]
        torch._foreach_add_(states[3], 1)
        beta1, beta2 = group["betas"]
        kernel(values, gradients, *states, lr=group["lr"], beta1=beta1, beta2=beta2, **fixed)

    return step


def batches(
    inputs: Tensor, labels: Tensor, batch_size: int, order: Tensor | None, augment: Augmentation | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch in an order, or in that of the data; the last one may be shorter."""
    span = batch_size * STEPS_A_GATHER
    indices = None if order is None else order.to(labels.device)
    for start in range(0, len(labels if indices is None else indices), span):
        if indices is None:
            x, y = inputs[start : start + span], labels[start : start + span]
        else:
            chosen = indices[start : start + span]
            x, y = inputs.index_select(0, chosen), labels.index_select(0, chosen)
        if augment is not None:
            x = augment(x, start)
        yield from zip(x.split(batch_size), y.split(batch_size), strict=True)


ALIGNMENT = 16
"""Values: each parameter begins at a multiple of 64 bytes, a line of the cache, as it would by itself."""


class FlatParameters:
    """All trainable parameters of a model as views of one tensor, `values`, and their gradients as views of `gradient`.

    The model's own parameters stay what they are for everybody else: only their memory has moved. The gaps between
    them, for the alignment, are zeros and have no gradient, so that every optimizer leaves them alone.
    """

    def __init__(self, model: nn.Module) -> None:
        self._starts: dict[nn.Parameter, int] = {}
        end = 0
        for p in model.parameters():
            self._starts[p] = end
            end += -(-p.numel() // ALIGNMENT) * ALIGNMENT
        self.values = nn.Parameter(torch.zeros(end))
        self.values.grad = torch.zeros(end)
        flat = self.values.detach()
        for p, start in self._starts.items():
            view = flat[start : start + p.numel()].view(p.shape)
            view.copy_(p.detach())
            p.data = view

    @cached_property
    def gradients(self) -> dict[nn.Parameter, Tensor]:
        """The gradient of each parameter, for those who want them one by one."""
        gradient = self.values.grad
        assert gradient is not None
        return {p: gradient[start : start + p.numel()].view(p.shape) for p, start in self._starts.items()}
