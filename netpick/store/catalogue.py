"""The networks of a run as their table has them: read, and checked, since a run may be anyone's.

Files are called by the names and hashes in it, so that each must be one that netpick gives; and the whole catalogue
must be the one whose hash run.toml has. What the layers mean is not known here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from netpick.core.errors import RunError, listed
from netpick.core.files import deepest
from netpick.core.names import is_file_name, is_hash
from netpick.store.shards import BrokenShardError, arrow_schema, open_shard

LAYERS_NESTED = 20
LAYERS_BYTES = 2**20
"""Depth and size of one network's JSON: those that `netpick generate` takes stay below."""

ADDED = ("recipe",)
"""Columns that runs of before may lack."""


def read_catalogue(path: Path, known_hash: str | None = None) -> pa.Table:
    """Read networks.parquet.

    Parameters
    ----------
    path : Path
        The file.
    known_hash : str, optional
        What `catalogue_hash` gave when the run was generated.

    Returns
    -------
    pyarrow.Table
        The columns of the schema, in its types.

    Raises
    ------
    RunError
        The file can't be read, lacks a column, has a name or hash that netpick would not give, or is not the one that
        the run was generated with.
    """
    again = "restore it from a copy, or generate the run again"
    file = open_shard(path)
    try:
        there = file.schema_arrow.names
        schema = arrow_schema("networks")
        missing = [n for n in schema.names if there.count(n) != 1 and not (n in ADDED and n not in there)]
        if missing:
            raise RunError(f"{path} has not exactly one column {listed(missing)}: it is no catalogue, {again}")
        schema = pa.schema([field for field in schema if field.name in there])
        table = file.read(columns=schema.names).select(schema.names).cast(schema)
    except (OSError, pa.ArrowException) as e:
        raise BrokenShardError(path, e) from None
    finally:
        file.close()
    rows = table.select([n for n in ("name", "hash", "computation", "activation", "layers", "recipe") if n in there])
    seen: set[str] = set()
    for row in rows.to_pylist():
        if not is_file_name(row["name"]) or row["name"] in seen:
            raise RunError(f"{path}: {row['name']!r:.80} can't be a network's name, or is there twice: {again}")
        seen.add(row["name"])
        if (
            not is_hash(row["hash"])
            or not isinstance(row["computation"], str)
            or not isinstance(row["activation"], str)
        ):
            raise RunError(f"{path}: network {row['name']} has no hash or family that netpick gives: {again}")
    if known_hash is not None and catalogue_hash([_form(path, row) for row in rows.to_pylist()]) != known_hash:
        raise RunError(f"{path} is not the catalogue that the run was generated with (its hash is another): {again}")
    return table


def catalogue_hash(networks: Sequence[Mapping[str, Any]]) -> str:
    """Return a hash of a whole catalogue: names, families, layers and recipes, in order, in the form of `to_dict`."""
    return hashlib.sha256(json.dumps(networks, sort_keys=True).encode()).hexdigest()


def _form(path: Path, row: dict[str, Any]) -> dict[str, Any]:
    texts = {key: row.get(key) for key in ("layers", "recipe")}
    try:
        for text in filter(None, texts.values()):
            if len(text) > LAYERS_BYTES or deepest(text) > LAYERS_NESTED:
                raise ValueError("too large")
        layers, recipe = (json.loads(text) if text else {} for text in texts.values())
        if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
            raise ValueError("no list of layers")
        if not isinstance(recipe, dict):
            raise ValueError("no recipe")
    except (ValueError, RecursionError) as e:
        raise RunError(f"{path}: network {row['name']}: layers or recipe are not the JSON of a network ({e})") from None
    form = {key: row[key] for key in ("name", "computation", "activation")} | {"layers": layers}
    return {**form, "recipe": recipe} if recipe else form
