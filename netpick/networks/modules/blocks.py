"""Networks that are no straight line: layers that take the output of an earlier layer too.

`Skipping` is an `nn.Sequential` whose forward pass keeps the outputs that are asked for again, and hands them on. Its
parameters have the names that they have without the skips. What a skip may go back to is checked by `spec.check`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class _Join(nn.Module):
    """A layer of two inputs; `source` is the number of the layer whose output is the second, -1 the network's input."""

    def __init__(self, source: int) -> None:
        super().__init__()
        self.source = source

    def extra_repr(self) -> str:
        return f"from={self.source}"


class Add(_Join):
    """The sum of its input and an earlier output of the same shape: a skip connection as in a ResNet."""

    def forward(self, x: Tensor, earlier: Tensor) -> Tensor:
        return x + earlier


class Concat(_Join):
    """The channels of its input, then those of an earlier output: a skip connection as in a DenseNet."""

    def forward(self, x: Tensor, earlier: Tensor) -> Tensor:
        return torch.cat([x, earlier], dim=1)


JOINS: dict[str, type[_Join]] = {"Add": Add, "Concat": Concat}


def make_join(op: str, args: Mapping[str, Any]) -> nn.Module:
    """Make a layer that joins two tensors; `from` is a word of Python's, and so no argument of a class."""
    return JOINS[op](args["from"])


class Skipping(nn.Sequential):
    """Layers in a row, some of which take an earlier output too. An output is let go of after its last use."""

    def __init__(self, modules: Sequence[nn.Module], last: Mapping[int, int]) -> None:
        super().__init__(*modules)
        self.last = dict(last)

    def forward(self, x: Tensor) -> Tensor:
        kept = {-1: x} if -1 in self.last else {}
        for index, module in enumerate(self):
            if isinstance(module, _Join):
                x = module(x, kept[module.source])
                if self.last[module.source] == index:
                    del kept[module.source]
            else:
                x = module(x)
            if index in self.last:
                kept[index] = x
        return x
