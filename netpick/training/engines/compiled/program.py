"""Networks trained and scored by the machine code of `kernels`.

The numbers are those of the plain loop but for rounding. numba is loaded when a `Program` is made, once the
kernels are compiled (see `ready`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netpick.core.errors import PlanError
from netpick.core.recipe import Recipe
from netpick.networks.paper.spec import LayerSpec
from netpick.training.engines.compiled import BF16_ENTRIES, LOSSES, OPTIMIZERS
from netpick.training.engines.compiled.loading import address, load
from netpick.training.engines.compiled.ready import make_kept
from netpick.training.engines.compiled.table import Table
from netpick.training.job import STEPS_A_GATHER
from netpick.training.loop import Setup
from netpick.training.sizes import macs_of
from netpick.training.steps import FlatParameters

TOGETHER = {True: 48, False: 96}
"""Samples that are scored at a time: fewer where images are turned, batch last; multiples of a vector's sixteen."""

DRAWN_TOGETHER = 2**20
"""Numbers of the masks of dropout that are drawn at a time, as far as they are more than those of a step: 4 MB."""

MACS_TOGETHER = 4_000_000_000
"""Multiply-accumulates of the forward passes between two looks at the clock: some tenths of a second, with the rest."""

VALUES_TOGETHER = 200_000
"""Outputs of all layers of the samples that are scored at a time, as far as there are 16: they stay in the cache."""


