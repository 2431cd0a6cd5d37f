"""Sweeps: the values of a recipe that a template gives as lists, and what a swept value is called.

A recipe as written may have lists: every combination of their values is a recipe of its own, and a network trained by
each of them is as many students. Plain values in and out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from netpick.core.errors import TemplateError, listed
from netpick.core.recipe import OPTIMIZERS, SWEEPABLE, Recipe

MOST = 100_000
"""Students (networks × recipes) that a template or a file of networks may ask for: they are drawn in minutes."""


class Combination(NamedTuple):
    """One recipe of a sweep, as plain values, and those of them that were in a list; an optimizer's args by name."""

    values: dict[str, Any]
    swept: dict[str, Any]


def merged(run: Mapping[str, Any], cell: Mapping[str, Any], source: str, where: str) -> dict[str, Any]:
    """Return the recipe of a cell as written: the run's, with the cell's own values in their place.

    The run's `optimizer_args`, where they are not written for each optimizer, are those of the run's optimizer alone:
    a cell that names another one begins with none.
    """
    out = {**run, **cell}
    if "optimizer" not in cell and "optimizer_args" not in cell:
        return out
    tables = _by_optimizer(run, source, "recipe")
    if "optimizer_args" in cell:
        own = _by_optimizer({**out, "optimizer_args": cell["optimizer_args"]}, source, where)
        tables.update(own or {name: {} for name in OPTIMIZERS})  # an empty table means none
    return {**out, "optimizer_args": tables}


def check_lists(written: Mapping[str, Any], source: str, where: str) -> None:
    """Refuse lists that are empty, and those of keys that can't be swept."""
    for key, value in written.items():
        if not isinstance(value, list):
            continue
        if key in Recipe.__struct_fields__ and key not in SWEEPABLE:
            why = "all networks of a run are judged on the same samples; " if key in ("validation", "folds") else ""
            raise TemplateError(
                f"{source}: {where}.{key}: can't be swept, got {value!r:.80}: {why}lists can be given for "
                f"{listed(SWEEPABLE, 20)}"
            )
        if not value:
            raise TemplateError(f"{source}: {where}.{key}: a sweep needs at least one value, got []")
    for name, args in _by_optimizer(written, source, where).items():
        for key, value in args.items():
            if value == []:
                raise TemplateError(
                    f"{source}: {where}.optimizer_args.{key}: a sweep needs at least one value, got [] for {name}"
                )


def count(written: Mapping[str, Any], source: str, where: str) -> int:
    """Return how many combinations a recipe as written has, without making them."""
    others = math.prod(len(v) for k, v in written.items() if isinstance(v, list) and k != "optimizer")
    tables = _by_optimizer(written, source, where)
    each = (tables.get(str(name), {}).items() for name in _optimizers(written))
    return others * sum(math.prod(len(v) for k, v in args if _is_swept(k, v)) for args in each)


def combinations(written: Mapping[str, Any], source: str, where: str) -> Iterator[Combination]:
    """Yield every combination of the lists in a recipe as written; of one without lists, the recipe itself.

    Raises
    ------
    TemplateError
        Arguments that are not written for each optimizer, where there are several.
    """
    tables = _by_optimizer(written, source, where)
    plain = {k: v for k, v in written.items() if k != "optimizer_args"}
    lists = {k: v for k, v in plain.items() if isinstance(v, list)}
    for chosen in itertools.product(*lists.values()):
        picked = dict(zip(lists, chosen, strict=True))
        values = {**plain, **picked}
        args = tables.get(str(_optimizers(values)[0]), {})
        swept = {k: v for k, v in args.items() if _is_swept(k, v)}
        for arguments in itertools.product(*swept.values()):
            own = dict(zip(swept, arguments, strict=True))
            yield Combination({**values, "optimizer_args": {**args, **own}}, {**picked, **own})


def suffix(values: Mapping[str, Any]) -> str:
    """Return what the name of a student ends in, such as `.lr-0.01.batch_size-32`; "" for no values."""
    return "".join(f".{key}-{word(value)}" for key, value in values.items())


def word(value: Any) -> str:
    """Write a value of a recipe with the characters that a name may have; different values differ."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "_".join(map(word, value))
    if isinstance(value, dict):
        return "_".join(f"{key}-{word(part)}" for key, part in value.items()) or "none"
    if isinstance(value, float):
        short = f"{value:g}"
        return (short if float(short) == value else repr(value)).replace("+", "")
    return str(value)


def base_name(name: str) -> str:
    """Return the name of a student without the values that were swept: what its network is called."""
    args = {arg for names in OPTIMIZERS.values() for arg in names} | {"shuffle"}  # as `order` was called
    for place, letter in enumerate(name):
        if letter == "." and place and name[place + 1 :].partition("-")[0] in {*Recipe.__struct_fields__, *args}:
            return name[:place]
    return name


def _optimizers(written: Mapping[str, Any]) -> list[str]:
    value = written.get("optimizer", Recipe().optimizer)
    return value if isinstance(value, list) else [value]


def _is_swept(argument: str, value: Any) -> bool:
    """Whether the value of an optimizer's argument is a list of values; `betas` is a pair by itself."""
    return isinstance(value, list) and (argument != "betas" or any(isinstance(pair, list) for pair in value))


def _is_by_optimizer(args: Any, source: str, where: str) -> bool:
    """Whether the arguments are written as a table for each optimizer."""
    if not isinstance(args, dict):
        raise TemplateError(f"{source}: {where}.optimizer_args: expected a table, got {args!r:.80}")
    tables = [key for key, value in args.items() if isinstance(value, dict)]
    if not tables:
        return False
    for key, value in args.items():
        if key not in OPTIMIZERS or not isinstance(value, dict):
            raise TemplateError(
                f"{source}: {where}.optimizer_args.{key}: among tables for optimizers there are only such, "
                f"of {listed(OPTIMIZERS)}, got {value!r:.80}"
            )
    return True


def _by_optimizer(written: Mapping[str, Any], source: str, where: str) -> dict[str, dict[str, Any]]:
    """Return the arguments of each optimizer."""
    args = written.get("optimizer_args", {})
    if _is_by_optimizer(args, source, where):
        return dict(args)
    names = _optimizers(written)
    if args and len(set(map(str, names))) > 1:
        raise TemplateError(
            f"{source}: {where}.optimizer_args: with {listed(map(str, names))} write a table for each optimizer, such "
            f"as optimizer_args.{names[0]} = {{ {next(iter(args))} = ... }}"
        )
    return {str(names[0]): args} if names and args else {}
