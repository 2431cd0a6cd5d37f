"""Arrays of one's own in a file of numpy's: `x_train, y_train, x_test, y_test`, and perhaps `classes` and `layout`.

Images are (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels; rows of numbers (N, F) become images of one
row. Whole numbers from 0 to 255 are kept as uint8; everything else is kept as float32, as it is. Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from netpick.core.errors import DataError, listed, suggest
from netpick.data.image_folder import MAX_CLASSES
from netpick.data.npz_members import Form, Members, opened
from netpick.data.samples import Split

PIXELS, LABELS = ("x_train", "x_test"), ("y_train", "y_test")
LAYOUTS = ("NHWC", "NCHW")
LONGEST_NAME = 255
"""Characters of a class's name: those of a folder's."""

_MORE = ("classes", "layout")
_WANTED = "wanted are x_train, y_train, x_test and y_test, or the first two to be split by the seed"


@dataclass(frozen=True)
class Header:
    """What is known without the pixels: shape (channels, height, width), names of classes, labels of each part."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    labels: dict[str, np.ndarray]


def read_header(path: Path) -> Header:
    """Read the labels, and of the pixels the shapes, and whether they are numbers where they need not be.

    Raises
    ------
    DataError
        The file is missing, no npz file, lacks an array, or holds what is not as the module's docstring says.
    """
    with opened(path, _WANTED) as file:
        header = _checked_header(path, file)
        forms = {name: form for name in PIXELS if name in file and (form := file.form(name)).dtype.kind == "f"}
        _check_memory(f"npz:{path}", forms.values())
        for name in forms:
            _pixels(path, name, file.read(name))
        return header


def read_arrays(path: Path) -> tuple[Header, dict[str, Split]]:
    """Read all, and check it; the parts are "train" and "test", or "whole" where a split is still to be made.

    Raises
    ------
    DataError
        As `read_header`; pixels that are not numbers, or too large for memory.
    """
    with opened(path, _WANTED) as file:
        header = _checked_header(path, file)
        forms = {name: file.form(name) for name in PIXELS if name in file}
        kinds = {name: form.dtype.kind for name, form in forms.items()}
        _check_memory(f"npz:{path}", forms.values())
        raw = {name: _pixels(path, name, file.read(name)) for name in forms}
        dtype = np.result_type(*raw.values())  # whole numbers beyond 255 in one part make both float32
        most = 255 if dtype == np.uint8 and "b" not in kinds.values() else 1
        parts = {}
        for part, labels in header.labels.items():
            name = "x_test" if part == "test" else "x_train"
            pixels = raw[name].astype(dtype, copy=False)
            if _layout(path, file, name, pixels.shape) == "NHWC":
                pixels = pixels.transpose(0, 3, 1, 2)
            pixels = np.ascontiguousarray(pixels).reshape(-1, *header.shape)
            parts[part] = Split(pixels, labels, np.arange(len(labels), dtype=np.int32), most)
        return header, parts


def _check_memory(where: str, forms: Iterable[Form]) -> None:
    """Refuse arrays that memory has no room for: as they are, and four bytes a value as the networks take it."""
    need = sum(form.size * (form.dtype.itemsize + 4) for form in forms)
    if need > (there := psutil.virtual_memory().available):
        raise DataError(
            f"{where}: does not fit into memory: its arrays take {need / 2**30:.1f} GiB, {there / 2**30:.1f} are free:"
            " leave samples out"
        )


