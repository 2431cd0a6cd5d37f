"""The decisions of a cell: drawn at random from its ranges, or read off a combination of its grid.

Both answer the questions of `sketch.Decisions`. A draw spends a random number for an option only where the option is
used, so that a template without it gives the networks that it gave before there was such an option.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from netpick.core.errors import SpecError
from netpick.networks.catalogue.cells import SampledCell
from netpick.networks.catalogue.layouts import cubic_factorisation, cuts_of, factorisations
from netpick.networks.paper.operation import Shape


class Sampler:
    """Decisions drawn at random from the ranges of a cell; integers uniform, booleans with a probability.

    Depths of a table are dealt in turn, not drawn.
    """

    def __init__(self, cell: SampledCell, activation: str, rng: random.Random) -> None:
        self.cell, self.activation, self.rng = cell, activation, rng
        self._depths = _in_turn(cell.depth) if isinstance(cell.depth, dict) else None
        self._dealt: int | None = None

    def next_network(self) -> None:
        """Begin with another network, which may be drawn several times before one of them can be used."""
        self._dealt = next(self._depths) if self._depths else None

    def _range(self, key: str) -> tuple[int, int]:
        value = getattr(self.cell, key)
        return (value[0], value[1]) if isinstance(value, list) else (value, value)

    def _between(self, key: str, most: int | None = None, least: int = 1) -> int:
        low, high = self._range(key)
        high = min(high, most) if most is not None else high
        low = max(min(low, high), min(least, high))
        return self.rng.randint(low, max(low, high))

    def _chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def _each(self, key: str, most: Sequence[int], least: int = 1) -> tuple[int, ...]:
        """Draw one number a dimension, or one for all; none is drawn where the key says `least` alone."""
        if self._range(key) == (least, least):
            return (least,) * len(most)
        if self._chance(self.cell.square):
            return (self._between(key, min(most), least),) * len(most)
        return tuple(self._between(key, size, least) for size in most)

    def depth(self, least: int) -> int:
        depth = self._between("depth", least=least) if self._dealt is None else self._dealt
        if depth < least:
            raise SpecError(f"depth {depth} is too small, the least is {least}")
        return depth

    def linear_depth(self, most: int) -> int:
        return self._between("linear_depth", most)

    def width(self, at: int, most: int, keep: Shape | None = None) -> int:
        return keep[0] if keep else self._between("features", most)

    def conv(self, at: int, given: Shape, left: int, keep: Shape | None = None) -> dict[str, Any]:
        cell, sizes = self.cell, given[1:]
        room = tuple(max(1, size - left) for size in sizes) if cell.leave_room else sizes
        same = keep is not None or cell.padding == "same"
        channels = keep[0] if keep else self._between("channels")
        kernel = self._odd_kernel(room) if same else self._kernel(room)
        args: dict[str, Any] = {"out_channels": channels, "kernel_size": list(kernel), "bias": self.bias(at)}
        spread = [(size - 1) // (k - 1) if k > 1 else 1 for size, k in zip(room, kernel, strict=True)]
        dilation = self._each("dilation", spread)
        spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        half = [(span - 1) // 2 for span in spans]  # with more than half the kernel the image would grow
        padding = half if same else self._each("padding", half, least=0)
        places = [s + 2 * p - span for s, p, span in zip(sizes, padding, spans, strict=True)]
        # With larger strides the convolutions that follow would have no room.
        stride = (1,) * len(sizes)
        if keep is None:
            stride = self._each("conv_stride", [max(1, n // left if left else n + 1) for n in places])
        groups = self._groups(given[0], keep)
        if groups > 1 and not keep:
            args["out_channels"] = max(groups, channels - channels % groups)
        args |= _spelt(stride=stride, padding=padding, dilation=dilation)
        return args | ({"groups": groups} if groups > 1 else {})

    def _kernel(self, room: tuple[int, ...]) -> tuple[int, ...]:
        if self._chance(self.cell.square):
            return (self._between("kernel_size", min(room)),) * len(room)
        return tuple(self._between("kernel_size", size) for size in room)

    def _odd_kernel(self, room: tuple[int, ...]) -> tuple[int, ...]:
        """Draw odd sizes, whose padding can be the same on both sides."""
        low, high = self._range("kernel_size")

        def odd(most: int) -> int:
            top = min(high, most)
            choices = range(low | 1, top + 1, 2) or range(top - 1 + top % 2, top + 1, 2)
            return choices[self.rng.randrange(len(choices))]

        if self._chance(self.cell.square):
            return (odd(min(room)),) * len(room)
        return tuple(odd(size) for size in room)

    def _groups(self, channels: int, keep: Shape | None) -> int:
        if channels > 1 and self.cell.depthwise and self._chance(self.cell.depthwise):
            return channels if not keep or keep[0] % channels == 0 else 1
        low, high = self._range("groups")
        if high == 1:
            return 1
        fits = [g for g in range(low, min(high, channels) + 1) if channels % g == 0 and not (keep and keep[0] % g)]
        return fits[self.rng.randrange(len(fits))] if fits else 1

    def planes(self, at: int, given: Shape, keep: Shape | None = None) -> int:
        if self.cell.planes == "same":
            return given[0]
        return keep[0] if keep else self._between("planes")

    def stride(self, at: int, keep: Shape | None = None) -> int:
        return 1 if keep else self._between("stride")

    def bias(self, at: int) -> bool:
        return self._chance(self.cell.bias)

    def activate(self, hidden: int) -> list[bool]:
        active = [self._chance(self.cell.activate) for _ in range(hidden)]
        if self.activation != "None" and not any(active):
            if not hidden:
                raise SpecError(f"{self.activation} has no place: depth 1 has no hidden layer to follow")
            active[self.rng.randrange(hidden)] = True
        return active

    def batch_norm(self) -> bool:
        return self.cell.batch_norm > 0 and self._chance(self.cell.batch_norm)

    def skip(self, earlier: list[int]) -> int | None:
        if not earlier or not self.cell.skip or not self._chance(self.cell.skip):
            return None
        return earlier[self.rng.randrange(len(earlier))]

    def pool(self, at: int, sizes: Shape, left: int) -> tuple[str, list[int]] | None:
        if not self.cell.pool or not self._chance(self.cell.pool):
            return None
        size = self._each("pool_size", [max(1, whole // (left + 1)) for whole in sizes])
        kind = self.cell.pool_kind[self.rng.randrange(len(self.cell.pool_kind))]
        return None if max(size) == 1 else (kind.title(), list(size))

    def global_pool(self) -> bool:
        return self.cell.global_pool > 0 and self._chance(self.cell.global_pool)

    def dropout(self) -> float | None:
        if not self.cell.dropout or not self._chance(self.cell.dropout):
            return None
        value = self.cell.dropout_p
        low, high = value if isinstance(value, list) else (value, value)
        return round(low + (high - low) * self.rng.random(), 3)

    def input_shape(self, dims: int, image: Shape) -> Shape | None:
        wanted = self.cell.input_shape
        if wanted == "random":
            cuts = cuts_of(math.prod(image), dims + 1)
            return cuts[self.rng.randrange(len(cuts))]
        return _given_input(wanted, dims, image)

    def factorisation(self, height: int, width: int) -> Shape:
        wanted = self.cell.factorisation
        if wanted == "random":
            cuts = factorisations(height * width)
            return cuts[self.rng.randrange(len(cuts))]
        return _given_factorisation(wanted, height, width)

    def end(self) -> str:
        return self.cell.end[self.rng.randrange(len(self.cell.end))]


def _in_turn(shares: Mapping[str, int]) -> Iterator[int]:
    """Yield each number as often as its share says, so that the first few have them in the same proportions too."""
    behind = dict.fromkeys(shares, 0)
    while True:
        behind = {key: behind[key] + share for key, share in shares.items()}
        chosen = max(behind, key=lambda key: behind[key])
        behind[chosen] -= sum(shares.values())
        yield int(chosen)


class Combination:
    """Decisions read off one combination of a grid."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values, self.activation = values, values["activation"]

    def _at(self, key: str, at: int) -> Any:
        value = self.values[key]
        if not isinstance(value, list):
            return value
        if at >= len(value):
            raise SpecError(f"{key} = {value} has no value for hidden layer {at + 1}")
        return value[at]

    def _each(self, key: str, at: int, dims: int) -> tuple[int, ...]:
        value = self._at(key, at)
        sizes = tuple(value) if isinstance(value, list) else (value,) * dims
        if len(sizes) != dims:
            raise SpecError(f"{key} = {value} has {len(sizes)} sizes, and the convolution {dims} dimensions")
        return sizes

    def depth(self, least: int) -> int:
        if self.values["depth"] < least:
            raise SpecError(f"depth {self.values['depth']} is too small, the least is {least}")
        return self.values["depth"]

    def linear_depth(self, most: int) -> int:
        if self.values["linear_depth"] > most:
            raise SpecError(f"linear_depth {self.values['linear_depth']} leaves no convolution, the most is {most}")
        return self.values["linear_depth"]

    def width(self, at: int, most: int, keep: Shape | None = None) -> int:
        return self._at("features", at)

    def conv(self, at: int, given: Shape, left: int, keep: Shape | None = None) -> dict[str, Any]:
        dims = len(given) - 1
        kernel = self._kernel(at, given[1:])
        args: dict[str, Any] = {"out_channels": self._at("channels", at), "kernel_size": list(kernel)}
        args["bias"] = self.bias(at)
        dilation = self._each("dilation", at, dims)
        if self.values["padding"] == "same":
            spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
            if any(span % 2 for span in spans):
                raise SpecError(f'padding = "same" wants odd kernels, got {list(kernel)}')
            padding = tuple(span // 2 for span in spans)
        else:
            padding = self._each("padding", at, dims)
        args |= _spelt(stride=self._each("conv_stride", at, dims), padding=padding, dilation=dilation)
        groups = given[0] if self.values["groups"] == "depthwise" else self._at("groups", at)
        return args | ({"groups": groups} if groups > 1 else {})

    def _kernel(self, at: int, sizes: Shape) -> tuple[int, ...]:
        """Return the kernel; cut to what fits where the sizes are none that the template's author could know.

        That is in a Conv3d, whose three sizes are worked out from the image, and in images that are one row.
        """
        kernel = self._each("kernel_size", at, len(sizes))
        if isinstance(self._at("kernel_size", at), list) or self.values["padding"] != 0:
            return kernel
        cut = (min(k, size) if len(sizes) == 3 or size == 1 else k for k, size in zip(kernel, sizes, strict=True))
        return tuple(cut)

    def planes(self, at: int, given: Shape, keep: Shape | None = None) -> int:
        return self._at("planes", at)

    def stride(self, at: int, keep: Shape | None = None) -> int:
        return self._at("stride", at)

    def bias(self, at: int) -> bool:
        return self.values["bias"]

    def activate(self, hidden: int) -> list[bool]:
        return [True] * hidden

    def batch_norm(self) -> bool:
        return self.values["batch_norm"]

    def skip(self, earlier: list[int]) -> int | None:
        return earlier[-1] if earlier and self.values["skip"] else None

    def pool(self, at: int, sizes: Shape, left: int) -> tuple[str, list[int]] | None:
        if not self.values["pool"]:
            return None
        size = self._each("pool_size", at, len(sizes))
        return None if max(size) == 1 else (self.values["pool_kind"].title(), list(size))

    def global_pool(self) -> bool:
        return self.values["global_pool"]

    def dropout(self) -> float | None:
        return self.values["dropout_p"] if self.values["dropout"] else None

    def input_shape(self, dims: int, image: Shape) -> Shape | None:
        return _given_input(self.values["input_shape"], dims, image)

    def factorisation(self, height: int, width: int) -> Shape:
        return _given_factorisation(self.values["factorisation"], height, width)

    def end(self) -> str:
        return self.values["end"]


def _spelt(**sizes: Sequence[int]) -> dict[str, list[int]]:
    """Return the arguments of a convolution that are not as torch has them by default."""
    return {key: list(value) for key, value in sizes.items() if set(value) != {0 if key == "padding" else 1}}


def _given_input(wanted: object, dims: int, image: Shape) -> Shape | None:
    if wanted == "image" or (wanted == "cubic" and dims != 1):
        return None
    if wanted == "cubic":
        channels, *sizes = image
        deep, *flat = cubic_factorisation(*sizes)
        return channels * deep, math.prod(flat)
    shape: Shape = tuple(wanted)  # type: ignore[arg-type]
    if math.prod(shape) != math.prod(image) or len(shape) != dims + 1:
        raise SpecError(f"input_shape {list(shape)} is not {dims + 1} numbers with the product {math.prod(image)}")
    return shape


def _given_factorisation(wanted: object, height: int, width: int) -> Shape:
    if wanted == "cubic":
        return cubic_factorisation(height, width)
    shape: Shape = tuple(wanted)  # type: ignore[arg-type]
    if math.prod(shape) != height * width:
        raise SpecError(f"factorisation {list(shape)} does not make {height}×{width} = {height * width}")
    return shape
