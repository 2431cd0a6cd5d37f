"""A template: parse a TOML file, check it, and give back typed, immutable values.

What is checked here is what can be said without enumerating: keys, types, ranges, names. Whether a cell can be filled
is the business of `catalogue`. Nothing here imports torch or writes files.
"""

from __future__ import annotations

import contextlib
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from netpick.cells import (
    KINDS,
    Cell,
    Pair,
    Positive,
    SampledOptions,
    Strict,
    check_cell,
    check_ranges,
)
from netpick.errors import TemplateError, listed, suggest

Times = Annotated[int, Meta(ge=1, le=2**15 - 1)]  # what a column of 16 bits can count
OptimizerName = Literal["Adam", "AdamW", "SGD", "RMSprop"]

OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "Adam": ("betas", "eps", "weight_decay", "amsgrad"),
    "AdamW": ("betas", "eps", "weight_decay", "amsgrad"),
    "SGD": ("momentum", "dampening", "weight_decay", "nesterov"),
    "RMSprop": ("alpha", "eps", "weight_decay", "momentum", "centered"),
}
"""The arguments that each optimizer takes besides the learning rate, as torch.optim names them."""

_FLAGS = ("amsgrad", "nesterov", "centered")


class Recipe(Strict, frozen=True, kw_only=True):
    """How each network is trained."""

    optimizer: OptimizerName = "Adam"
    optimizer_args: dict[str, bool | float | list[float]] = msgspec.field(default_factory=dict)
    lr: Annotated[float, Meta(gt=0)] = 0.001
    batch_size: Positive = 32
    epochs: Times = 4
    shuffle: bool = True
    normalize: Literal["standard", "unit"] = "standard"
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    train_samples: Positive | None = None
    validation: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    replicates: Times = 1
    timeout: Annotated[float, Meta(gt=0)] | None = None


class Template(Strict, frozen=True, kw_only=True):
    """A parsed template: which networks, for which data by default, and how to train them."""

    title: str
    cells: tuple[Cell, ...]
    description: str = ""
    dataset: str = "mnist"
    classes: tuple[int | str, ...] | None = None
    image_size: Positive | Pair | None = None
    color: Literal["auto", "grey", "rgb"] = "auto"
    skip_unreadable: bool = False
    recipe: Recipe = Recipe()
    defaults: SampledOptions = SampledOptions()


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
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path}: can't be read as a text file: {error}") from None
    return parse(text, str(path), overrides)


def parse(text: str, source: str = "template", overrides: Sequence[str] = ()) -> Template:
    """Parse the text of a template.

    Parameters
    ----------
    text : TOML
    source : where it is from, for messages
    overrides : `key.path=value`, the value in TOML's notation, such as `recipe.lr=0.001`

    Raises
    ------
    TemplateError
        Syntax error (the line is quoted), unknown key, wrong type, impossible range; the key's path is quoted.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        lines = text.splitlines()
        number = int(found[1]) if found else len(lines)
        line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
        raise TemplateError(f"{source}: not valid TOML: {error}: `{line:.100}`") from None
    except RecursionError:
        raise TemplateError(f"{source}: not a template: its brackets are nested too deeply") from None
    for override in overrides:
        apply_override(raw, override)
    if not isinstance(raw.get("cells", []), list) or not all(isinstance(c, dict) for c in raw.get("cells", [])):
        raise TemplateError(f"{source}: cells: write each cell as a table under [[cells]]")
    defaults = convert(raw.get("defaults", {}), SampledOptions, source, "defaults")
    check_ranges(defaults, source, "defaults")
    cells = []
    for index, cell in enumerate(raw.get("cells", [])):
        where = f"cells[{index}]"
        kind = cell.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            raise TemplateError(f"{source}: {where}.kind: got {kind!r}, allowed are {listed(KINDS)}")
        merged = {**raw.get("defaults", {}), **cell} if kind == "sampled" else cell
        cells.append(convert(merged, KINDS[kind], source, where))
        check_cell(cells[-1], source, where)
    if not cells:
        raise TemplateError(f"{source}: a template needs at least one [[cells]]")
    rest = convert({**raw, "cells": [], "defaults": {}}, Template, source, "")
    check_recipe(rest.recipe, source)
    return msgspec.structs.replace(rest, cells=tuple(cells), defaults=defaults)


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Set one value of a raw template or recipe in place, from `key.path=value`."""
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise TemplateError(f"--set {override}: wants key=value, such as recipe.lr=0.001")
    if len(text.splitlines()) > 1:
        raise TemplateError(f"--set {override}: wants a value of one line")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text.strip()  # a bare word, such as recipe.optimizer=SGD
    for key in keys[:-1]:
        raw = raw.setdefault(key, {})
        if not isinstance(raw, dict):
            raise TemplateError(f"--set {override}: '{key}' is not a table")
    raw[keys[-1]] = value


