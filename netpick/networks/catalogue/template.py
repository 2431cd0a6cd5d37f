"""A template: parse a TOML file, check it, and give back typed, immutable values.

What is checked here is what can be said without enumerating: keys, types, ranges, names. Whether a cell can be filled
is the business of `catalogue`. Nothing here imports torch or writes files.
"""

from __future__ import annotations

import contextlib
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec

from netpick.core.errors import TemplateError, listed, suggest
from netpick.core.files import read_text
from netpick.core.recipe import FOR_A_CELL, SWEEPABLE, Recipe, check_recipe
from netpick.core.texts import parse_toml
from netpick.core.typed import convert
from netpick.networks.catalogue import sweeps
from netpick.networks.catalogue.cells import (
    KINDS,
    Cell,
    ExplicitCell,
    Pair,
    Positive,
    SampledCell,
    SampledOptions,
    Strict,
    check_cell,
    check_ranges,
)

MOST_BYTES = 2**20
"""Size of a template's file: the largest that come with netpick are a hundredth of it."""


class Template(Strict, frozen=True, kw_only=True):
    """A parsed template: which networks, for which data by default, and how to train them.

    `recipe` is the base; `sweep` is what was written under [recipe], where that has lists or tables for optimizers.
    """

    title: str
    """What the template is, in one line."""
    cells: tuple[Cell, ...]
    """The cells, each under `[[cells]]`."""
    description: str = ""
    """More of the same."""
    dataset: str = "mnist"
    """The data set, `folder:PATH` or `npz:FILE`, where `--dataset` names no other."""
    classes: tuple[int | str, ...] | None = None
    """Keep only these classes, by label or name, such as `[3, 7]`; they are numbered anew in this order."""
    image_size: Positive | Pair | None = None
    """For `folder:PATH`: number, or `[height, width]`, that all images are brought to."""
    color: Literal["auto", "grey", "rgb"] = "auto"
    """For `folder:PATH`: whether the images are grey or coloured; `auto` where they are all of one kind."""
    skip_unreadable: bool = False
    """For `folder:PATH`: leave out images that can't be read."""
    recipe: Recipe = Recipe()
    """How networks are trained."""
    sweep: dict[str, Any] = msgspec.field(default_factory=dict)
    defaults: SampledOptions = SampledOptions()
    """Keys of sampled cells, for all of them. Grid and explicit cells take nothing from here."""


def builtin_templates() -> dict[str, Path]:
    """Return the templates that come with netpick: name -> file."""
    folder = Path(str(resources.files("netpick.templates")))
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}


def find(name: str) -> Path:
    """Return the file of a template: a path, a name in ./templates, or one that comes with netpick."""
    builtin = builtin_templates()
    for path in (Path(name), Path("templates") / f"{name}.toml"):
        with contextlib.suppress(OSError):  # too long for a file's name, or in a folder that can't be looked into
            if path.is_file():
                return path
    if name in builtin:
        return builtin[name]
    raise TemplateError(
        f"no template '{name}'{suggest(name, builtin)}: give the path of a TOML file or one of {listed(builtin, 30)}"
    )


def load(name: str, overrides: Sequence[str] = ()) -> Template:
    """Read a template by name or path, with `--set key=value` overrides; raises TemplateError."""
    path = find(name)
    try:
        text = read_text(path, MOST_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path}: can't be read as a text file: {error}") from None
    return parse(text, str(path), overrides)


def parse(text: str, source: str = "template", overrides: Sequence[str] = (), cells_needed: bool = True) -> Template:
    """Parse the text of a template.

    Parameters
    ----------
    text : TOML
    source : where it is from, for messages
    overrides : `key.path=value`, the value in TOML's notation, such as `recipe.lr=0.001`
    cells_needed : whether a template without a cell is refused; not where networks come from elsewhere

    Raises
    ------
    TemplateError
        Syntax error (the line is quoted), unknown key, wrong type, impossible range; the key's path is quoted.
    """
    raw = _read_toml(text, source)
    for override in overrides:
        apply_override(raw, override)
    defaults = convert(raw.get("defaults", {}), SampledOptions, source, "defaults")
    check_ranges(defaults, source, "defaults")
    cells = _cells(raw, source)
    if not cells and cells_needed:
        raise TemplateError(f"{source}: a template needs at least one [[cells]]")
    if "sweep" in raw:
        raise TemplateError(f"{source}: sweep: unknown key; to sweep a value of the recipe give it as a list")
    written = raw.get("recipe", {})
    plain = not isinstance(written, dict) or _is_plain(written)
    base = written if plain else next(_recipes(written, source, "recipe", math.inf)).values
    rest = convert({**raw, "cells": [], "defaults": {}, "recipe": base}, Template, source, "")
    check_recipe(rest.recipe, source)
    made = msgspec.structs.replace(rest, cells=tuple(cells), defaults=defaults, sweep={} if plain else written)
    _check_cell_recipes(made, source)
    return made


def _read_toml(text: str, source: str) -> dict[str, Any]:
    if text.startswith("\ufeff"):
        raise TemplateError(
            f"{source}: begins with a byte-order mark, which TOML has no place for: save it as UTF-8 without one"
        )
    try:
        return parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line (\d+)", str(error))
        lines = text.splitlines()
        number = int(place[1]) if place else len(lines)
        line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
        raise TemplateError(f"{source}: not valid TOML: {error}: `{line:.100}`") from None
    except ValueError as error:  # too deep, or a number of thousands of digits
        raise TemplateError(f"{source}: not a template: {error}") from None


