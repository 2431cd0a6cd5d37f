"""Attacks on data of one's own: npz files and folders of images."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .box import Attempt, Box, Kind
from .tables import evil_image
from .values import ODD_NAMES


def _generate(box: Box, data: str, *words: str) -> tuple[str, ...]:
    return ("generate", str(box.out / "two.toml"), "--dataset", data, "--run", str(box.out / "made"), *words)


TEMPLATE = """title = "two"
description = "two"
dataset = "digits"
[recipe]
epochs = 1
[[cells]]
kind = "explicit"
name = "Basic"
layers = [
    { op = "Reshape", shape = ["pixels"] },
    { op = "Linear", in_features = "pixels", out_features = "classes" },
    { op = "LogSoftmax", dim = 1 },
]
"""


def npz(rng: random.Random, box: Box) -> Attempt:
    """Write a file of numpy's whose arrays, headers or zip entries are not what they should be."""
    (box.out / "two.toml").write_text(TEMPLATE)
    file = box.out / "data.npz"
    make = np.random.default_rng(rng.randrange(2**32))
    count = rng.choice((12, 12, 12, 1, 0))
    arrays: dict[str, Any] = {
        "x_train": make.integers(0, 256, (count, 4, 4), dtype=np.uint8),
        "y_train": np.arange(count) % 3,
        "x_test": make.integers(0, 256, (6, 4, 4), dtype=np.uint8),
        "y_test": np.arange(6) % 3,
        "classes": np.array(["a", "b", "c"]),
    }
    members = {f"{name}.npy": _raw(array) for name, array in arrays.items()}
    way = rng.choice(tuple(_NPZ))
    name = rng.choice(tuple(members))
    if way == "array":
        array, what = _odd_array(rng, arrays[name.removesuffix(".npy")])
        members[name] = _raw(array)
    else:
        what = str(_NPZ[way](rng, members, name, box) or "")
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of members that are there twice
        for member, raw in members.items():
            archive.writestr(member, raw)
            if way == "members twice" and member == name:
                archive.writestr(member, raw[: len(raw) // 2] if rng.random() < 0.5 else raw)
    raw = bytearray(file.read_bytes())
    if way == "encrypted":
        for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            where = raw.find(mark)
            while where >= 0:
                raw[where + at] |= 1
                where = raw.find(mark, where + 4)
    elif way == "bytes":
        for _ in range(rng.randint(1, 20)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
    elif way == "cut":
        raw = raw[: rng.randrange(len(raw))]
    file.write_bytes(raw)
    given = rng.choice((file, file, file, Path(os.path.relpath(file, box.here))))
    return Attempt(f"{way} {name} {what}"[:100], (_generate(box, f"npz:{given}"), ("status", str(box.out / "made"))))


def _raw(array: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), allow_pickle=True)
    return file.getvalue()


def _odd_array(rng: random.Random, array: np.ndarray) -> tuple[Any, str]:
    size = len(array)
    ways: dict[str, Callable[[], Any]] = {
        "object": lambda: np.array([object] * size, dtype=object),
        "surrogates": lambda: np.array([f"\udcff{i}" for i in range(size)]),
        "control": lambda: np.array([f"\x1b[31m{i}\x07" for i in range(size)]),
        "markup": lambda: np.array([f"[/b]{i}" for i in range(size)]),
        "odd names": lambda: np.array([rng.choice(ODD_NAMES) for _ in range(size)]),
        "nan": lambda: np.full(array.shape, np.nan) if array.dtype.kind != "U" else np.full(size, np.nan),
        "inf": lambda: np.full(array.shape if array.dtype.kind != "U" else size, np.inf),
        "negative": lambda: np.full(array.shape if array.dtype.kind != "U" else size, -1),
        "huge": lambda: np.full(array.shape if array.dtype.kind != "U" else size, 2**62),
        "complex": lambda: np.full(array.shape if array.dtype.kind != "U" else size, 1j),
        "dates": lambda: np.full(size, np.datetime64("2024-01-01")),
        "void": lambda: np.zeros(size, "V8"),
        "fields": lambda: np.zeros(size, [("a", "i4"), ("b", "f8")]),
        "scalar": lambda: np.array(1),
        "empty": lambda: np.zeros((0, 4, 4)),
        "flat": lambda: np.zeros((size, 0)),
        "many dimensions": lambda: np.zeros((size, *[1] * 20)),
        "channels": lambda: np.zeros((size, 4, 4, 7), np.uint8),
        "bytes": lambda: np.array([b"\xff\xfe"] * size),
        "labels": lambda: np.arange(size) * 500,
        "large": lambda: np.zeros((size, 3000, 3000), np.uint8),
        "wide": lambda: np.zeros((size, 1, 5_000_000), np.uint8),
    }
    way = rng.choice(tuple(ways))
    return ways[way](), way


def _header(rng: random.Random, members: dict[str, bytes], name: str, box: Box) -> str:
    heads = (
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 4, 4)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (6000, 1000, 1000)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 4, 4)}",
        "{'descr': '|u1', 'fortran_order': 1, 'shape': 'x'}",
        "{'descr': '<U1000000', 'fortran_order': False, 'shape': (3,)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3,)}",
        "{'descr': [('a', '<i4', (1000000,))], 'fortran_order': False, 'shape': (3,)}",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (True, 4)}",
        "{'descr': 'x', 'shape': ()}",
        "__import__('os').abort()",
        "(" * 5000,
        "{" + "'a':1," * 20_000 + "}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",)}",
        "'\\ud800",
        "\x00" * 50,
        "{'descr': '|u1', 'fortran_order': False, 'shape': (12L, 4, 4)}",
    )
    head = rng.choice(heads)
    major = rng.choice((1, 2, 3, 9))
    raw = head.encode("utf-8", "surrogatepass") + b"\n"
    length = struct.pack("<H", len(raw) & 0xFFFF) if major == 1 else struct.pack("<I", len(raw))
    members[name] = b"\x93NUMPY" + bytes((major, 0)) + length + raw + b"\x00" * rng.choice((0, 100, 5000))
    return head[:40]


