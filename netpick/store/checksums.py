"""The checksum of a Parquet file's footer, beside those that Parquet keeps of its pages: no flipped bit goes unnoticed.

Parquet's own checksums cover the pages alone. Names of columns, places of pages, the trainings that a file holds and
the ranges by which row groups are passed over stand in the footer; a flipped bit there gives other values, or none,
without a word. So the footer's metadata has a CRC-32 of the footer, worked out with zeros in its own place.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import IO

from netpick.core.files import open_regular

KEY = "netpick.footer_crc32"
EMPTY = "0" * 8
_TAIL = 8
"""A Parquet file ends in the length of its footer, 4 bytes, and the word PAR1."""


def seal(file: IO[bytes]) -> None:
    """Put the checksum into the footer of a whole Parquet file, open for reading and writing, that has EMPTY by KEY."""
    start, footer = _footer(file)
    at = _place(footer)
    if at is None:
        raise ValueError(f"the footer has no {KEY}")
    file.seek(start + at)
    file.write(f"{zlib.crc32(footer):08x}".encode())
    file.seek(0, 2)


def check(path: Path) -> None:
    """Raise OSError where a footer is not the one that was written; files of before, which have no checksum, pass."""
    with open_regular(path) as file:
        footer = _footer(file)[1]
    at = _place(footer)
    if at is None:
        return
    end, view = at + len(EMPTY), memoryview(footer)  # a merged file's is long: not copied
    sum_ = zlib.crc32(view[end:], zlib.crc32(EMPTY.encode(), zlib.crc32(view[:at])))
    if footer[at:end] != f"{sum_:08x}".encode():
        raise OSError("the checksum of its footer is another")


def _footer(file: IO[bytes]) -> tuple[int, bytes]:
    """Return where the footer begins, and the footer."""
    size = file.seek(0, 2)
    if size < _TAIL:
        raise OSError("it is too short for a Parquet file")
    file.seek(size - _TAIL)
    length = int.from_bytes(file.read(4), "little")
    start = size - _TAIL - length
    if start < 0 or file.read(4) != b"PAR1":
        raise OSError("it doesn't end as a Parquet file does")
    file.seek(start)
    return start, file.read(length)


def _place(footer: bytes) -> int | None:
    """Return where the checksum stands: behind its key there are the type and the length of the value, a byte each."""
    at = footer.find(KEY.encode())
    return None if at < 0 else at + len(KEY) + 2
