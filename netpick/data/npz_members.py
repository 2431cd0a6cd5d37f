"""The arrays in an npz file that may be anyone's: what each one's header says, and its contents where that is true.

numpy evaluates a header as an expression, and makes an array of the size that it promises. So each header is held
against the form that numpy writes, and against the size of its member, before numpy sees it. What the arrays mean is
the business of `npz`.
"""

from __future__ import annotations

import lzma
import os
import re
import sys
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from netpick.core.errors import DataError
from netpick.core.files import open_regular

MAGIC = b"\x93NUMPY"
HEADER_BYTES = 10_000
"""numpy's own bound."""

_HEADER = re.compile(
    r"\{ ?'descr': '(?P<type>[<>|=]?[A-Za-z]\d{0,9}(?:\[\w{1,9}\])?)', "
    r"'fortran_order': (?:True|False), 'shape': \((?P<shape>[\dL, ]{0,500})\),? ?\}\s*"
)
_OBJECTS = "it holds objects, which could run code when read: convert them to arrays of numbers or text"
_BROKEN = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


class Form(NamedTuple):
    """What an array's header says."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Number of values; Python's integers don't overflow."""
        return int(np.prod(self.shape, dtype=object))


class Members:
    """The arrays of an open npz file by name, read when asked for."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in self._infos:
                raise ValueError(f"it holds {name[:80]} twice")
            self._infos[name] = info

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    def form(self, name: str) -> Form:
        """Return an array's shape and type without its contents; ValueError for a header that can't be true."""
        info = self._infos[name]
        if info.flag_bits & 1:
            raise ValueError(f"{name} is encrypted: write it without a password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name} is compressed in a way that numpy doesn't: write it with numpy.savez_compressed")
        with self._archive.open(info) as member:
            start = member.read(8)
            if start[:6] != MAGIC or start[6:] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
                raise ValueError(f"{name} is no array of numpy's: write it with numpy.savez")
            length = int.from_bytes(member.read(2 if start[6] == 1 else 4), "little")
            if length > HEADER_BYTES:
                raise ValueError(f"{name} has a header of {length:,} bytes, the most is {HEADER_BYTES:,}")
            said = _HEADER.fullmatch(member.read(length).decode("latin-1"))
            begin = member.tell()
        if not said:
            raise ValueError(f"{name} has a header that numpy doesn't write for numbers or text: write it with savez")
        try:
            dtype = np.dtype(said["type"])
        except TypeError:
            raise ValueError(f"{name} is of a type that numpy doesn't know, {said['type']}") from None
        shape = re.findall(r"\d+", said["shape"])
        if len(shape) > 32 or any(len(number) > 18 for number in shape):
            raise ValueError(f"{name} has a shape that no array has")
        form = Form(tuple(map(int, shape)), dtype)
        need = form.size * dtype.itemsize
        if not dtype.hasobject and begin + need != info.file_size:
            raise ValueError(f"{name} promises {need:,} bytes and holds {info.file_size - begin:,}: write it again")
        return form

    def read(self, name: str) -> np.ndarray:
        """Return an array; ValueError where it holds objects."""
        if self.form(name).dtype.hasobject:
            raise ValueError(_OBJECTS)
        with self._archive.open(self._infos[name]) as member, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numbers as Python 2 wrote them
            array = np.lib.format.read_array(member, allow_pickle=False)
        if array.dtype.kind == "U" and array.nbytes:
            numbers = array.reshape(-1).view(f"{array.dtype.byteorder}u4")
            if numbers.max() > sys.maxunicode:
                raise ValueError(f"{name} holds what is no text")
        return array


@contextmanager
def opened(path: Path, wanted: str) -> Iterator[Members]:
    """Open an npz file, and turn whatever a bad one raises into one line that says what is `wanted`."""
    if os.path.isdir(path):
        raise DataError(f"npz:{path}: is a folder; {wanted}")
    try:
        with open_regular(path) as file:
            start = file.read(len(MAGIC))
            if start == MAGIC:
                raise DataError(f"npz:{path}: holds one array without a name: write it with numpy.savez; {wanted}")
            if start and not zipfile.is_zipfile(file):
                raise ValueError(f"it is no npz file; if it is a pickle, {_OBJECTS}")
            with zipfile.ZipFile(file) as archive:
                yield Members(archive)
    except _BROKEN as error:
        raise DataError(f"npz:{path}: can't be read: {' '.join(str(error).split())[:200]}") from None
    except MemoryError as error:
        raise DataError(f"npz:{path}: does not fit into memory: {str(error)[:200]}") from None
