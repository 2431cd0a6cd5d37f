"""The keys of a template, of its cells and of the recipe: from the structures that check them.

Default and values of a key are those of its field; its meaning is the text below the field.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from itertools import pairwise
from typing import Any

import msgspec

from netpick.core.recipe import OPTIMIZERS, Augment, Recipe
from netpick.networks.catalogue.cells import KINDS
from netpick.networks.catalogue.template import Template
from netpick_docs.markdown import cell, code, table

WORKED_OUT = {"sweep"}
"""Fields of a template that nobody writes."""


def of_a_template() -> str:
    """Return the table of the keys of a template."""
    return _table(Template)


def of_the_recipe() -> str:
    """Return the table of the keys of the recipe."""
    return _table(Recipe)


def of_augment() -> str:
    """Return the table of the keys of `augment`."""
    return _table(Augment)


def of_optimizers() -> str:
    """Return the table of the arguments of each optimizer."""
    return table(["optimizer", "arguments"], ([f"`{name}`", code(args)] for name, args in OPTIMIZERS.items()))


def of_a_cell() -> str:
    """Return the table of the keys of all kinds of cells, with the default in each kind."""
    kinds = {kind: {field.name: field for field in msgspec.structs.fields(KINDS[kind])} for kind in KINDS}
    said: dict[str, str] = {}
    for kind in KINDS.values():
        said = {**meanings(kind), **said}
    ordered = dict.fromkeys(key for fields in kinds.values() for key in _needed_first(fields))
    rows = [["`kind`", *(f'`"{kind}"`' for kind in kinds), "Kind of the cell."]]
    for key in ordered:
        defaults = (_default(fields[key]) if key in fields else "" for fields in kinds.values())
        rows.append([f"`{key}`", *defaults, cell(said[key])])
    return table(["key", *kinds, "meaning"], rows)


def _needed_first(fields: dict[str, Any]) -> list[str]:
    return sorted(fields, key=lambda key: (not fields[key].required, key == "recipe"))


def _table(kind: type[msgspec.Struct]) -> str:
    said = meanings(kind)
    types = {field.name: field.type for field in msgspec.inspect.type_info(kind).fields}  # type: ignore[attr-defined]
    fields = [field for field in msgspec.structs.fields(kind) if field.name not in WORKED_OUT]
    rows = ([f"`{f.name}`", _default(f), _values(types[f.name]), cell(said[f.name])] for f in fields)
    return table(["key", "default", "values", "meaning"], rows)


def meanings(kind: type) -> dict[str, str]:
    """Return what the texts below the fields of a class and of those that it is made from say."""
    out: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not base.__module__.startswith("netpick."):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        for field, below in pairwise(definition.body):  # type: ignore[attr-defined]
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                out[field.target.id] = " ".join(below.value.value.split())  # type: ignore[attr-defined,union-attr]
    return out


def default_of(field: msgspec.structs.FieldInfo) -> Any:
    """Return a field's default as TOML would have it; None where there is none."""
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return None if value is msgspec.NODEFAULT else msgspec.to_builtins(value)


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "needed"
    value = default_of(field)
    if isinstance(field.default, msgspec.Struct):
        return ""
    return "none" if value is None else f"`{json.dumps(value)}`"


def _values(kind: Any) -> str:
    """Say in words which values a type takes."""
    of = msgspec.inspect
    if isinstance(kind, of.UnionType):
        return " or ".join(dict.fromkeys(_values(one) for one in kind.types if not isinstance(one, of.NoneType)))
    if isinstance(kind, of.LiteralType):
        return code(map(json.dumps, kind.values))
    if isinstance(kind, of.BoolType):
        return "true or false"
    if isinstance(kind, of.IntType | of.FloatType):
        return " ".join(["whole number" if isinstance(kind, of.IntType) else "number", *_bounds(kind)])
    if isinstance(kind, of.ListType | of.VarTupleType):
        many = f"{kind.min_length} of " if isinstance(kind, of.ListType) and kind.min_length else ""
        return f"list of {many}{_values(kind.item_type)}"
    if isinstance(kind, of.DictType | of.StructType):
        return "table"
    return "text" if isinstance(kind, of.StrType) else "any"


def _bounds(kind: Any) -> list[str]:
    words = {"from": kind.ge, "above": kind.gt, "to": kind.le, "below": kind.lt}
    return [f"{word} {bound:,}" for word, bound in words.items() if bound is not None and bound < 2**40]
