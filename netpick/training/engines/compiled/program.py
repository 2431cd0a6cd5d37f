"""Small networks trained in machine code: from a network's layers to the table that `kernels` works through.

For networks of linear layers, convolutions, residual blocks, batch norm and the usual activations that are so small
that torch's kernels, made for larger ones, take longer to call than to compute. `plan` decides which networks are
trained so; the numbers are those of the plain loop but for rounding. numba is loaded when a `Program` is made, and
compiles for some twenty seconds the very first time (see `machine_code`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import threadpoolctl
import torch
from torch import nn

from netpick.networks.catalogue.template import Recipe
from netpick.networks.modules.build import BasicBlock, build
from netpick.networks.paper.spec import LayerSpec, layer, shapes
from netpick.training.engines.explicit.step import FlatParameters

SHAPES = ("Reshape", "Flatten", "Identity")


@functools.lru_cache(maxsize=1)
def kernels() -> ModuleType:
    """Return the module `kernels`, on one thread: as many as a worker has, so that sums have one order everywhere."""
    import scipy.linalg.cython_blas  # noqa: F401  the BLAS that numba calls: loaded now, so that it can be told

    from netpick.training.engines.compiled import kernels

    threadpoolctl.threadpool_limits(1, "blas")
    return kernels


def prepare() -> None:
    """Compile the kernels, for some twenty seconds, unless an earlier process has left them in the cache."""
    layers = [layer("Flatten"), layer("Linear", in_features=2, out_features=2), layer("LogSoftmax")]
    program = Program(layers, build(layers), Recipe(batch_size=2), (2,), 2, 2)
    images, one = np.ones((2, 2), np.float32), np.zeros(2, np.int64)
    program.train(images, one, np.arange(2))
    program.score(images)


class Program:
    """One network, ready to be trained and scored batch by batch.

    Parameters
    ----------
    layers : of the network, the last of them LogSoftmax
    model : made of them, on the CPU, in float32; its parameters are moved into one tensor, which is trained
    recipe : its optimizer and batch size
    image : shape of a sample
    samples : that are trained on: no batch has more
    together : samples that are scored at a time
    """

    def __init__(
        self,
        layers: Sequence[LayerSpec],
        model: nn.Sequential,
        recipe: Recipe,
        image: Sequence[int],
        samples: int,
        together: int,
    ) -> None:
        self.kernels = kernels()
        self.flat = FlatParameters(model)
        table = Table(layers, model, image)
        self.table, self.classes, size = np.stack(table.rows), table.classes, table.room + table.classes
        self.statistics = np.zeros(max(1, table.statistics), np.float32)
        self.norms = [self._adopt(*one) for one in table.norms]
        self.batch, self.together = min(recipe.batch_size, samples), together
        most = max(self.batch, together)
        pixels = math.prod(image)
        self.rows = np.empty((self.batch, pixels), np.float32)
        self.x = np.empty(pixels * most, np.float32)
        self.arena = np.empty(size * most, np.float32)
        self.d_arena = np.empty(size * self.batch, np.float32)
        self.taps = np.empty(max(1, table.taps), np.int64)
        self.turned = np.empty(max(1, table.turned), np.float32)
        self.values = self.flat.values.detach().numpy()
        gradient = self.flat.values.grad
        assert gradient is not None
        self.gradients = gradient.numpy()
        self.optimizer = self.kernels.OPTIMIZERS.index(recipe.optimizer)
        self.hyper, self.flags, amsgrad = hyperparameters(recipe)
        self.first, self.second, self.largest = (
            np.zeros(len(self.values) if used else 0, np.float32) for used in (True, recipe.optimizer != "SGD", amsgrad)
        )
        self.step = 0

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
            *(self.table, self.values, self.gradients, images, labels, order, self.batch, self.rows, self.x),
            *(self.arena, self.d_arena, self.taps, self.turned, self.classes, self.statistics, self.optimizer),
            *(self.first, self.second, self.largest, self.hyper, self.flags, self.step, losses),
        )
        for module in self.norms:
            module.num_batches_tracked.add_(len(losses))
        return losses

    def score(self, images: np.ndarray) -> np.ndarray:
        """Return the logarithms of the probabilities, (samples, classes) float32, of images (samples, pixels)."""
        scores = np.empty((len(images), self.classes), np.float32)
        for begin in range(0, len(images), self.together):
            self.kernels.score(
                *(self.table, self.values, images, begin, self.x, self.arena, self.taps, self.classes),
                self.statistics,
                scores[begin : begin + self.together],
            )
        return scores


def hyperparameters(recipe: Recipe) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return what `kernels.update` wants, in its order, with torch.optim's defaults; and whether amsgrad is on."""
    given: dict[str, Any] = dict(recipe.optimizer_args)
    flag = bool(given.get("amsgrad" if recipe.optimizer != "SGD" else "nesterov", False))
    if recipe.optimizer == "SGD":
        moments = (given.get("momentum", 0.0), given.get("dampening", 0.0))
    else:
        moments = tuple(given.get("betas", (0.9, 0.999)))
    decay = given.get("weight_decay", 0.01 if recipe.optimizer == "AdamW" else 0.0)
    hyper = np.array([recipe.lr, decay, *moments, given.get("eps", 1e-8)], np.float64)
    flags = np.array([bool(given.get("maximize", False)), flag])
    return hyper, flags, recipe.optimizer != "SGD" and flag


