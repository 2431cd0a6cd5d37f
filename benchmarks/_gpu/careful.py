"""The loop that a careful person writes by hand, one network after the other: graphs are compared with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from _gpu.bench import Splits
from netpick.core import devices
from netpick.networks.catalogue.template import Recipe
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import NetworkSpec


class Careful(NamedTuple):
    """Seconds of the first step, of each later one, and of one evaluation of all samples."""

    first: float
    step: float
    evaluation: float


def careful(
    spec: NetworkSpec, recipe: Recipe, splits: Splits, device: str, wrap: Callable[[Any], Any] = lambda model: model
) -> Careful:
    """Train eagerly for an epoch: tensors on the card, fused Adam, nothing read back but after the first step.

    `wrap` makes of the model what is called. At the end the loss is read, as once an epoch.
    """
    torch.manual_seed(0)
    model = build(spec.layers).to(device)
    called = wrap(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.lr, amsgrad=True, fused=True)
    (images, labels), (test, _) = splits["train"], splits["test"]
    model.train()
    total = torch.zeros((), device=device)
    order = torch.randperm(len(labels), device=device).split(recipe.batch_size)
    devices.synchronize(device)
    times = [time.perf_counter()]
    for chosen in order:
        optimizer.zero_grad(set_to_none=True)
        loss = F.nll_loss(called(images[chosen]), labels[chosen])
        loss.backward()
        optimizer.step()
        total += loss.detach()
        if len(times) == 1:
            devices.synchronize(device)
            times.append(time.perf_counter())
    total.item()
    times.append(time.perf_counter())
    model.eval()
    with torch.inference_mode():
        torch.cat([model(x) for x in test.split(1000)]).cpu()
    evaluation = time.perf_counter() - times[2]
    return Careful(times[1] - times[0], (times[2] - times[1]) / max(1, len(order) - 1), evaluation)