def scored_together(values: int, turned: bool) -> int:
    """Return how many samples are scored at a time, where a sample makes so many values."""
    return max(16, min(TOGETHER[turned], VALUES_TOGETHER // values // 16 * 16))


TRAINED_TOGETHER = (32, 64, 96)
"""Samples of a batch that may be trained on at a time: all values of one place then begin where a cache line does."""

TRAINED_VALUES = 140_000
"""Outputs of all layers of the samples that are trained on at a time, as far as there may be fewer: they, and their
gradients, stay in the second cache."""

LINE = 64
"""Bytes of a cache line; a register of as many that isn't read from where one begins is read twice."""


def trained_together(values: int, turned: bool) -> int:
    """Return how many samples of a batch are trained on at a time, where a sample makes so many values."""
    fitting = [n for n in TRAINED_TOGETHER if n * values <= TRAINED_VALUES]
    return max(fitting, default=TRAINED_TOGETHER[0]) if turned else TRAINED_TOGETHER[-1]


def empty(size: int) -> np.ndarray:
    """Return room for so many values, which begins where a cache line does."""
    raw = np.empty(4 * size + LINE, np.uint8)
    begin = -raw.ctypes.data % LINE
    return raw[begin : begin + 4 * size].view(np.float32)


@functools.lru_cache(maxsize=2)
def kernels(bf16: bool = False) -> ModuleType:
    """Return the module `kernels` as the cache has it: what a process has just compiled for itself gives other bits.

    Parameters
    ----------
    bf16 : whether what only convolutions in bf16 need is wanted too

    Raises
    ------
    PlanError
        If machine code can't be had on this machine.
    """
    if (why := make_kept(bf16)) is not None:
        raise PlanError(f"machine code can't be had here: {why}")
    return load(bf16)


class CompiledEpochs:
    """Epochs in machine code; between some dozen steps, or tenths of a second, Python looks at the clock."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        job, count, image = setup.job, setup.order.count, setup.inputs.shape[1:]
        model, schedule = setup.model, setup.schedule
        bf16 = job.plan.precision == "bf16"
        self.program = Program(kernels(bf16), job.spec.layers, model, job.recipe, image, count, schedule, bf16)
        self.images, self.labels = setup.inputs.flatten(1).numpy(), setup.labels.numpy()

    def epoch(self) -> float:
        """Train one epoch."""
        setup, count, batch_size = self.setup, self.setup.order.count, self.setup.job.recipe.batch_size
        order = setup.order.draw()
        indices = torch.arange(count) if order is None else order
        total = 0.0
        # Where a batch of one sample is left out, it is the last one that there is.
        span = batch_size * self.program.steps_a_gather
        for number, part in enumerate(indices[: setup.count].split(span)):
            sizes = np.full(-(-len(part) // batch_size), batch_size)
            sizes[-1] = (len(part) - 1) % batch_size + 1
            images, labels, chosen = self.images, self.labels, part.numpy()
            if setup.augment is not None:
                seen = setup.augment(setup.inputs[part], number * span)
                images, labels, chosen = seen.flatten(1).numpy(), labels[chosen], np.arange(len(chosen))
            total += float(self.program.train(images, labels, chosen).astype(np.float64) @ sizes)
            setup.check_time()
        return total / setup.count

    def score(self, inputs: Tensor) -> np.ndarray:
        """Return the scores in the same code."""
        return self.program.score(inputs.flatten(1).numpy())


class Program:
    """One network, ready to be trained and scored batch by batch.

    Parameters
    ----------
    kernels : the module
    layers : of the network, the last of them LogSoftmax or BinaryLogSigmoid
    model : made of them, on the CPU, in float32; its parameters are moved into one tensor, which is trained
    recipe : its optimizer, loss and batch size
    image : shape of a sample
    samples : that are trained on: no batch has more
    schedule : learning rate and momentum of each step, where they change
    bf16 : whether products of convolutions are of bf16
    """

    def __init__(
        self,
        kernels: ModuleType,
        layers: Sequence[LayerSpec],
        model: nn.Sequential,
        recipe: Recipe,
        image: Sequence[int],
        samples: int,
        schedule: np.ndarray | None = None,
        bf16: bool = False,
    ) -> None:
        self.kernels = kernels
        self.flat = FlatParameters(model)
        table = Table(kernels, layers, model, image, bf16)
        missing = () if bf16 else BF16_ENTRIES
        self.addresses = np.array([0 if name in missing else address(kernels, name) for name in kernels.ADDRESSED])
        self.table, self.classes, size = np.stack(table.rows), table.classes, table.room
        self.numbers, self.links = np.array(table.numbers, np.float32), np.array([*table.links, 0], np.int64)
        self.statistics = np.zeros(max(1, table.statistics), np.float32)
        self.norms = [self._adopt(norm, begin) for norm, begin in table.norms]
        turned = bool(self.table[0, kernels.KIND] != kernels.LINEAR)
        self.batch, self.together = min(recipe.batch_size, samples), scored_together(size, turned)
        self.dropouts, self.masked = table.dropouts, sum(many for many, _ in table.dropouts)
        drawn, macs = (max(1, each * self.batch) for each in (self.masked, macs_of(layers)))
        self.steps_a_gather = max(1, min(STEPS_A_GATHER, DRAWN_TOGETHER // drawn, MACS_TOGETHER // macs))
        whole = bool(table.norms or table.dropouts)  # which want all of a batch, the latter since masks are drawn so
        self.part = self.batch if whole else min(self.batch, trained_together(size, turned))
        room = min(self.batch, self.part + kernels.VECTOR - 1)  # the last part has up to so many
        most = max(room, self.together)
        pixels = math.prod(image)
        self.rows = empty(room * pixels).reshape(room, pixels)
        self.x, self.arena, self.d_arena = empty(pixels * most), empty(size * most), empty(table.slopes * room)
        self.words = empty(table.words * most + table.more_words).view(np.int32)
        self.taps, self.offsets = np.empty((2, max(most, table.taps)), np.int64)
        self.product = np.empty(max(1, table.product), np.float32)
        self.values = self.flat.values.detach().numpy()
        gradient = self.flat.values.grad
        assert gradient is not None
        self.gradients = gradient.numpy()
        self.optimizer = [*OPTIMIZERS].index(recipe.optimizer)
        self.hyper = hyperparameters(recipe)
        self.nesterov, amsgrad, centered = (
            bool(recipe.optimizer_args.get(name)) for name in ("nesterov", "amsgrad", "centered")
        )
        self.first, self.second, self.largest = (
            np.zeros(len(self.values) if used else 0, np.float32)
            for used in (True, recipe.optimizer != "SGD", amsgrad or centered)
        )
        self.step = 0
        self.schedule = np.empty((0, 2)) if schedule is None else schedule
        self.loss, self.positive = LOSSES.index(recipe.loss), layers[-1].resolved.get("positive", -1)

    def _adopt(self, module: Any, begin: int) -> Any:
        """Move a batch norm's running statistics to where the kernels read and write them."""
        channels = module.num_features
        for at, name in enumerate(("running_mean", "running_var")):
            here = self.statistics[begin + at * channels : begin + (at + 1) * channels]
            here[:] = getattr(module, name).numpy()
            getattr(module, name).set_(torch.from_numpy(here))
        return module

    def train(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Take a step on each batch of the samples in `order`; return the loss of each.

        Parameters
        ----------
        images : (samples, pixels) float32
        labels : (samples,) int64
        order : numbers of the samples, int64
        """
        losses = np.zeros(-(-len(order) // self.batch), np.float32)
        self.step += self.kernels.train(
            *(self.table, self.numbers, self.links, self.values, self.gradients, images, labels, order, self.batch),
            *(self.part, self.rows, self.x, self.arena, self.d_arena, self.taps, self.offsets, self.classes),
            *(self.positive, self.statistics, self._draw(len(order)), self.loss, self.product),
            *(self.optimizer, self.first, self.second, self.largest, self.hyper),
            *(self.schedule[self.step : self.step + len(losses)], self.nesterov, self.step, losses),
            *(self.words, self.addresses),
        )
        for module in self.norms:
            module.num_batches_tracked.add_(len(losses))
        return losses

    def _draw(self, samples: int) -> np.ndarray:
        """Return the masks of dropout for the batches of some samples, from torch's generator, in its own order.

        Each layer of each step draws by itself, as it would in torch, whose numbers depend on how many are drawn.
        """
        masks = torch.empty(samples * self.masked)
        begin = 0
        for start in range(0, samples if self.dropouts else 0, self.batch):
            for many, p in self.dropouts:
                end = begin + min(self.batch, samples - start) * many
                masks[begin:end].bernoulli_(1 - p)
                begin = end
        return masks.numpy()

    def score(self, images: np.ndarray) -> np.ndarray:
        """Return the logarithms of the probabilities, (samples, classes) float32, of images (samples, pixels)."""
        scores = np.empty((len(images), self.classes), np.float32)
        self.kernels.score(
            *(self.table, self.numbers, self.links, self.values, images, self.together, self.x, self.arena),
            *(self.taps, self.offsets, self.classes, self.positive, self.statistics, scores),
            *(self.words, self.addresses),
        )
        return scores


def hyperparameters(recipe: Recipe) -> np.ndarray:
    """Return what `kernels.train` wants of an optimizer, in its order, with torch.optim's defaults."""
    given: dict[str, Any] = dict(recipe.optimizer_args)
    if recipe.optimizer == "SGD":
        moments = (given.get("momentum", 0.0), given.get("dampening", 0.0))
    elif recipe.optimizer == "RMSprop":
        moments = (given.get("momentum", 0.0), given.get("alpha", 0.99))
    else:
        moments = tuple(given.get("betas", (0.9, 0.999)))
    decay = given.get("weight_decay", 0.01 if recipe.optimizer == "AdamW" else 0.0)
    rest = (given.get("eps", 1e-8), recipe.gradient_clip, recipe.label_smoothing)
    return np.array([recipe.lr, decay, *moments, *rest], np.float64)
