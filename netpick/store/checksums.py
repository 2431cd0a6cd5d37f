"""The checksums of a Parquet file's footer, beside those that Parquet keeps of its pages, and of a file of weights.

Parquet's own checksums cover the pages alone. Names of columns, places of pages, the trainings that a file holds and
the ranges by which row groups are passed over stand in the footer; a flipped bit there gives other values, or none,
without a word. So the footer's metadata has a CRC-32 of the footer, worked out with zeros in its own place. A file of
weights has none of its own: its head has that of the whole file, in the same way.
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
    if not _holds(footer, at):
        raise OSError("the checksum of its footer is another")


WEIGHTS_KEY = "netpick.crc32"
_WEIGHTS_AT = f'"{WEIGHTS_KEY}":"'.encode()


def weights_note(training: str) -> dict[str, str]:
    """Return the metadata of a file of weights: one value, since several come in another order each time."""
    return {WEIGHTS_KEY: f"{EMPTY} {training}"}


def sealed_weights(content: bytes) -> bytes:
    """Put the checksum into the bytes of a file of weights that has `weights_note`."""
    at = content.index(_WEIGHTS_AT) + len(_WEIGHTS_AT)
    return b"%b%08x%b" % (content[:at], zlib.crc32(content), content[at + len(EMPTY) :])


def check_weights(content: bytes, training: str) -> None:
    """Raise OSError where weights are not what was written of a training; files of before do not say, and pass."""
    at = content.find(_WEIGHTS_AT, 0, 8 + int.from_bytes(content[:8], "little")) + len(_WEIGHTS_AT)
    if at < len(_WEIGHTS_AT):
        return
    if not _holds(content, at):
        raise OSError("its checksum is another")
    whose = content[at + len(EMPTY) : at + 400].partition(b'"')[0].decode(errors="replace")
    if whose not in ("", f" {training}"):
        raise OSError("it holds those of another training")


def _holds(content: bytes, at: int) -> bool:
    """Whether the checksum that stands at a place of some bytes is theirs."""
    end, view = at + len(EMPTY), memoryview(content)  # may be long: not copied
    sum_ = zlib.crc32(view[end:], zlib.crc32(EMPTY.encode(), zlib.crc32(view[:at])))
    return content[at:end] == f"{sum_:08x}".encode()


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
