"""A table that somebody gives, CSV or Parquet: read in pieces, whatever its size, as words and numbers.

It may be anyone's. What it means is not known here; what can't be read is said in one line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from netpick.core.errors import DataError, listed, suggest
from netpick.store.rows import is_plain

SUFFIXES = (".csv", ".parquet")
BLOCK_BYTES, BATCH_ROWS = 2**22, 2**16
"""Of a piece of CSV, and rows of one of Parquet."""

GROUP_BYTES = 2**31
"""Of a row group of Parquet, unpacked: a file of few bytes can say that it has more than any memory."""

MOST_ROWS = 2_000_000
"""Of a table that is read whole."""

WORD = 200
"""Letters of a word."""


class Words(NamedTuple):
    """A column of words: the different ones, and of each row the number of its word; -1 where there is none."""

    codes: np.ndarray
    words: list[str]


class GivenTable:
    """A CSV or Parquet file; DataError where it can't be read as such."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in SUFFIXES:
            near = suggest(self.path.suffix, SUFFIXES)
            raise DataError(f"{path}: wants a file that ends in {listed(SUFFIXES)}{near}")
        if not os.path.isfile(self.path):  # nor a pipe or a device, which would never end
            raise DataError(f"{path}: there is no such file")
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if twice:
            raise DataError(f"{path}: its column {twice[0]!r:.80} is there twice: give each column a name of its own")

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        with self._errors():
            if self._is_parquet:
                return list(pq.read_schema(self.path).names)
            with csv.open_csv(self.path, self._read_options()) as reader:
                return list(reader.schema.names)

    def need(self, *names: str) -> None:
        """Raise DataError where a column is missing."""
        for name in names:
            if name not in self.columns:
                near = suggest(name, self.columns)
                raise DataError(f"{self.path} has no column '{name}'{near}: it has {listed(self.columns)}")

    def pieces(self, words: Sequence[str], numbers: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """Yield the rows in pieces: of each column in `words` its `Words`, of one in `numbers` float64, NaN for none.

        Whole numbers are the same word however they are written: 3, "3" and 3.0.
        """
        for batch in self._batches(words, numbers):
            out: dict[str, Any] = {}
            with self._errors():
                for name in words:
                    out[name] = self._words(name, batch.column(name))
                for name in numbers:
                    out[name] = batch.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
            yield out

    def frame(self) -> pd.DataFrame:
        """Return the whole table, of words, numbers, true and false; for one that has a row a network."""
        with self._errors():
            if self._is_parquet:
                self._check_groups()
                if pq.read_metadata(self.path).num_rows > MOST_ROWS:
                    raise DataError(f"{self.path} has more than {MOST_ROWS:,} rows")
                table = pq.read_table(self.path)
            else:
                table = pa.Table.from_batches(self._bounded(csv.open_csv(self.path, self._read_options())))
        for field in table.schema:
            if not is_plain(field.type) and not pa.types.is_null(field.type):
                raise DataError(f"{self.path}: its column {field.name} is of {field.type}: give words or numbers")
        return table.to_pandas()

    @property
    def _is_parquet(self) -> bool:
        return self.path.suffix.lower() == ".parquet"

    def _read_options(self) -> csv.ReadOptions:
        return csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False)

    def _batches(self, words: Sequence[str], numbers: Sequence[str]) -> Iterator[pa.RecordBatch]:
        names = [*words, *numbers]
        with self._errors():
            if self._is_parquet:
                self._check_groups()
                with pq.ParquetFile(self.path) as file:
                    yield from file.iter_batches(BATCH_ROWS, columns=names, use_threads=False)
                return
            types = {name: pa.string() for name in words} | {name: pa.float64() for name in numbers}
            convert = csv.ConvertOptions(column_types=types, include_columns=names)
            with csv.open_csv(self.path, self._read_options(), convert_options=convert) as reader:
                yield from reader

    def _bounded(self, reader: Any) -> Iterator[pa.RecordBatch]:
        rows = 0
        with reader:
            for batch in reader:
                rows += len(batch)
                if rows > MOST_ROWS:
                    raise DataError(f"{self.path} has more than {MOST_ROWS:,} rows")
                yield batch

    def _check_groups(self) -> None:
        about = pq.read_metadata(self.path)
        for group in range(about.num_row_groups):
            if about.row_group(group).total_byte_size > GROUP_BYTES:
                raise DataError(f"{self.path}: a row group is larger than {GROUP_BYTES >> 30} GiB: write smaller ones")

    def _words(self, name: str, column: pa.Array) -> Words:
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        if not (is_plain(column.type) or is_plain(column.type.value_type)):
            raise DataError(f"{self.path}: its column {name} is of {column.type.value_type}: give words or numbers")
        raw = [as_word(value) for value in column.dictionary.to_pylist()]
        if long := [word for word in raw if word is not None and len(word) > WORD]:
            raise DataError(f"{self.path}: column {name} has {long[0]:.40}..., of more than {WORD} letters")
        words = list(dict.fromkeys(word for word in raw if word is not None))
        place = {word: i for i, word in enumerate(words)}
        to = np.array([-1 if word is None else place[word] for word in raw] + [-1])
        codes = column.indices.fill_null(len(raw)).to_numpy(zero_copy_only=False)
        return Words(to[codes], words)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Say in one line what pyarrow does not take."""
        try:
            yield
        except (OSError, pa.ArrowException, UnicodeDecodeError, MemoryError) as error:
            what = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise DataError(f"{self.path} can't be read ({what:.200}): give a CSV or Parquet file") from None


def as_word(value: Any) -> str | None:
    """Return a value as a word; None for an empty one."""
    if value is None or value == "" or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    return text.partition(".")[0] if re.fullmatch(r"-?\d+\.0+", text) else text
