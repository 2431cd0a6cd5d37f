"""The networks of a run as their table has them: read, and checked, since a run may be anyone's.

Files are called by the names and hashes in it, so that each must be one that netpick gives; and the whole catalogue
must be the one whose hash run.toml has. What the layers mean is not known here.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from netpick.core.errors import RunError
from netpick.core.names import is_file_name, is_hash
from netpick.core.recipe import Recipe, current
from netpick.core.texts import deepest
from netpick.core.typed import convert
from netpick.store.manifest import AGAIN
from netpick.store.results import table_of
from netpick.store.rows import read_file
from netpick.store.schema import SIZES
from netpick.store.shards import BrokenShardError, arrow_schema

LAYERS_NESTED = 20
LAYERS_BYTES = 2**20
"""Depth and size of one network's JSON: those that `netpick generate` takes stay below."""


def catalogue_table(networks: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the rows of networks.parquet as a table; after the schema's columns come those that an import described.

    `layers` of a network may be a list or its JSON text; what a network lacks is null.
    """
    schema = arrow_schema("networks")
    rows = [
        {"recipe": "{}", **n, "layers": n["layers"] if isinstance(n["layers"], str) else json.dumps(n["layers"])}
        for n in networks
    ]
    table = table_of(rows, schema)
    for name in dict.fromkeys(name for row in rows for name in row if name not in schema.names):
        values = [row.get(name) for row in rows]
        if len({str if isinstance(value, str) else float for value in values if value is not None}) > 1:
            values = [None if value is None else str(value) for value in values]
        table = table.append_column(name, pa.array(values))
    return table


def read_catalogue(path: Path, known_hash: str | None = None, imported: Mapping[str, Any] | None = None) -> pa.Table:
    """Read networks.parquet.

    Parameters
    ----------
    path : Path
        The file.
    known_hash : str, optional
        What `catalogue_hash` gave when the run was generated.
    imported : mapping, optional
        What run.toml says of an import; None for a run that netpick generated, whose networks were all measured.

    Returns
    -------
    pyarrow.Table
        The columns of the schema, in its types, and after them those that an import described.

    Raises
    ------
    RunError
        The file can't be read, lacks a column, has a name or hash that netpick would not give, or is not the one that
        the run was generated with.
    """
    table = read_file(path, "networks", more=imported.get("columns", ()) if imported else ())
    if imported is None and (lacking := [name for name in SIZES if table.column(name).null_count]):
        raise BrokenShardError(path, ValueError(f"its column {lacking[0]} lacks values"))
    columns = ("name", "hash", "computation", "activation", "layers", "recipe")
    rows = table.select([name for name in columns if name in table.column_names]).to_pylist()
    seen: set[str] = set()
    for row in rows:
        if not is_file_name(row["name"]) or row["name"] in seen:
            raise RunError(f"{path}: {row['name']!r:.80} can't be a network's name, or is there twice: {AGAIN}")
        if not is_hash(row["hash"]) or row["hash"] in seen:
            raise RunError(f"{path}: network {row['name']} has no hash or family of its own: {AGAIN}")
        seen |= {row["name"], row["hash"]}
    forms = (_form(path, row) for row in rows)  # one at a time: all of them at once are many small things to hold
    if known_hash is None:
        deque(forms, maxlen=0)
    elif catalogue_hash(forms) != known_hash:
        raise RunError(f"{path} is not the catalogue that the run was generated with (its hash is another): {AGAIN}")
    return table


def catalogue_hash(networks: Iterable[Mapping[str, Any]]) -> str:
    """Return a hash of a whole catalogue: names, families, layers and recipes, in order, in the form of `to_dict`."""
    written = json.JSONEncoder(sort_keys=True).encode
    text = hashlib.sha256(b"[")
    for place, network in enumerate(networks):
        text.update(f"{', ' if place else ''}{written(network)}".encode())
    text.update(b"]")
    return text.hexdigest()


def _form(path: Path, row: dict[str, Any]) -> dict[str, Any]:
    texts = {key: row.get(key) for key in ("layers", "recipe")}
    try:
        for text in filter(None, texts.values()):
            few = text.count("[") + text.count("{") <= LAYERS_NESTED  # as nearly always: no need to look further
            if len(text) > LAYERS_BYTES or not (few or deepest(text) <= LAYERS_NESTED):
                raise ValueError("too large")
        layers, recipe = (_value(text) if text else {} for text in texts.values())
        if not isinstance(layers, list) or not all(isinstance(layer, dict) and _named(layer) for layer in layers):
            raise ValueError("no list of layers, each with the name of its operation")
        if not isinstance(recipe, dict):
            raise ValueError("the recipe is no table")
        if recipe:
            convert(current(recipe), Recipe, f"{path}: network {row['name']}", "recipe", RunError)
    except (ValueError, RecursionError) as e:
        raise RunError(f"{path}: network {row['name']}: layers or recipe are not the JSON of a network ({e})") from None
    form = {key: row[key] for key in ("name", "computation", "activation")} | {"layers": layers}
    return {**form, "recipe": recipe} if recipe else form


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)  # several times as fast
    except msgspec.MsgspecError:
        return json.loads(text)  # takes infinity too, and says what is wrong


def _named(layer: dict[str, Any]) -> bool:
    return isinstance(layer.get("op"), str)
