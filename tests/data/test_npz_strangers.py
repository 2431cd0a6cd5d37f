"""Files of numpy's that may be anyone's: nothing in them is evaluated or taken at its word, and each is one line."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from netpick import data
from netpick.core.errors import DataError
from netpick.data import DataRequest

ARRAYS = {
    "x_train": np.arange(12 * 16, dtype=np.uint8).reshape(12, 4, 4),
    "y_train": np.arange(12) % 3,
    "x_test": np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4),
    "y_test": np.arange(6) % 3,
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "own.npz"


def raw(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def headed(header: str | bytes, major: int = 1, content: bytes = b"") -> bytes:
    text = header.encode("utf-8", "surrogatepass") if isinstance(header, str) else header
    length = struct.pack("<H", len(text) & 0xFFFF) if major == 1 else struct.pack("<I", len(text))
    return b"\x93NUMPY" + bytes((major, 0)) + length + text + content


def write(path: Path, method: int = zipfile.ZIP_STORED, **members: bytes | None) -> Path:
    whole = {f"{name}.npy": raw(array) for name, array in ARRAYS.items()}
    whole |= {name.replace("__", "."): content for name, content in members.items()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in whole.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def refusal(path: Path) -> str:
    """Return what is said, by reading as by describing."""
    said = set()
    for way in (data.load, data.describe):
        with pytest.raises(DataError) as caught:
            way(DataRequest(f"npz:{path}", ""))
        said.add(str(caught.value))
    (line,) = said
    assert line.startswith(f"npz:{path}: ")
    assert "\n" not in line
    return line


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_numpy_writes_is_read(path, method):
    dataset = data.load(DataRequest(f"npz:{write(path, method)}", ""))
    np.testing.assert_array_equal(dataset.split("train").pixels[:, 0], ARRAYS["x_train"])
    np.testing.assert_array_equal(dataset.split("test").labels, ARRAYS["y_test"])


def test_other_programs_and_older_ones_write_headers_too(path):
    x, y = ARRAYS["x_train"], ARRAYS["y_train"]
    plain = headed("{'descr': '|u1', 'fortran_order': True, 'shape': (12L, 4L, 4L), }\n", 2, x.tobytes("F"))
    close = headed("{'descr': '>i8', 'fortran_order': False, 'shape': (12,)}", 1, y.astype(">i8").tobytes())
    split = data.load(DataRequest(f"npz:{write(path, x_train__npy=plain, y_train__npy=close)}", "")).split("train")
    np.testing.assert_array_equal(split.pixels[:, 0], x)
    np.testing.assert_array_equal(split.labels, y)


@pytest.mark.parametrize("major", [1, 2, 3])
@pytest.mark.parametrize(
    "header",
    [
        "__import__('os').abort()",
        "(" * 5000,
        "{" + "'a':1," * 1500 + "}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 400 + ",)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "1, " * 40 + ")}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 4, 4)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (True, 4)}",
        "{'descr': '|u1', 'fortran_order': 1, 'shape': 'x'}",
        "{'descr': [('a', '<i4', (1000000,))], 'fortran_order': False, 'shape': (3,)}",
        "{'descr': 'x', 'fortran_order': False, 'shape': ()}",
        "'\ud800",
        b"\x00" * 50,
        b"\xff\xfe" * 50,
    ],
)
def test_a_header_is_checked_before_numpy_evaluates_it(path, monkeypatch, header, major):
    write(path, x_train__npy=headed(header, major, b"\x00" * 100))
    monkeypatch.setattr("ast.literal_eval", lambda text: pytest.fail(f"evaluated {text[:80]}"))
    assert "can't be read: x_train " in refusal(path)


@pytest.mark.parametrize(
    "shape", ["(1000000000000, 4, 4)", "(6000, 1000, 1000)", "(12, 4, 5)", "(12, 4)", "(999999999999999999, 8, 8)"]
)
@pytest.mark.parametrize("name", ["x_train", "y_test"])
def test_a_header_that_promises_more_or_less_than_there_is(path, shape, name):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}"
    write(path, zipfile.ZIP_DEFLATED, **{f"{name}__npy": headed(header, 1, bytes(192))})
    assert f"can't be read: {name} promises " in refusal(path)


def test_a_header_of_gigabytes_is_not_read(path):
    content = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + bytes(1000)
    said = refusal(write(path, x_train__npy=content))
    assert "x_train has a header of 4,294,967,295 bytes, the most is 10,000" in said


def test_what_memory_has_no_room_for_is_not_read(path, monkeypatch):
    write(path)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=(12 + 6) * 16 * 5))
    assert data.load(DataRequest(f"npz:{path}", ""))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=(12 + 6) * 16 * 5 - 1))
    with pytest.raises(DataError, match=r"does not fit into memory: its arrays take 0\.0 GiB, 0\.0 are free"):
        data.load(DataRequest(f"npz:{path}", ""))


def test_encrypted_members(path):
    content = bytearray(write(path).read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        where = content.find(mark)
        while where >= 0:
            content[where + at] |= 1
            where = content.find(mark, where + 4)
    path.write_bytes(content)
    assert "x_train is encrypted: write it without a password" in refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_members_compressed_as_numpy_does_not(path, method):
    assert "x_train is compressed in a way that numpy doesn't" in refusal(write(path, method))


def test_a_member_that_is_there_twice(path):
    write(path)
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("x_train.npy", raw(ARRAYS["x_train"] + 1))
    assert "it holds x_train twice" in refusal(path)
    write(path, x_train=raw(ARRAYS["x_train"]))  # the same name to numpy, without .npy
    assert "it holds x_train twice" in refusal(path)


@pytest.mark.parametrize("name", list(ARRAYS))
@pytest.mark.parametrize("content", [b"plain text", b"", b"\x80\x04]\x94.", b"\x93NUM"])
def test_a_member_that_is_no_array(path, name, content):
    said = refusal(write(path, **{f"{name}__npy": content}))
    assert f"{name} is no array of numpy's: write it with numpy.savez" in said


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (np.array(["a", "\udcff", "c"]), "the class '\udcff' is not UTF-8: give it another name"),
        (np.array(["a", "b", "c" * 256]), "type <U256: wanted a list of words of at most 255 letters"),
        (np.zeros((3, 2)), "classes is of shape (3, 2)"),
        (np.zeros(3, "V8"), "classes is of shape (3,) and type |V8"),
        (np.zeros(3, "M8[s]"), "classes is of shape (3,) and type datetime64[s]"),
    ],
)
def test_names_of_classes_are_words(path, classes, says):
    assert says in refusal(write(path, classes__npy=raw(classes)))


def test_names_in_place_of_labels_are_as_long_as_other_names(path):
    words = {f"{name}__npy": raw(np.array(["a", "b", "c" * 256])[ARRAYS[name]]) for name in ("y_train", "y_test")}
    said = refusal(write(path, **words))
    assert f"a class's name has 256 characters, '{'c' * 40}…', the most is 255: give it a shorter one" in said


def test_labels_that_are_no_characters(path):
    labels = headed("{'descr': '<U1', 'fortran_order': False, 'shape': (12,)}", 1, b"\xff\xff\xff\x7f" * 12)
    words = headed("{'descr': '<U1', 'fortran_order': False, 'shape': (6,)}", 1, b"\xff\xff\xff\x7f" * 6)
    assert "y_train holds what is no text" in refusal(write(path, y_train__npy=labels, y_test__npy=words))


def test_a_pipe_is_no_file(tmp_path):
    import os

    os.mkfifo(tmp_path / "own.npz")
    assert "not a regular file" in refusal(tmp_path / "own.npz")