class _Payload:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


def _pickled(rng: random.Random, members: dict[str, bytes], name: str, box: Box) -> None:
    plain = pickle.dumps([_Payload(str(box.marker))])
    head = (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", 60)
        + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(60)
    )
    members[name] = plain if rng.random() < 0.3 else head + plain


def _other_member(rng: random.Random, members: dict[str, bytes], name: str, box: Box) -> str:
    raw = members.pop(name)
    other = rng.choice((name.removesuffix(".npy"), "../../x.npy", "x_train.npy/", "é.npy", "x" * 300, name.upper()))
    members[other] = rng.choice((raw, b"", b"plain text"))
    return other[:30]


_NPZ: dict[str, Callable[[random.Random, dict[str, bytes], str, Box], Any]] = {
    "array": lambda *_: None,
    "header": _header,
    "header again": _header,
    "pickled": _pickled,
    "other member": _other_member,
    "member removed": lambda rng, members, name, box: members.pop(name) and None,
    "members twice": lambda *_: None,
    "encrypted": lambda *_: None,
    "bytes": lambda *_: None,
    "cut": lambda *_: None,
}


def images(rng: random.Random, box: Box) -> Attempt:
    """Put what is no image, or no file, into a folder of images."""
    from PIL import Image

    (box.out / "two.toml").write_text(TEMPLATE)
    root = box.out / "images"
    make = np.random.default_rng(rng.randrange(2**32))
    for part, count in (("train", 4), ("test", 2)):
        for name in ("bag", "boot"):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(make.integers(0, 256, (6, 5), dtype=np.uint8)).save(root / part / name / f"{i}.png")
    folder = root / rng.choice(("train", "test")) / rng.choice(("bag", "boot"))
    way = rng.choice(tuple(_IMAGES))
    what = _IMAGES[way](rng, folder, box)
    fake = box.out / "bin"
    fake.mkdir()
    for name in ("gs", "gswin32c"):  # whoever calls Ghostscript calls this
        (fake / name).write_text(f"#!/bin/sh\necho called > {box.marker}\nexit 1\n")
        (fake / name).chmod(0o755)
    words: list[str] = []
    if rng.random() < 0.7:
        words += ["--image-size", rng.choice(("8", "8", "8", "1", "1024", "1x5000", "20000", "0"))]
    if rng.random() < 0.5:
        words += ["--color", rng.choice(("grey", "rgb", "auto"))]
    if rng.random() < 0.5:
        words.append("--skip-unreadable")
    asked = ("generate", "estimate") if rng.random() < 0.1 else ("generate",)
    made = str(box.out / "made")
    commands = [_generate(box, f"folder:{root}", *words), ("status", made), ("estimate", made, "--seconds", "0")]
    return Attempt(f"{way} {what or ''} {' '.join(words)}"[:100], tuple(commands[: 1 + len(asked)]), path=(str(fake),))


