"""A row of the table of operations: what can be known of a layer without building it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from netpick.core.errors import SpecError
from netpick.networks.paper.arguments import Kind, Option

Shape = tuple[int, ...]
Args = Mapping[str, Any]


@dataclass(frozen=True)
class Operation:
    """What is known of an operation: shapes are per sample, without the batch dimension.

    `arguments` maps each argument that a network always says to its kind; `defaults` has those that may be left out.
    `options` are torch's further arguments: a network says them only where they differ from torch's default, so that a
    layer has one canonical form with or without them; `settled` makes it canonical where arguments depend on each
    other. `shape(input, args)` gives the output shape or raises SpecError; `params` and `macs` count from input shape,
    output shape and arguments. An operation with `join` takes the output of an earlier layer too, the one that its
    argument `from` says: `join(input, earlier, args)` then gives the output shape in place of `shape`.
    """

    role: str
    arguments: Mapping[str, Kind] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    shape: Callable[[Shape, Args], Shape] = lambda given, args: given
    params: Callable[[Shape, Shape, Args], int] = lambda given, out, args: 0
    macs: Callable[[Shape, Shape, Args], int] = lambda given, out, args: 0
    join: Callable[[Shape, Shape, Args], Shape] | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    settled: Callable[[dict[str, Any]], dict[str, Any]] = lambda args: args


def want_dims(name: str, given: Shape, dims: int) -> None:
    """Refuse an input that has not so many dimensions, the channels among them."""
    if len(given) != dims:
        wanted = {1: "[features]", 2: "[channels, length]", 3: "[channels, height, width]"}.get(
            dims, "[channels, depth, height, width]"
        )
        raise SpecError(f"{name} wants an input of shape {wanted}, got {list(given)}")
