"""A network as the table of numbers that `kernels` works through: a row for each layer that computes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from netpick.networks.modules.build import BasicBlock
from netpick.networks.paper.operations import ENDS
from netpick.networks.paper.spec import LayerSpec, shapes
from netpick.training.engines.compiled import ACTIVATIONS, SHAPES


class Table:
    """What `kernels` works through: a row for each layer that computes, and the room that all of them need.

    Parameters
    ----------
    kernels : the module, whose numbers are written
    layers, model, image : as for `Program`; the parameters are in one tensor already

    Attributes
    ----------
    rows : of the table, each (kernels.COLUMNS,) int64
    classes : values that the last layer makes
    room : values of a sample that all layers make, but for the softmax
    taps : the most weights that one value of a convolution goes through, or comes from
    product : the most weights of one linear layer
    norms, statistics : the batch norms, each with where its statistics begin, and the room for all of them
    """

    def __init__(self, kernels: Any, layers: Sequence[LayerSpec], model: nn.Sequential, image: Sequence[int]) -> None:
        self.k = kernels
        self.rows: list[np.ndarray] = []
        self.at, self.room, self.taps, self.product, self.statistics = -1, 0, 0, 0, 0
        self.norms: list[tuple[Any, int]] = []
        self.learning = False  # whether a layer before has parameters: only then its output's gradient is wanted
        self.shape = tuple(image)
        for layer, module, after in zip(layers, model, shapes(layers, self.shape), strict=True):
            if isinstance(module, BasicBlock):
                self._block(module)
            elif layer.op not in (*SHAPES, *ENDS):
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
        if row[self.k.KIND] == self.k.LINEAR:
            self.product = max(self.product, module.weight.numel())

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
        row[self.k.FUNCTION] = ACTIVATIONS.index(name)

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
            self.taps = max(self.taps, math.prod(kernel) * max(channels, outputs))
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
