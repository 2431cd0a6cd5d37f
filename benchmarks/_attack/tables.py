"""Attacks on a run's Parquet files: columns, rows, values, whole tables, and single bits."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from .box import Attempt, Box, Kind, all_values
from .runs import base, reading
from .values import ODD_NAMES, ODD_NUMBERS, spoil_data

FOLDERS = ("trainings", "epochs", "predictions")


def tables(rng: random.Random, box: Box) -> Attempt:
    """Spoil one table of a run: its columns, rows, values, or the file as a whole."""
    run = box.copy(base(rng, box))
    (run / "weights").mkdir(exist_ok=True)
    file = rng.choice(_parquet(run))
    way = rng.choice((*_WHOLE, *_COLUMNS, *_COLUMNS, *_COLUMNS))
    if way in _WHOLE:
        _WHOLE[way](rng, file, run)
        what = way
    else:
        what = _rewritten(rng, file, way)
    return Attempt(f"{file.parent.name}/{file.name.replace('-0', '')}: {what}", reading(rng, box))


def _parquet(run: Path) -> list[Path]:
    """Return one file of each table, and those beside them, in an order that is the same for each copy."""
    files = sorted(run.rglob("*.parquet"))
    return [path for path in files if path.parent == run] * 3 + [path for path in files if path.parent != run]


def _rewritten(rng: random.Random, file: Path, way: str) -> str:
    import pyarrow.parquet as pq

    table = pq.read_table(file, partitioning=None, memory_map=False)
    said, changed = _COLUMNS[way](rng, table)
    if rng.random() < 0.8:
        changed = changed.replace_schema_metadata(table.schema.metadata)
    file.unlink()
    pq.write_table(changed, file)
    return f"{way} {said}"


def _renamed(rng: random.Random, table: Any) -> tuple[str, Any]:
    at = rng.randrange(table.num_columns)
    names = list(table.column_names)
    names[at] = rng.choice((*ODD_NAMES, names[at] + "_", rng.choice(names)))
    return table.column_names[at], table.rename_columns(names)


def _removed(rng: random.Random, table: Any) -> tuple[str, Any]:
    name = rng.choice(table.column_names)
    return name, table.drop_columns([name])


def _repeated(rng: random.Random, table: Any) -> tuple[str, Any]:
    name = rng.choice(table.column_names)
    return name, table.append_column(rng.choice((name, "more")), table.column(name))


def _ordered(rng: random.Random, table: Any) -> tuple[str, Any]:
    names = rng.sample(table.column_names, table.num_columns)
    return "", table.select(names)


def _typed(rng: random.Random, table: Any) -> tuple[str, Any]:
    import pyarrow as pa

    at = rng.randrange(table.num_columns)
    name = table.column_names[at]
    rows = table.num_rows
    kind = rng.choice((pa.int8(), pa.float64(), pa.string(), pa.binary(), pa.list_(pa.int8()), pa.null(), pa.bool_()))
    kind = rng.choice((kind, pa.timestamp("s"), pa.large_string(), pa.int64()))
    try:
        column = table.column(at).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        column = pa.nulls(rows, kind)
    return f"{name} {kind}", table.set_column(at, name, column)


def _valued(rng: random.Random, table: Any) -> tuple[str, Any]:
    import pyarrow as pa

    at = rng.randrange(table.num_columns)
    name, kind = table.column_names[at], table.schema.field(at).type
    values = table.column(at).to_pylist()
    spots = range(len(values)) if rng.random() < 0.2 else [rng.randrange(len(values))] if values else []
    word: Any = ""
    for spot in spots:
        word = _word(rng, values[spot], name)
        values[spot] = word
    try:
        column = pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, TypeError, UnicodeError):
        column, word = pa.nulls(len(values), kind), None
    return f"{name} = {word!r:.60}", table.set_column(at, pa.field(name, column.type), column)


def _word(rng: random.Random, value: Any, name: str) -> Any:
    """Return another value in the place of one, of its type where it has one."""
    if rng.random() < 0.1:
        return None
    if name in ("layers", "recipe", "optimizer_args") and isinstance(value, str):
        if rng.random() < 0.3:
            return rng.choice(
                ("", "{", "[" * 100_000, "null", "[]", "[1]", '[{"op":1}]', "9" * 5000, '{"a":NaN}', "[{}]")
            )
        return json.dumps(spoil_data(rng, json.loads(value))[0], default=str)
    if isinstance(value, str):
        return rng.choice((*ODD_NAMES, value + " "))
    if isinstance(value, bytes):
        return evil_image(rng)
    if isinstance(value, float):
        return float(rng.choice(ODD_NUMBERS))
    return rng.choice((-1, 0, 99, 127, 32767, 2**31 - 1, 2**62, *map(int, (1e9, 1e12))))


def _more_rows(rng: random.Random, table: Any) -> tuple[str, Any]:
    import pyarrow as pa

    times = rng.choice((2, 3, 1000 if table.num_rows < 100 else 20))
    return f"{times} times", pa.concat_tables([table] * times)


def _fewer_rows(rng: random.Random, table: Any) -> tuple[str, Any]:
    rows = rng.choice((0, 1, max(0, table.num_rows - 1)))
    return str(rows), table.slice(rng.randrange(2), rows)


def _nulls(rng: random.Random, table: Any) -> tuple[str, Any]:
    import pyarrow as pa

    at = rng.randrange(table.num_columns)
    field = table.schema.field(at).with_nullable(True)
    return field.name, table.set_column(at, field, pa.nulls(table.num_rows, field.type))


_COLUMNS: dict[str, Callable[[random.Random, Any], tuple[str, Any]]] = {
    "column renamed": _renamed,
    "column removed": _removed,
    "column repeated": _repeated,
    "columns in another order": _ordered,
    "column of another type": _typed,
    "values": _valued,
    "values again": _valued,
    "more values": _valued,
    "rows repeated": _more_rows,
    "rows removed": _fewer_rows,
    "column of nulls": _nulls,
}


def _exchange(rng: random.Random, file: Path, run: Path) -> None:
    others = [path for path in _parquet(run) if path != file]
    file.write_bytes(rng.choice(others).read_bytes() if others else b"")


def _swap(rng: random.Random, file: Path, run: Path) -> None:
    other = rng.choice(sorted(file.parent.glob("*.parquet")))
    aside = file.with_suffix(".aside")
    file.rename(aside)
    if other != file:
        other.rename(file)
    aside.rename(other)


def _other_name(rng: random.Random, file: Path, run: Path) -> None:
    names = [name for name in ("part-00001.parquet", "x.parquet", "0-0.parquet", "é-0.parquet") if name != file.name]
    shutil.copyfile(file, file.with_name(rng.choice(names)))


def _cut(rng: random.Random, file: Path, run: Path) -> None:
    raw = file.read_bytes()
    file.write_bytes(rng.choice((b"", b"PAR1", raw[: rng.randrange(len(raw))], raw + b"x", os.urandom(0) + raw[::-1])))


def _noise(rng: random.Random, file: Path, run: Path) -> None:
    raw = bytearray(file.read_bytes())
    for _ in range(rng.choice((1, 10, 100))):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    file.write_bytes(raw)


def _no_file(rng: random.Random, file: Path, run: Path) -> None:
    file.unlink()
    rng.choice((lambda: None, lambda: file.mkdir(), lambda: os.mkfifo(file), lambda: os.symlink("loop", file)))()


def _no_folder(rng: random.Random, file: Path, run: Path) -> None:
    folder = run / rng.choice(FOLDERS)
    shutil.rmtree(folder)
    rng.choice((lambda: None, lambda: folder.write_text("a file"), lambda: os.symlink(folder.name, folder)))()


_WHOLE: dict[str, Callable[[random.Random, Path, Path], None]] = {
    "another table": _exchange,
    "another network's": _swap,
    "twice, by another name": _other_name,
    "cut off": _cut,
    "noise": _noise,
    "no file": _no_file,
    "no folder": _no_folder,
}


def evil_image(rng: random.Random) -> bytes:
    """Return bytes that an image reader had better not trust."""
    from PIL import Image

    way = rng.choice(("postscript", "huge", "bmp", "cut", "large", "nothing"))
    if way == "postscript":
        return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    if way == "nothing":
        return b""
    file = BytesIO()
    sizes = {"large": (9000, 9000)}
    Image.new("L", sizes.get(way, (8, 8))).save(file, "BMP" if way == "bmp" else "PNG", compress_level=1)
    raw = file.getvalue()
    if way == "huge":
        import struct
        import zlib

        head = b"IHDR" + struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0)
        return raw[:12] + head + struct.pack(">I", zlib.crc32(head)) + raw[33:]
    return raw[: len(raw) // 2] if way == "cut" else raw


def bits(rng: random.Random, box: Box) -> Attempt:
    """Flip one bit of one Parquet file; what is then read is refused, or what it was."""
    name = rng.choice(("planted", "compacted"))
    run = box.copy(name)
    file = rng.choice(sorted(run.rglob("*.parquet")))
    raw = bytearray(file.read_bytes())
    at, bit = rng.randrange(len(raw)), rng.randrange(8)

    raw[at] ^= 1 << bit
    file.write_bytes(raw)
    table = file.stem if file.parent == run else file.parent.name

    def check() -> str | None:
        right = pickle.loads((box.bases / "values").read_bytes())
        other = [key for key, value in all_values(run).items() if not _same(value, right[key])]
        return f"SILENT: another value of {', '.join(other)}, by a bit of {table}" if other else None

    return Attempt(f"{name} {file.name}: bit {bit} of byte {at} of {len(raw)}", check=check)


def _same(a: Any, b: Any) -> bool:
    import numpy as np

    return np.array_equal(a, b, equal_nan=True) if isinstance(a, np.ndarray) else bool(a.equals(b))


KINDS = (
    Kind(
        "tables",
        "Parquet tables with other columns, rows, values",
        tables,
        bases=("planted", "compacted", "digits"),
        torch=True,
    ),
    Kind("bits", "one bit of a Parquet table flipped", bits, bases=("planted", "compacted")),
)
