"""Write `netpick.store.schema` down for people: Markdown with every table, column, unit and meaning.

`docs/tables.md` is its output, and a test keeps it so; after a change of the schema say
`python -m netpick.report.tables_page docs/tables.md`. It reads no run and knows no column by itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

from netpick.store.schema import SCHEMA_VERSION, TABLES, Column

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
    "samples": ("samples.parquet", "a row is a sample that is evaluated. Written when training starts."),
}
"""Where each table lies in a run's folder, and what its rows are."""

TYPES: dict[str, str] = {
    "category": "text, stored once and numbered (an Arrow dictionary); a categorical in pandas",
    "string": "text",
    "binary": "bytes",
    "int16": "whole number of 16 bits",
    "int32": "whole number of 32 bits",
    "int64": "whole number of 64 bits",
    "bool": "true or false",
    "float32": "number of 32 bits",
    "float64": "number of 64 bits",
    "timestamp": "moment in microseconds, with the time zone UTC",
}
"""The type names of the schema, in words."""

HEAD = """\
# The tables of a run

Written by `python -m netpick.report.tables_page docs/tables.md` from `netpick/store/schema.py`: change it there.

This is schema {version}; a run of a newer schema is refused. The same units and meanings are in the metadata of every
Parquet file, field by field. How the quantities are counted and timed is said in
[design.md](design.md#what-is-measured).

`trainings/`, `epochs/` and `predictions/` are folders of Parquet files; `networks.parquet`, `samples.parquet` and
`timings.parquet` are single files. A column whose name ends in `_{{class}}` stands for one column a class, numbered
from 0: with ten classes `score_{{class}}` is `score_0` to `score_9`. The names of the classes are in `run.toml`, in the
same order.
"""


def markdown() -> str:
    """Return the page: all tables of the schema, and the types in words."""
    parts = [HEAD.format(version=SCHEMA_VERSION)]
    parts += [f"## {name}\n\n`{ROWS[name][0]}`: {ROWS[name][1]}\n\n{table(TABLES[name])}" for name in TABLES]
    used = {column.type for columns in TABLES.values() for column in columns}
    types = "\n".join(f"- `{kind}`: {words}" for kind, words in TYPES.items() if kind in used)
    parts.append(f"## Types\n\n{types}\n")
    return "\n".join(parts)


def table(columns: tuple[Column, ...]) -> str:
    """Return one table of columns: name, type, unit, meaning."""
    rows = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    rows += [f"| `{c.name}` | {c.type} | {c.unit} | {c.meaning} |" for c in columns]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(markdown(), encoding="utf-8")