def parse_recipe(raw: Mapping[str, Any], source: str) -> Recipe:
    """Read a recipe from plain values, such as the one in run.toml; raises TemplateError."""
    recipe = convert(raw, Recipe, source, "recipe")
    check_recipe(recipe, source)
    return recipe


def convert(raw: object, kind: type[Any], source: str, where: str) -> Any:
    """Turn plain values into a Struct; an error quotes the path, what was got and what is allowed."""
    try:
        return msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        message, _, inner = str(error).partition(" - at `$")
        inner = inner.removesuffix("`")
        raise TemplateError(f"{source}: {_explain(raw, kind, message, where, inner)}") from None


def _explain(raw: Any, kind: type[Any], message: str, where: str, inner: str) -> str:
    if "[...]" in inner:
        inner = inner.replace("[...]", f".{_refused_entry(raw, kind, inner.partition('[...]')[0])}")
    path = (where + inner).lstrip(".")
    unknown = re.search(r"unknown field `(.*)`", message, re.DOTALL)
    if unknown:
        allowed = [f.name for f in msgspec.structs.fields(_type_at(kind, inner))]
        full = f"{path}.{unknown[1]}".lstrip(".")
        return f"{full}: unknown key{suggest(unknown[1], allowed)}; allowed are {listed(allowed, 40)}"
    missing = re.search(r"missing required field `(.*)`", message)
    if missing:
        return f"{path or 'the template'}: needs the key '{missing[1]}'".lstrip(".")
    got = raw
    for key in re.findall(r"\w+", inner):
        try:
            got = got[int(key)] if isinstance(got, list) else got[key]
        except (KeyError, IndexError, ValueError, TypeError):
            break
    message = message.replace("`", "").replace("Expected", "expected")
    if "Invalid enum value" in message:
        words = _words(_type_at(kind, inner))
        message = f"expected one of {listed(words)}{suggest(str(got), words)}"
    return f"{path}: {message}, got {got!r:.80}" if ", got" not in message else f"{path}: {message}: {got!r:.80}"


def _type_at(kind: Any, inner: str) -> Any:
    """Return the type of the field that a path leads to."""
    for key in re.findall(r"\w+", inner):
        if isinstance(kind, type) and issubclass(kind, Struct):
            kind = {f.name: f.type for f in msgspec.structs.fields(kind)}.get(key, kind)
    return kind


def _words(kind: Any) -> list[str]:
    """Return the words that a type with a Literal in it allows."""
    return [word for arg in get_args(kind) for word in ([arg] if isinstance(arg, str) else _words(arg))]


def _refused_entry(raw: Any, kind: type[Any], inner: str) -> str:
    """Return the key of the entry that msgspec refused in a table of free keys, which it writes as `[...]`."""
    *keys, last = re.findall(r"\w+", inner)
    for key in keys:
        raw, kind = raw[key], _type_at(kind, key)
    for key, value in raw[last].items():
        try:
            msgspec.convert({key: value}, _type_at(kind, last), strict=True)
        except msgspec.ValidationError:
            return key
    return "..."


def check_recipe(recipe: Recipe, source: str) -> None:
    """Refuse arguments that the optimizer does not have, and values that it would refuse in every training."""
    if not math.isfinite(recipe.lr):
        raise TemplateError(f"{source}: recipe.lr: expected a finite number, got {recipe.lr}")
    allowed = OPTIMIZERS[recipe.optimizer]
    for name, value in recipe.optimizer_args.items():
        where = f"{source}: recipe.optimizer_args.{name}"
        if name not in allowed:
            raise TemplateError(
                f"{where}: {recipe.optimizer} has no such argument{suggest(name, allowed)}; "
                f"allowed are {listed(allowed)}; to start from none say --set recipe.optimizer_args={{}}"
            )
        if name in _FLAGS:
            wanted, good = "true or false", isinstance(value, bool)
        elif name == "betas":
            wanted = "two numbers from 0 to below 1"
            good = isinstance(value, list) and len(value) == 2 and all(0 <= v < 1 for v in value)
        else:
            wanted = "a number from 0 on"
            good = isinstance(value, float) and 0 <= value < math.inf
        if not good:
            raise TemplateError(f"{where}: expected {wanted}, got {value!r:.80}")
    args = recipe.optimizer_args
    if args.get("nesterov") and (not args.get("momentum") or args.get("dampening")):
        raise TemplateError(
            f"{source}: recipe.optimizer_args.nesterov: goes with a momentum above 0 and no dampening, got {args}"
        )
