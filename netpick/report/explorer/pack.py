"""How what the page holds becomes text within it: arrays as bytes, compressed, in base64; values as JSON.

The page reads a block with its browser's own `DecompressionStream`. What is in the blocks is the business of others.
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

LEVEL = 6
"""Of the compression: the highest one takes five times as long, for two percent."""


class Block(NamedTuple):
    """A named piece of the page's data, compressed; `kind` says what it is read as: bytes by type, or json."""

    kind: str
    content: bytes

    @property
    def text(self) -> Markup:
        """The content as it stands in the page."""
        return Markup(base64.b64encode(self.content).decode())

    @property
    def size(self) -> int:
        """Bytes that it takes in the page."""
        return -(-len(self.content) // 3) * 4


def packed(value: Any) -> Block:
    """Pack an array of uint8, uint16, float32 or float64, bytes, or anything that JSON can say."""
    if isinstance(value, np.ndarray):
        little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        return Block(f"{value.dtype.kind}{value.dtype.itemsize}", _compressed(little.tobytes()))
    if isinstance(value, bytes):
        return Block("u1", _compressed(value))
    return Block("json", _compressed(plain(value).encode()))


def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, LEVEL, mtime=0)


def plain(value: Any) -> str:
    """Write a value as JSON, with null where a number is none."""
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def within_html(value: Any) -> Markup:
    """Write a value as JSON that can stand within a script element of a page: nothing in it ends that element."""
    return Markup(plain(value).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _finite(value: Any) -> Any:
    """Return a value with plain numbers in place of numpy's, and None in place of NaN and the infinities."""
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return _finite(value.tolist())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def differences(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return answers as their difference from the label modulo the classes: (networks, samples) to (samples, networks).

    What is right is 0, and networks that make the same mistake have the same number: that compresses threefold.
    """
    kind = np.uint8 if classes <= 256 else np.uint16
    return np.ascontiguousarray(((predicted.astype(np.int32) - labels) % classes).astype(kind).T)
