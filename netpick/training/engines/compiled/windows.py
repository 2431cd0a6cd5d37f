"""Which values of a channel each place of a pooled or padded image is made of: the links that `kernels` follows.

Worked out once a network, for all channels alike, so that windows of any stride, padding and dilation, adaptive ones,
and all ways of padding are one pass of the kernels.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Axis = tuple[np.ndarray, np.ndarray]
"""Of one axis: what the window at each place sees (places, most), -1 for what lies outside; and what a mean counts."""

PADDINGS = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""By their names in torch.nn: what numpy.pad calls them."""


def pooled(module: Any, sizes: Sequence[int], after: Sequence[int]) -> np.ndarray:
    """Return the links of a pooling of torch.nn, of channels of these sizes; see `kernels.pool_largest`."""
    dims = len(sizes)

    def each(name: str, usual: int = 1) -> Sequence[int]:
        value = getattr(module, name, usual)
        return (value,) * dims if isinstance(value, int) else value

    if hasattr(module, "output_size"):
        axes = [_adaptive(size, places) for size, places in zip(sizes, after, strict=True)]
    else:
        windows = zip(sizes, after, each("kernel_size"), each("stride"), each("padding"), each("dilation"), strict=True)
        axes = [_sliding(*window) for window in windows]
    seen = _product([values for values, _ in axes], sizes)
    if getattr(module, "count_include_pad", False):
        counts = functools.reduce(np.multiply.outer, [count for _, count in axes]).ravel()
    else:
        counts = (seen >= 0).sum(1)
    if (divisor := getattr(module, "divisor_override", None)) is not None:
        counts = np.full(len(seen), divisor)
    return _links(seen, counts)


def padded(mode: str, sizes: Sequence[int], around: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the links of channels with something put around them: so much before and behind along each axis."""
    places = np.arange(math.prod(sizes)).reshape(sizes)
    filled: dict[str, Any] = {"constant_values": -1} if mode == "zeros" else {}
    seen = np.pad(places, around, PADDINGS[mode], **filled).reshape(-1, 1)  # type: ignore[call-overload]
    return _links(seen, np.ones(len(seen), np.int64))


def _sliding(size: int, places: int, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
    starts = np.arange(places) * stride - padding
    seen = starts[:, None] + np.arange(kernel) * dilation
    # With the padding, but without what a window that begins in the input has behind it.
    return np.where((seen >= 0) & (seen < size), seen, -1), np.minimum(starts + kernel, size + padding) - starts


def _adaptive(size: int, places: int) -> Axis:
    number = np.arange(places)
    starts, ends = number * size // places, -(-(number + 1) * size // places)
    seen = starts[:, None] + np.arange((ends - starts).max())
    return np.where(seen < ends[:, None], seen, -1), ends - starts


def _product(axes: Sequence[np.ndarray], sizes: Sequence[int]) -> np.ndarray:
    """Return what windows over all axes see, (places, most), in the order of the channel; -1 for what lies outside."""
    dims = len(axes)
    number: Any = 0
    outside: Any = False
    for axis, (values, size) in enumerate(zip(axes, sizes, strict=True)):
        shape = [1] * (2 * dims)
        shape[axis], shape[dims + axis] = values.shape
        here = values.reshape(shape)
        number, outside = number * size + here, outside | (here < 0)
    places = math.prod(len(values) for values in axes)
    return np.where(outside, -1, number).reshape(places, -1)


def _links(seen: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return where the links of each place and behind the last begin, what a mean is divided by, and the links."""
    inside = seen >= 0
    head = 2 * len(seen) + 1
    begins = head + np.array([0, *itertools.accumulate(inside.sum(1).tolist())])
    return np.concatenate([begins, counts, seen[inside]]).astype(np.int64)