def _checked_header(path: Path, file: Members) -> Header:
    where = f"npz:{path}"
    names = set(file)
    unknown = sorted(names - {*PIXELS, *LABELS, *_MORE})
    for name in ("x_train", "y_train"):
        if name not in names:
            near = suggest(name, unknown)
            raise DataError(f"{where}: lacks {name}{near}; it holds {listed(sorted(names)) or 'nothing'}; {_WANTED}")
    if ("x_test" in names) != ("y_test" in names):
        has, lacks = ("x_test", "y_test") if "x_test" in names else ("y_test", "x_test")
        raise DataError(f"{where}: has {has} and no {lacks}; {_WANTED}")
    parts = {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")}
    if "x_test" not in names:
        parts = {"whole": ("x_train", "y_train")}
    shapes, raw, kinds = {}, {}, {}
    for part, (x, y) in parts.items():
        form, dtype = file.form(x)
        if dtype.kind not in "buif":
            raise DataError(f"{where}: {x} is of type {dtype}: wanted whole or floating point numbers")
        kinds[dtype.kind.replace("u", "i")] = f"{x} is of type {dtype}"
        shapes[part] = _image_shape(path, file, x, form)
        raw[part] = _read_labels(where, file, y)
        if form[0] != len(raw[part]):
            raise DataError(f"{where}: {x} has {form[0]} samples and {y} {len(raw[part])}: give as many of each")
        if not len(raw[part]):
            what = "test on" if part == "test" else "train on"
            raise DataError(f"{where}: {x} is empty: there is nothing to {what}; {_WANTED}")
    if len(set(shapes.values())) > 1:
        raise DataError(f"{where}: x_train has images of {shapes['train']}, x_test of {shapes['test']}: give both one")
    if len(kinds) > 1:  # as 0 to 255 and 0 to 1 would be
        raise DataError(f"{where}: {', '.join(kinds.values())}: give both in one type")
    given = _read_text(where, file, "classes", MAX_CLASSES) if "classes" in names else None
    classes, numbers = _labels(where, {part: (parts[part][1], labels) for part, labels in raw.items()}, given)
    return Header(next(iter(shapes.values())), classes, numbers)


def _read_labels(where: str, file: Members, name: str) -> np.ndarray:
    """Return an array of labels; a column of them is taken as well."""
    form = file.form(name)
    if len(form.shape) != 1 and form.shape[1:] != (1,):
        raise DataError(f"{where}: {name} has the shape {form.shape}: wanted one label a sample, not a table of scores")
    _check_memory(where, [form])
    return file.read(name).reshape(-1)


def _read_text(where: str, file: Members, name: str, most: int) -> list[str]:
    """Return the words of an array that is no sample's."""
    shape, dtype = file.form(name)
    if len(shape) > 1 or dtype.kind not in "USbuif" or dtype.itemsize > 4 * LONGEST_NAME:
        raise DataError(
            f"{where}: {name} is of shape {shape} and type {dtype}: wanted a list of words of at most {LONGEST_NAME}"
            " letters"
        )
    if shape and shape[0] > most:
        raise DataError(f"{where}: has {shape[0]} {name}, the most is {most}: leave some out")
    return [str(word) for word in np.atleast_1d(file.read(name))]


def _layout(path: Path, file: Members, name: str, form: tuple[int, ...]) -> str:
    """Return NHWC or NCHW of an array with four dimensions, and the word for those with fewer."""
    if len(form) < 4:
        return ""
    if "layout" in file:
        given = listed(_read_text(f"npz:{path}", file, "layout", 1))
        if given not in LAYOUTS:
            raise DataError(f"npz:{path}: layout is '{given}', allowed are {listed(LAYOUTS)}")
        return given
    first, last = form[1] in (1, 3), form[3] in (1, 3)
    if first and last:
        raise DataError(
            f"npz:{path}: {name} has the shape {form}: the channels may come first or last; say which with an array"
            " 'layout' in the file, numpy.savez(..., layout='NHWC') or 'NCHW'"
        )
    if not first and not last:
        raise DataError(f"npz:{path}: {name} has the shape {form}: wanted 1 or 3 channels, first or last")
    return "NCHW" if first else "NHWC"


def _image_shape(path: Path, file: Members, name: str, form: tuple[int, ...]) -> tuple[int, int, int]:
    if not 2 <= len(form) <= 4 or 0 in form[1:]:
        raise DataError(
            f"npz:{path}: {name} has the shape {form}: wanted (samples, height, width), with channels first or last,"
            " or (samples, features)"
        )
    if len(form) < 4:
        return (1, *form[1:]) if len(form) == 3 else (1, 1, form[1])
    rest = form[1:]
    shape = tuple(rest) if _layout(path, file, name, form) == "NCHW" else (rest[2], rest[0], rest[1])
    if shape[0] not in (1, 3):
        raise DataError(f"npz:{path}: {name} has {shape[0]} channels by its layout: wanted 1 or 3")
    return shape  # type: ignore[return-value]


def _labels(
    where: str, raw: dict[str, tuple[str, np.ndarray]], given: list[str] | None
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Return the names of the classes, and the labels as int64 from 0; names in place of labels are numbered.

    `raw` has, of each part, the name of the array and what it holds; `given` are the names that the file gives.
    """
    if given is not None and len(set(given)) < len(given):
        twice = next(name for name in given if given.count(name) > 1)
        raise DataError(f"{where}: classes names '{twice}' twice: give each class a name of its own")
    words = all(labels.dtype.kind in "US" for _, labels in raw.values())
    names, numbers = (_from_names if words else _from_numbers)(where, raw, given)
    if len(names) > MAX_CLASSES:
        raise DataError(f"{where}: has {len(names)} classes, the most is {MAX_CLASSES}: leave some out")
    if len(names) < 2:
        raise DataError(f"{where}: has one class only, '{names[0]}': wanted two or more")
    part, learned = next(iter(numbers.items()))
    _check_counts(where, names, learned, least=2 if part == "whole" else 1)
    return tuple(names), numbers


def _from_names(
    where: str, raw: dict[str, tuple[str, np.ndarray]], given: list[str] | None
) -> tuple[list[str], dict[str, np.ndarray]]:
    texts = {part: labels.astype(str).tolist() for part, (_, labels) in raw.items()}
    names = given or sorted(set(next(iter(texts.values()))))
    number = {name: label for label, name in enumerate(names)}
    for part, labels in texts.items():
        strange = sorted(set(labels) - set(number))
        if strange:
            known = "classes" if given else "y_train"
            raise DataError(f"{where}: {raw[part][0]} has labels that {known} lacks: {listed(strange)}")
    return names, {part: np.array([number[name] for name in labels], np.int64) for part, labels in texts.items()}


def _from_numbers(
    where: str, raw: dict[str, tuple[str, np.ndarray]], given: list[str] | None
) -> tuple[list[str], dict[str, np.ndarray]]:
    numbers = {part: _whole(where, name, labels) for part, (name, labels) in raw.items()}
    count = len(given) if given is not None else int(next(iter(numbers.values())).max()) + 1
    for part, labels in numbers.items():
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= count:
            reach = "the names in classes" if given is not None else "y_train"
            raise DataError(
                f"{where}: {raw[part][0]} has labels from {low} to {high}, wanted 0 to {count - 1} by {reach}"
            )
    if count > MAX_CLASSES and given is None:
        raise DataError(
            f"{where}: y_train has labels up to {count - 1}, for {count} classes; the most is {MAX_CLASSES}: number"
            " the classes from 0 on"
        )
    return given or [str(label) for label in range(count)], numbers


def _check_counts(where: str, names: list[str], learned: np.ndarray, least: int) -> None:
    """Refuse classes with fewer samples to train on than are needed."""
    for label, count in enumerate(np.bincount(learned, minlength=len(names))):
        if count < least:
            need = "1 or more" if least == 1 else "2 or more, to split them"
            raise DataError(
                f"{where}: class {label} ('{names[label]}') has {count} samples in y_train, wanted {need}; number the"
                " classes from 0 on without gaps"
            )


def _whole(where: str, name: str, labels: np.ndarray) -> np.ndarray:
    """Return labels as int64, or raise where they are no whole numbers."""
    if labels.dtype.kind not in "buif":
        raise DataError(f"{where}: {name} is of type {labels.dtype}: wanted whole numbers from 0, or names")
    if labels.dtype.kind == "f":
        broken = np.flatnonzero(~np.isfinite(labels) | (labels != np.trunc(labels)))
        if len(broken):
            raise DataError(
                f"{where}: {name} has {len(broken)} labels that are no whole numbers, such as {labels[broken[0]]} of"
                f" sample {broken[0]}: wanted whole numbers from 0"
            )
    return labels.astype(np.int64)


def _pixels(path: Path, name: str, pixels: np.ndarray) -> np.ndarray:
    """Return pixels as uint8 where they are whole numbers from 0 to 255, else as float32; refuse what is no number."""
    if pixels.dtype in (np.uint8, bool):
        return pixels.astype(np.uint8, copy=False)
    if pixels.dtype.kind in "ui" and pixels.min() >= 0 and pixels.max() <= 255:
        return pixels.astype(np.uint8)
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused
        pixels = pixels.astype(np.float32)
    bad = ~np.isfinite(pixels.reshape(len(pixels), -1)).all(axis=1)
    if bad.any():
        raise DataError(
            f"npz:{path}: {name} has pixels that are no numbers (NaN or infinite) in {int(bad.sum())} of {len(bad)}"
            f" samples, sample {int(bad.argmax())} first: mend these samples, or take them out of the file"
        )
    return pixels