def _cells(raw: Mapping[str, Any], source: str) -> list[Cell]:
    """Return the cells of a template, each checked by itself; a sampled one has what `defaults` say."""
    tables = raw.get("cells", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise TemplateError(f"{source}: cells: write each cell as a table under [[cells]]")
    cells = []
    for index, table in enumerate(tables):
        where = f"cells[{index}]"
        kind = table.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            raise TemplateError(f"{source}: {where}.kind: got {kind!r}, allowed are {listed(KINDS)}")
        merged = {**raw.get("defaults", {}), **table} if kind == "sampled" else table
        cells.append(convert(merged, KINDS[kind], source, where))
        check_cell(cells[-1], source, where)
    return cells


def _is_plain(written: Mapping[str, Any]) -> bool:
    """Whether a recipe is written without lists, and without tables for optimizers."""
    args = written.get("optimizer_args", {})
    odd = isinstance(args, dict) and any(isinstance(value, list | dict) for value in args.values())
    return not odd and not any(isinstance(value, list) for value in written.values())


def _recipes(written: Mapping[str, Any], source: str, where: str, most: float) -> Iterator[sweeps.Combination]:
    """Yield the recipes of a sweep, each of them checked; refuse more than `most` before any is made."""
    sweeps.check_lists(written, source, where)
    if (number := sweeps.count(written, source, where)) > most:
        raise TemplateError(
            f"{source}: {where}: {number:,} recipes for this cell's networks come to more than {sweeps.MOST:,} "
            "trainings (networks × recipes): take values out"
        )
    for combination in sweeps.combinations(written, source, where):
        check_recipe(convert(combination.values, Recipe, source, where), source, where)
        yield combination


def cell_recipes(template: Template, cell: Cell, where: str, source: str = "template") -> list[sweeps.Combination]:
    """Return the recipes that each network of a cell is trained by; raises TemplateError."""
    written = template.sweep or {k: v for k, v in msgspec.to_builtins(template.recipe).items() if v is not None}
    for key, value in cell.recipe.items():
        if key in Recipe.__struct_fields__ and key not in (*SWEEPABLE, "optimizer_args", *FOR_A_CELL):
            raise TemplateError(
                f"{source}: {where}.recipe.{key}: is one for all networks of a run, got {value!r:.80}: write it under "
                "[recipe]"
            )
    where = f"{where}.recipe" if cell.recipe else "recipe"
    networks = _networks(cell)
    whole = sweeps.merged(written, cell.recipe, source, where)
    return list(_recipes(whole, source, where, sweeps.MOST / max(1, networks)))


def _networks(cell: Cell) -> int:
    """Return how many networks a cell asks for, at most."""
    if isinstance(cell, ExplicitCell):
        return 1
    if isinstance(cell, SampledCell):
        return sum(count for _, count in cell.families())
    values = (getattr(cell, f.name) for f in msgspec.structs.fields(cell))
    return math.prod(len(value) for value in values if isinstance(value, tuple))


def _check_cell_recipes(template: Template, source: str) -> None:
    students = 0
    for index, cell in enumerate(template.cells):
        if (number := _networks(cell)) > sweeps.MOST:
            raise TemplateError(
                f"{source}: cells[{index}]: asks for {number:,} networks, the most is {sweeps.MOST:,}: take some out"
            )
        recipes = len(cell_recipes(template, cell, f"cells[{index}]", source)) if cell.recipe or template.sweep else 1
        students += number * recipes
    if students > sweeps.MOST:
        raise TemplateError(
            f"{source}: cells: ask for {students:,} networks in all, the most is {sweeps.MOST:,}: take some out"
        )


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Set one value of a raw template or recipe in place, from `key.path=value`."""
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise TemplateError(f"--set {override}: wants key=value, such as recipe.lr=0.001")
    if len(text.splitlines()) > 1:
        raise TemplateError(f"--set {override}: wants a value of one line")
    try:
        value = parse_toml(f"value = {text}")["value"]
    except ValueError:
        value = text.strip()  # a bare word, such as recipe.optimizer=SGD
    for key in keys[:-1]:
        if isinstance(raw, list):  # of cells
            if not key.isdecimal() or int(key) >= len(raw):
                raise TemplateError(f"--set {override}: wants the number of a cell, 0 to {len(raw) - 1}, got '{key}'")
            raw = raw[int(key)]
        else:
            raw = raw.setdefault(key, [] if key == "cells" else {})
        if not isinstance(raw, dict | list):
            raise TemplateError(f"--set {override}: '{key}' is not a table")
    if isinstance(raw, list):
        raise TemplateError(f"--set {override}: wants a key of a cell, such as cells.0.{keys[-1]}=...")
    raw[keys[-1]] = value


def parse_recipe(raw: Mapping[str, Any], source: str) -> Recipe:
    """Read a recipe from plain values, such as the one in run.toml; raises TemplateError."""
    recipe = convert(raw, Recipe, source, "recipe")
    check_recipe(recipe, source)
    return recipe