class Table:
    """What `kernels` works through: a row for each layer that computes, and the room that all of them need.

    Parameters
    ----------
    layers, model, image : as for `Program`; the parameters are in one tensor already

    Attributes
    ----------
    rows : of the table, each (kernels.COLUMNS,) int64
    classes : values that the last layer makes
    room : values of a sample that all layers make, but for the softmax
    taps, turned : the most weights of one output channel, and of one layer, of convolutions
    norms, statistics : the batch norms, each with where its statistics begin, and the room for all of them
    """

    def __init__(self, layers: Sequence[LayerSpec], model: nn.Sequential, image: Sequence[int]) -> None:
        self.k = kernels()
        self.rows: list[np.ndarray] = []
        self.at, self.room, self.taps, self.turned, self.statistics = -1, 0, 0, 0, 0
        self.norms: list[tuple[Any, int]] = []
        self.learning = False  # whether a layer before has parameters: only then its output's gradient is wanted
        self.shape = tuple(image)
        for one, module, after in zip(layers, model, shapes(layers, self.shape), strict=True):
            if isinstance(module, BasicBlock):
                self._block(module)
            elif one.op not in (*SHAPES, "LogSoftmax"):
                self._layer(module, after)
            self.shape = after
        (self.classes,) = self.shape

    def _row(self, kind: int, inputs: int, outputs: int, values: int) -> np.ndarray:
        """Append a row that takes the values that the last one made; `values` is how many it makes itself."""
        k = self.k
        row = np.zeros(k.COLUMNS, np.int64)
        row[[k.KIND, k.INPUT, k.OUTPUT, k.WANTED]] = kind, self.at, self.room, self.learning
        row[[k.INPUTS, k.OUTPUTS]] = inputs, outputs
        self.rows.append(row)
        self.at = self.room
        self.room += values
        return row

    def _parameters(self, row: np.ndarray, module: Any) -> None:
        self.learning = True
        row[self.k.WEIGHT] = module.weight.storage_offset()
        row[self.k.BIAS] = -1 if module.bias is None else module.bias.storage_offset()

    def _layer(self, module: Any, after: Sequence[int]) -> None:
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            self._conv(module)
        elif isinstance(module, nn.Linear):
            self._parameters(self._row(self.k.LINEAR, module.in_features, module.out_features, after[0]), module)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            self._norm(module)
        else:
            self._activation(type(module).__name__)

    def _activation(self, name: str) -> None:
        size = math.prod(self.shape)
        row = self._row(self.k.ACTIVATION, size, size, size)
        row[self.k.FUNCTION] = self.k.FUNCTIONS.index(name)

    def _conv(self, module: Any) -> None:
        k = self.k
        channels, *sizes = self.shape
        padding, stride, kernel, dilation = (
            (*(fill for _ in range(3 - len(sizes))), *given)
            for fill, given in (
                (0, module.padding),
                (1, module.stride),
                (1, module.kernel_size),
                (1, module.dilation),
            )
        )
        spatial = (*(1 for _ in range(3 - len(sizes))), *sizes)
        if any(padding):
            wider = tuple(size + 2 * more for size, more in zip(spatial, padding, strict=True))
            row = self._row(k.PAD, channels, channels * math.prod(wider), channels * math.prod(wider))
            row[k.SHAPE : k.SHAPE + 3], row[k.KERNEL : k.KERNEL + 3] = spatial, padding
            spatial = wider
        zipped = zip(spatial, dilation, kernel, stride, strict=True)
        after = [(size - d * (span - 1) - 1) // step + 1 for size, d, span, step in zipped]
        outputs = module.out_channels
        if kernel == spatial:  # it covers all of its input: a matrix product
            row = self._row(k.LINEAR, channels * math.prod(spatial), outputs, outputs)
        else:
            row = self._row(k.CONV, channels, outputs, outputs * math.prod(after))
            for column, three in (
                (k.SHAPE, spatial),
                (k.KERNEL, kernel),
                (k.STRIDE, stride),
                (k.DILATION, dilation),
            ):
                row[column : column + 3] = three
            self.taps = max(self.taps, module.weight[0].numel())
            self.turned = max(self.turned, module.weight.numel())
        self._parameters(row, module)
        self.shape = (outputs, *after[3 - len(sizes) :])

    def _norm(self, module: Any) -> None:
        k = self.k
        channels, *sizes = self.shape
        row = self._row(k.NORM, channels, channels, math.prod(self.shape))
        row[k.SHAPE : k.SHAPE + 3], row[k.OTHER] = (1, 1, math.prod(sizes)), self.statistics
        self.norms.append((module, self.statistics))
        self.statistics += 4 * channels
        self._parameters(row, module)

    def _block(self, block: BasicBlock) -> None:
        """Append a residual block: its main way, its short way, their sum."""
        k = self.k
        begin, shape, wanted = self.at, self.shape, self.learning
        first = len(self.rows)
        self._conv(block.conv1)
        # On the way back the short way writes the gradient of the block's input first, and the main way adds its own.
        self.rows[first][k.OTHER] = True
        self._norm(block.bn1)
        self._named(block.activation1)
        self._conv(block.conv2)
        self._norm(block.bn2)
        main = self.at
        self.at = begin
        if len(block.shortcut):
            self.shape, self.learning = shape, wanted
            self._conv(block.shortcut[0])
            self._norm(block.shortcut[1])
        short, self.at = self.at, main
        self.learning = True
        size = math.prod(self.shape)
        row = self._row(k.ADD, size, size, size)
        row[k.OTHER], row[k.WANTED] = short, wanted or len(block.shortcut) > 0
        self._named(block.activation2)

    def _named(self, activation: nn.Module) -> None:
        """Append the activation of a block, if it has one."""
        name = getattr(activation, "name", type(activation).__name__)
        if name != "Identity":
            self._activation(name)