def _bytes_name(rng: random.Random, folder: Path, box: Box) -> None:
    raw = os.fsencode(folder)
    os.rename(raw + b"/0.png", raw + rng.choice((b"/\xff\xfe.png", b"/\x1b[31m.png", b"/a\nb.png", b"/[red.png")))


def _class_name(rng: random.Random, folder: Path, box: Box) -> str:
    name = rng.choice((b"\xff\xfe", b"\x1b[31mred", b"[red", b"a\nb", b"=1+1", "名前".encode(), b"-", b"x" * 250))
    for part in ("train", "test"):
        top = os.fsencode(folder.parent.parent / part)
        os.rename(top + b"/boot", top + b"/" + name)
    return repr(name)[:20]


def _link(rng: random.Random, folder: Path, box: Box) -> str:
    target = rng.choice(
        ("/dev/zero", "/dev/tty", "0.png", "loop.png", "..", str(box.outside / "secret.txt"), "/proc/kmsg")
    )
    os.symlink(target, folder / "loop.png")
    return target.replace(str(box.folder), "")


def _special(rng: random.Random, folder: Path, box: Box) -> None:
    import socket

    if rng.random() < 0.7:
        os.mkfifo(folder / "fifo.png")
    else:
        os.chdir(folder)
        socket.socket(socket.AF_UNIX).bind("socket.png")


def _evil(rng: random.Random, folder: Path, box: Box) -> None:
    (folder / rng.choice(("0.png", "evil.png", "evil.jpg", "evil.tif"))).write_bytes(evil_image(rng))


def _form(rng: random.Random, folder: Path, box: Box) -> str:
    from PIL import Image

    mode = rng.choice(("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "LA", "F", "I"))
    suffix = rng.choice((".png", ".tif", ".webp", ".jpg", ".bmp", ".ppm"))
    try:
        Image.new(mode, rng.choice(((5, 6), (5, 6), (1, 1), (3000, 2), (3000, 3000)))).save(folder / f"other{suffix}")
    except (OSError, KeyError, ValueError):
        (folder / f"other{suffix}").write_bytes(b"")
    return mode


def _spoilt(rng: random.Random, folder: Path, box: Box) -> None:
    raw = bytearray((folder / "1.png").read_bytes())
    for _ in range(rng.randint(1, 10)):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    (folder / "1.png").write_bytes(raw[: rng.randrange(len(raw))] if rng.random() < 0.3 else raw)


def _layout(rng: random.Random, folder: Path, box: Box) -> None:
    deep = [folder / "/".join(["d"] * depth) for depth in range(1, 1 + rng.choice((1, 100, 300)))]
    ways: tuple[Callable[[], Any], ...] = (
        lambda: [path.mkdir() for path in deep],
        lambda: [path.unlink() for path in folder.iterdir()],
        lambda: (folder.parent / "empty").mkdir(),
        lambda: [(folder.parent / f"c{i}").mkdir() for i in range(1100)],
        lambda: os.symlink("..", folder.parent / "up"),
        lambda: (folder / "1.png").chmod(0),
        lambda: [(folder / f"x{i}.png").write_bytes(b"") for i in range(2000)],
    )
    rng.choice(ways)()


_IMAGES: dict[str, Callable[[random.Random, Path, Box], str | None]] = {
    "not UTF-8": _bytes_name,
    "class name": _class_name,
    "link": _link,
    "special file": _special,
    "evil image": _evil,
    "evil image again": _evil,
    "other form": _form,
    "spoilt": _spoilt,
    "layout": _layout,
}

KINDS = (
    Kind("npz", "files of numpy's with other arrays, headers, entries", npz, torch=True),
    Kind("images", "folders with what is no image or no file", images, torch=True),
)
