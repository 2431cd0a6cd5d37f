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
from netpick.training.engines.compiled import SHAPES
from netpick.training.engines.compiled.activations import ACTIVATIONS
from netpick.training.engines.compiled.slopes import place_slopes
from netpick.training.engines.compiled.windows import padded, pooled

ALPHA = 1.7580993408473766
"""Of AlphaDropout: what SELU comes to for numbers far below 0, in size (Klambauer et al. 2017, arXiv 1706.02515)."""

IN_PLACE = ("RELU", "TANH", "SIGMOID", "SELU", "ELU", "LEAKY_RELU")
"""Activations whose slope follows from what they make; of the last two, if their first number isn't below 0."""


class Table:
    """What `kernels` works through: a row for each layer that computes, and the room that all of them need.

    Parameters
    ----------
    kernels : the module, whose numbers are written
    layers, model, image : as for `Program`; the parameters are in one tensor already
    bf16 : whether products of convolutions are of bf16

    Attributes
    ----------
    rows : of the table, each (kernels.COLUMNS,) int64
    numbers : four of each row
    links : what poolings read, those of all rows one after another
    classes : values that the last layer makes
    room : values of a sample that all layers make, with the softmax, and that some need for a while
    slopes : gradients of a sample that there are at the same time, at most
    taps : the most weights that one value of a layer goes through, or comes from
    product : the most weights of one layer
    words, more_words : words that convolutions with products of bf16 need for each sample, and for their weights
    norms, statistics : the batch norms, each with where its statistics begin, and the room for all of them
    dropouts : of each, the masks' numbers of a sample, and the share of them that is 0
    """

    def __init__(
        self,
        kernels: Any,
        layers: Sequence[LayerSpec],
        model: nn.Sequential,
        image: Sequence[int],
        bf16: bool = False,
    ) -> None:
        self.k, self.bf16 = kernels, bf16
        self.words = self.more_words = 0
        self.rows: list[np.ndarray] = []
        self.numbers: list[tuple[float, ...]] = []
        self.links: list[int] = []
        self.dropouts: list[tuple[int, float]] = []
        self.at, self.room, self.reach, self.taps, self.product, self.statistics = -1, 0, 0, 0, 0, 0
        self.norms: list[tuple[Any, int]] = []
        self.made: list[tuple[int, int]] = []  # what layers make: where it begins, and how many gradients it has
        self.learning = False  # whether a layer before has parameters: only then its output's gradient is wanted
        self.shape = tuple(image)
        for layer, module, after in zip(layers, model, shapes(layers, self.shape), strict=True):
            if isinstance(module, BasicBlock):
                self._block(module)
            elif layer.op not in ENDS:
                self._layer(module, after)
            self.shape = after
        (self.classes,) = self.shape
        self.reach = max(self.reach, self.room + self.classes)
        self.slopes = place_slopes(kernels, self.rows, self.made, self.classes)
        self.room = self.reach

    def _row(self, kind: int, inputs: int, outputs: int, values: int, numbers: Sequence[float] = ()) -> np.ndarray:
        """Append a row that takes the values that the last one made; `values` is how many it makes itself."""
        k = self.k
        row = np.zeros(k.COLUMNS, np.int64)
        row[[k.KIND, k.INPUT, k.OUTPUT, k.WANTED]] = kind, self.at, self.room, self.learning
        row[[k.INPUTS, k.OUTPUTS, k.WEIGHT, k.BIAS]] = inputs, outputs, -1, -1
        self.rows.append(row)
        self.numbers.append((*numbers, *(0.0 for _ in range(4 - len(numbers)))))
        if values:
            self.made.append((self.room, values))
        self.at = self.room
        self.room += values
        return row

    def _parameters(self, row: np.ndarray, module: Any) -> None:
        for column, name in ((self.k.WEIGHT, "weight"), (self.k.BIAS, "bias")):
            values = getattr(module, name, None)
            if values is not None:
                self.learning = True
                row[column] = values.storage_offset()
        if row[self.k.KIND] == self.k.LINEAR:
            self.product = max(self.product, module.weight.numel())
            self.taps = max(self.taps, int(row[self.k.INPUTS]), int(row[self.k.OUTPUTS]))
            self.reach = max(self.reach, int(row[self.k.OUTPUT] + row[self.k.INPUTS]))

    def _keep(self, values: int) -> int:
        """Return where there is room for what the next layer keeps for its way back."""
        self.room += values
        return self.room - values

    def _layer(self, module: Any, after: Sequence[int]) -> None:
        name = getattr(module, "name", type(module).__name__)  # of an activation that works in place
        if name.startswith("Conv"):
            self._conv(module)
        elif name == "Linear":
            self._parameters(self._row(self.k.LINEAR, module.in_features, module.out_features, after[0]), module)
        elif name.startswith("BatchNorm"):
            self._norm(module)
        elif name in ("LayerNorm", "GroupNorm"):
            self._sample_norm(module)
        elif "Pool" in name:
            self._linked(self.k.LARGEST if "Max" in name else self.k.MEAN, pooled(module, self.shape[1:], after[1:]))
        elif "Dropout" in name:
            self._dropout(module)
        elif name == "PReLU":
            self._slopes(module)
        elif name not in SHAPES:
            self._activation(*ACTIVATIONS[name](module))

    def _activation(self, function: str, *numbers: float) -> None:
        """Append an activation: in the place of its input, where neither that nor what made it wants it again."""
        k, size = self.k, math.prod(self.shape)
        falls = function in IN_PLACE and min(numbers[:1], default=0.0) < 0
        alone = self.at >= 0 and self.rows[-1][k.KIND] != k.ACTIVATION
        there = self.at if function in IN_PLACE and alone and not falls else None
        row = self._row(k.ACTIVATION, size, size, size if there is None else 0, numbers)
        row[k.FUNCTION] = getattr(k, function)
        if there is not None:
            row[k.OUTPUT] = self.at = there

    def _linked(self, kind: int, links: np.ndarray) -> None:
        """Append a row whose values are made of some of its channel's, at the end of `self.links`."""
        k, first = self.k, len(self.links)
        channels, places = self.shape[0], int(links[0] - 1) // 2
        links[: places + 1] += first
        self.links += links.tolist()
        kept = self._keep(channels * places if kind == k.LARGEST else 0)
        row = self._row(kind, channels, places, channels * places)
        row[k.SHAPE + 2], row[k.OTHER], row[k.KEPT] = math.prod(self.shape[1:]), first, kept

    def _dropout(self, module: Any) -> None:
        k, p, size = self.k, module.p, math.prod(self.shape)
        if p == 0:
            return  # torch draws nothing either
        numbers = [1 / (1 - p)]
        if isinstance(module, nn.AlphaDropout):
            scale = 1 / math.sqrt((ALPHA**2 * p + 1) * (1 - p))
            numbers = [scale, ALPHA * scale * p, ALPHA * scale * (p - 1)]
        channels = size if isinstance(module, nn.Dropout | nn.AlphaDropout) else self.shape[0]
        kept = self._keep(channels)
        row = self._row(k.DROPOUT, channels, channels, size, numbers)
        row[k.SHAPE + 2], row[k.OTHER], row[k.KEPT] = size // channels, sum(many for many, _ in self.dropouts), kept
        self.dropouts.append((channels, p))

    def _slopes(self, module: Any) -> None:
        size, slopes = math.prod(self.shape), module.num_parameters
        row = self._row(self.k.SLOPE, slopes, slopes, size)
        row[self.k.SHAPE + 2] = size // slopes
        self._parameters(row, module)

    def _conv(self, module: Any) -> None:
        k = self.k
        channels, *sizes = self.shape
        flat = 3 - len(sizes)
        stride, kernel, dilation = (
            (*(1,) * flat, *getattr(module, name)) for name in ("stride", "kernel_size", "dilation")
        )
        spatial = (*(1,) * flat, *sizes)
        around = [(0, 0)] * flat + _around(module)
        beside = [0, 0, 0]
        if any(map(any, around)):
            wider = tuple(size + sum(more) for size, more in zip(spatial, around, strict=True))
            if module.padding_mode == "zeros" and all(before == behind for before, behind in around):
                values = channels * math.prod(wider[:2]) * side_by_side(wider[2], stride[2])
                row = self._row(k.PAD, channels, values, values)
                beside = [before for before, _ in around]
                row[k.SHAPE : k.SHAPE + 3], row[k.KERNEL : k.KERNEL + 3] = spatial, beside
                row[k.STRIDE : k.STRIDE + 3] = stride
                self.made[-1] = self.at, channels * math.prod(spatial)
            else:
                self._linked(k.MEAN, padded(module.padding_mode, spatial, around))
            spatial = wider
        zipped = zip(spatial, dilation, kernel, stride, strict=True)
        after = [(size - d * (span - 1) - 1) // step + 1 for size, d, span, step in zipped]
        outputs, groups = module.out_channels, module.groups
        if kernel == spatial and groups == 1 and not any(beside):  # it covers all of its input: a matrix product
            self._parameters(self._row(k.LINEAR, channels * math.prod(spatial), outputs, outputs), module)
        else:
            wide = side_by_side(spatial[2], stride[2]) if any(beside) else spatial[2]
            first, begin, wanted, weights = self.at, self.room, self.learning, module.weight.numel() // groups
            inner = math.prod(size - 2 * more for size, more in zip(spatial, beside, strict=True))
            for group in range(groups):  # each of them a convolution by itself
                self.learning, before = wanted, group * (channels // groups) * math.prod(spatial[:2]) * wide
                self.at = first + before if first >= 0 else first - before
                widened = outputs // groups * after[0] * after[1] * (after[2] + 2 * dilation[2] * (kernel[2] - 1))
                self.reach = max(self.reach, self.room + max(widened, channels // groups * spatial[2]))
                row = self._row(k.CONV, channels // groups, outputs // groups, outputs // groups * math.prod(after))
                for column, three in zip(
                    (k.SHAPE, k.KERNEL, k.STRIDE, k.DILATION), (spatial, kernel, stride, dilation), strict=True
                ):
                    row[column : column + 3] = three
                self._parameters(row, module)
                row[k.AROUND : k.AROUND + 3] = beside
                self._bf16(row, math.prod(spatial[:2]) * side_by_side(spatial[2], stride[2]), widened)
                if stride[2] > 1:
                    split = channels // groups * math.prod(spatial[:2]) * side_by_side(spatial[2], stride[2])
                    self.reach = max(self.reach, self.room + split)
                # From where those of the first one begin.
                row[k.INPUT_SLOPE] = group * (channels // groups) * inner
                row[k.OUTPUT_SLOPE] = group * (outputs // groups) * math.prod(after)
                row[k.WEIGHT] += group * weights
                row[k.BIAS] += group * (outputs // groups) if module.bias is not None else 0
            self.at = begin
            self.made[-groups:] = [(begin, self.room - begin)]
            self.taps = max(self.taps, math.prod(kernel) * max(channels, outputs) // groups)
            self.product = max(self.product, weights)
        self.shape = (outputs, *after[flat:])

    def _bf16(self, row: np.ndarray, places: int, widened: int) -> None:
        """Note that a convolution's products are of bf16, where they are to be, and the room for them."""
        k = self.k
        inputs, outputs = int(row[k.INPUTS]), int(row[k.OUTPUTS])
        in_pairs = inputs > 1 or row[k.KERNEL + 1] > 1 or (row[k.KERNEL + 2] > 1 and row[k.STRIDE + 2] == 1)
        if not self.bf16 or not in_pairs:
            return
        row[k.BF16] = True
        lines, pairs = math.prod(k.places(row, axis) for axis in range(2)), -(-outputs // 2)
        made = lines * int(k.places(row, 2))
        weights = inputs * math.prod(int(size) for size in row[k.KERNEL : k.KERNEL + 3])
        both = inputs * places + outputs * made  # two in a word
        self.words = max(self.words, -(-inputs // 2) * places, -(-both // 2), pairs * made + widened)
        register = 2 * k.VECTOR
        self.more_words = max(self.more_words, 2 * pairs * weights, outputs * weights, register * (outputs * lines + 1))

    def _norm(self, module: Any) -> None:
        k = self.k
        channels, *sizes = self.shape
        row = self._row(k.NORM, channels, channels, math.prod(self.shape), (module.eps, module.momentum))
        row[k.SHAPE : k.SHAPE + 3], row[k.OTHER] = (1, 1, math.prod(sizes)), self.statistics
        self.norms.append((module, self.statistics))
        self.statistics += 4 * channels
        self._parameters(row, module)

    def _sample_norm(self, module: Any) -> None:
        """Append a norm of each sample: all groups have the weights of a LayerNorm, each channel one of a GroupNorm."""
        k, size = self.k, math.prod(self.shape)
        if isinstance(module, nn.LayerNorm):
            span, weights = 1, math.prod(module.normalized_shape)
            groups = size // weights
        else:
            groups, weights = module.num_groups, module.num_channels
            span = size // weights
        kept = self._keep(2 * groups)
        row = self._row(k.SAMPLE_NORM, groups, size // groups, size, (module.eps,))
        row[k.SHAPE : k.SHAPE + 3], row[k.KEPT] = (span, weights, 1), kept
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
        self._layer(block.activation1, self.shape)
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
        self._layer(block.activation2, self.shape)


def side_by_side(width: int, stride: int) -> int:
    """Return how many columns there are when those that are a stride apart lie side by side, each place's as many."""
    return -(-width // stride) * stride


def _around(module: Any) -> list[tuple[int, int]]:
    """Return what a convolution puts before and behind its input along each axis."""
    if module.padding != "same":
        return [(more, more) for more in module.padding]
    spans = zip(module.kernel_size, module.dilation, strict=True)
    return [(more // 2, more - more // 2) for more in (step * (span - 1) for span, step in spans)]
