"""The tables of a run: from the schema that is written into the Parquet files."""

from __future__ import annotations

from netpick.store.schema import SCHEMA_VERSION, TABLES
from netpick_docs.markdown import cell, code, table

ROWS: dict[str, tuple[str, str]] = {
    "networks": ("networks.parquet", "a row is a network. Written by `netpick generate`, and never changed after."),
    "trainings": (
        "trainings/",
        "a row is a training that has ended, however it ended: a network × replicate. It is written last: what has no "
        "row here is not finished, and is trained again.",
    ),
    "epochs": ("epochs/", "a row is a training × epoch × split. Of a training that ended early, the epochs before."),
    "predictions": (
        "predictions/",
        "a row is a training × epoch × split × sample. The large table: networks × epochs × samples.",
    ),
    "timings": (
        "timings.parquet",
        "a row is a network × device × number of threads, timed alone on the idle device. Written by `netpick time`; "
        "there is no such file before.",
    ),
    "layer_times": (
        "layer_times.parquet",
        "a row is a layer of a network × device × number of threads, timed by itself. Written by `netpick time`.",
    ),
    "device_times": (
        "device_times.parquet",
        "a row is a network × device × precision × number of threads, measured by a kit on another device. Written by "
        "`netpick time --add`, and apart from `timings`, which are of this machine.",
    ),
    "distances": (
        "distances.parquet",
        "a row is a test image, or a training image that was drawn, with the nearest training images. Written by "
        "`netpick distances`.",
    ),
    "samples": ("samples.parquet", "a row is a sample that is evaluated. Written when training starts."),
}
"""Where each table lies in a run's folder, and what its rows are."""

TYPES: dict[str, str] = {
    "category": "text, stored once and numbered (an Arrow dictionary); a categorical in pandas",
    "string": "text",
    "binary": "bytes",
    "int8": "whole number of 8 bits",
    "int16": "whole number of 16 bits",
    "int32": "whole number of 32 bits",
    "int64": "whole number of 64 bits",
    "bool": "true or false",
    "float32": "number of 32 bits",
    "float64": "number of 64 bits",
    "timestamp": "moment in microseconds, with the time zone UTC",
}
"""The type names of the schema, in words."""


def columns() -> str:
    """Return every table with its columns, types, units and meanings, and the types in words."""
    parts = [f"This is schema {SCHEMA_VERSION}.\n"]
    for name, held in TABLES.items():
        rows = ([f"`{c.name}`", c.type, c.unit, cell(c.meaning)] for c in held)
        path, row = ROWS[name]
        parts.append(f"## {name}\n\n`{path}`: {row}\n\n{table(['column', 'type', 'unit', 'meaning'], rows)}")
    used = {column.type for held in TABLES.values() for column in held}
    parts.append("## Types\n\n" + table(["type", "what it is"], ([f"`{t}`", TYPES[t]] for t in TYPES if t in used)))
    return "\n".join(parts)


def short() -> str:
    """Return one table with all tables: what a row is, and the names of the columns."""
    rows = ([f"[`{name}`](#{name})", code(c.name for c in held)] for name, held in TABLES.items())
    return table(["table", "columns"], rows)
