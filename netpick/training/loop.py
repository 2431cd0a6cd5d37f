"""One network, one recipe, one device: the training loop.

The data set is resident on the device; an epoch is a permutation, a gather every few dozen steps, and slices of what
was gathered. Nothing is read from or written to files here, and the loss is looked at once an epoch, since reading a
number from a device makes the device wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netpick.core import devices
from netpick.core.metrics import evaluate
from netpick.core.result import EpochResult, SplitResult, TrainingResult
from netpick.networks.catalogue.template import Recipe
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import NetworkSpec
from netpick.networks.paper.whole_networks import is_baseline
from netpick.training import baselines
from netpick.training.engines import reference
from netpick.training.engines.compiled.program import Program
from netpick.training.engines.explicit.step import ExplicitStep
from netpick.training.plan import Plan, precision_context
from netpick.training.steps import (
    EVALUATION_BATCH,
    STEPS_A_GATHER,
    Data,
    StopTraining,
    arrays_of,
    batches,
    make_flat_optimizer,
    make_optimizer,
    make_step,
    smallest_batch,
)


def train(
    spec: NetworkSpec,
    recipe: Recipe,
    device: str,
    data: Data,
    seed: int,
    plan: Plan,
    replicate: int = 0,
    keep_weights: bool = False,
) -> TrainingResult:
    """Train one network and evaluate it after every epoch.

    Parameters
    ----------
    spec : the network
    recipe : optimizer, learning rate, batch size, epochs, ...
    device : `cpu`, `cuda:0`, `mps`, ...
    data : the splits on that device; `train` is trained on, all others are evaluated
    seed : of the initial weights and of the order of the samples
    plan : how to execute it
    replicate : only passed through to the result
    keep_weights : whether the result carries the final state dict

    Returns
    -------
    TrainingResult
        `done`, or `diverged` or `timeout` with the epochs that were finished before. Exceptions of torch pass through.
    """
    if is_baseline(spec.layers):
        arrays = {name: (x.cpu().numpy(), y.cpu().numpy()) for name, (x, y) in data.items()}
        return baselines.train(spec, recipe, arrays, seed, replicate, keep_weights)
    if plan.mode == "graph":
        from netpick.training.engines.graphs.training import train_alone

        return train_alone(spec, recipe, device, data, seed, plan, replicate, keep_weights)
    started, clock = datetime.now(UTC), time.perf_counter()
    deadline = clock + recipe.timeout if recipe.timeout else None
    devices.reset_peak_memory(device)
    smallest = smallest_batch(spec, recipe, data["train"][0])
    torch.manual_seed(seed)
    # Initial weights are drawn on the CPU, so that they are the same for every device.
    model = build(spec.layers, tuned=plan.convolutions == "tuned").to(device)
    # A stream of its own for the order: the same for every network, whatever it draws for weights or dropout.
    order = torch.Generator().manual_seed(seed ^ 0x5EED) if recipe.shuffle else None
    program = None
    if plan.mode == "compiled":
        count, *image = data["train"][0].shape
        program = Program(spec.layers, model, recipe, image, count, EVALUATION_BATCH)
    train_epoch = make_epoch(model, recipe, device, data["train"], order, plan, deadline, smallest, program)
    epochs: list[EpochResult] = []
    status, error = "done", None
    try:
        for epoch in range(1, recipe.epochs + 1):
            loss, seconds = train_epoch()
            if not np.isfinite(loss):
                raise StopTraining("diverged", f"training loss became {loss} in epoch {epoch}")
            splits = tuple(
                _evaluate(model, name, pair, device, plan, epoch, program)
                for name, pair in data.items()
                if name != "train"
            )
            epochs.append(EpochResult(epoch, loss, seconds, devices.peak_memory(device), splits))
    except StopTraining as stop:
        status, error = stop.status, stop.error
    weights = None
    if keep_weights and status == "done":
        weights = arrays_of(model)
    return TrainingResult(
        network=spec.name,
        hash=spec.hash,
        replicate=replicate,
        status=status,
        error=error,
        seed=seed,
        device=device,
        plan=str(plan),
        started=started,
        seconds=time.perf_counter() - clock,
        epochs=tuple(epochs),
        weights=weights,
    )


def make_epoch(
    model: nn.Sequential,
    recipe: Recipe,
    device: str,
    pair: tuple[Tensor, Tensor],
    order: torch.Generator | None,
    plan: Plan,
    deadline: float | None = None,
    smallest: int = 1,
    program: Program | None = None,
) -> Callable[[], tuple[float, float]]:
    """Return what trains one epoch as the plan says, and gives the mean loss over its samples, and the seconds.

    Parameters
    ----------
    model : on the device; what is returned trains it
    recipe, device, plan : as for `train`
    pair : inputs and labels to train on
    order : draws the permutation of each epoch; None for the order of the data
    deadline : of `time.perf_counter`; looked at after each step
    smallest : batches of fewer samples are left out
    program : of the model, where the plan is to train it in machine code
    """

    def in_time() -> None:
        if deadline and time.perf_counter() > deadline:
            raise StopTraining("timeout", f"not finished after {recipe.timeout:g} seconds")

    if plan.mode == "reference":
        epoch = _reference_epoch(model, recipe, pair, order, in_time, smallest)
    elif program is not None:
        epoch = _compiled_epoch(program, recipe, pair, order, in_time, smallest)
    elif plan.mode == "explicit":
        epoch = _explicit_epoch(model, recipe, pair, order, plan, in_time, smallest)
    else:
        epoch = _eager_epoch(model, recipe, device, pair, order, plan, in_time, smallest)

    def timed() -> tuple[float, float]:
        model.train()
        devices.synchronize(device)
        start = time.perf_counter()
        loss = epoch()  # reads the loss from the device, and so waits for it
        return loss, time.perf_counter() - start

    return timed


def _reference_epoch(
    model: nn.Module,
    recipe: Recipe,
    pair: tuple[Tensor, Tensor],
    order: torch.Generator | None,
    in_time: Callable[[], None],
    smallest: int,
) -> Callable[[], float]:
    """Return the plain loop."""
    optimizer = reference.make_optimizer(model, recipe)
    return lambda: reference.train_epoch(model, optimizer, *pair, recipe.batch_size, order, smallest, in_time)


def _eager_epoch(
    model: nn.Module,
    recipe: Recipe,
    device: str,
    pair: tuple[Tensor, Tensor],
    order: torch.Generator | None,
    plan: Plan,
    in_time: Callable[[], None],
    smallest: int,
) -> Callable[[], float]:
    """Return an epoch under autograd, with nothing in its loop that makes a device wait."""
    inputs, labels = pair
    optimizer = make_optimizer(model, recipe, plan)
    step = make_step(optimizer)
    count = len(labels) - (smallest - 1)

    def epoch() -> float:
        total = torch.zeros((), dtype=torch.float32 if device == "mps" else torch.float64, device=device)  # MPS: no 64
        for x, y in batches(inputs, labels, recipe.batch_size, order):
            if len(y) < smallest:
                continue
            with precision_context(plan, device):
                loss = F.nll_loss(model(x).float(), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            step()
            total.add_(loss.detach(), alpha=len(y))
            in_time()
        return total.item() / count

    return epoch


def _explicit_epoch(
    model: nn.Sequential,
    recipe: Recipe,
    pair: tuple[Tensor, Tensor],
    order: torch.Generator | None,
    plan: Plan,
    in_time: Callable[[], None],
    smallest: int,
) -> Callable[[], float]:
    """Return an epoch whose steps are written out, see `explicit`."""
    inputs, labels = pair
    gradients = ExplicitStep(model)
    step = make_step(make_flat_optimizer([gradients.flat.values], recipe, plan))
    count = len(labels) - (smallest - 1)
    losses = torch.zeros(-(-len(labels) // recipe.batch_size))
    each = losses.unbind()
    weights = torch.full_like(losses, recipe.batch_size, dtype=torch.float64)
    weights[-1] = (len(labels) - 1) % recipe.batch_size + 1

    @torch.no_grad()
    def epoch() -> float:
        for loss, (x, y) in zip(each, batches(inputs, labels, recipe.batch_size, order), strict=True):
            if len(y) < smallest:
                continue  # its loss stays 0
            gradients(x, y, loss)
            step()
            in_time()
        return float(losses.double() @ weights) / count

    return epoch


def _compiled_epoch(
    program: Program,
    recipe: Recipe,
    pair: tuple[Tensor, Tensor],
    order: torch.Generator | None,
    in_time: Callable[[], None],
    smallest: int,
) -> Callable[[], float]:
    """Return an epoch in machine code, see `compiled`; between some dozen steps Python looks at the clock."""
    inputs, labels = pair
    images, truth = inputs.flatten(1).numpy(), labels.numpy()
    # Where a batch of one sample is left out, it is the last one that there is.
    count, span = len(truth) - (smallest - 1), recipe.batch_size * STEPS_A_GATHER

    def epoch() -> float:
        indices = torch.randperm(len(truth), generator=order) if order else torch.arange(len(truth))
        total = 0.0
        for part in indices[:count].split(span):
            sizes = np.full(-(-len(part) // recipe.batch_size), recipe.batch_size)
            sizes[-1] = (len(part) - 1) % recipe.batch_size + 1
            total += float(program.train(images, truth, part.numpy()).astype(np.float64) @ sizes)
            in_time()
        return total / count

    return epoch


@torch.inference_mode()
def _evaluate(
    model: nn.Module,
    split: str,
    pair: tuple[Tensor, Tensor],
    device: str,
    plan: Plan,
    epoch: int,
    program: Program | None = None,
) -> SplitResult:
    """Score every sample of a split; raise where a score is not a number."""
    model.eval()
    inputs, labels = pair
    devices.synchronize(device)
    start = time.perf_counter()
    if program is not None:
        scores_there = program.score(inputs.flatten(1).numpy())
    else:
        with precision_context(plan, device):
            scores = torch.cat([model(x).float() for x in inputs.split(EVALUATION_BATCH)])
        scores_there = scores.cpu().numpy()
    seconds = time.perf_counter() - start
    if np.isnan(scores_there).any():
        raise StopTraining("diverged", f"scores of split {split} are not numbers after epoch {epoch}")
    return evaluate(split, scores_there, labels.cpu().numpy(), seconds)
