"""Data of one's own, by names such as "folder:shoes" and "npz:shoes.npz": where they lie, and who reads them.

Folders of images are the business of `image_folder` and `image_decoding`, arrays that of `npz`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from netpick.core.errors import DataError, listed
from netpick.core.names import is_unicode
from netpick.data import image_decoding
from netpick.data.image_decoding import Report, decode_images
from netpick.data.image_folder import ImageOptions, list_images, read_headers
from netpick.data.npz import LONGEST_NAME, read_arrays, read_header
from netpick.data.samples import Split

OWN = ("folder", "npz")


def own_kind(name: str) -> str:
    """Return "folder" or "npz" for the name of one's own data, such as "folder:shoes"; "" for any other."""
    kind, colon, path = name.partition(":")
    return kind if colon and path and kind in OWN else ""


def locate(name: str, data_dir: str, resolved: str | None = None) -> Path:
    """Return the absolute path of one's own data.

    Looked for at `resolved`, where it was once; at the path in the name; and below the data directory, under that path
    and under its last part alone.

    Raises
    ------
    DataError
        It is in none of these places, or its path is no text.
    """
    given = Path(os.path.expanduser(name.partition(":")[2]))  # which leaves a user that is not there as it is
    places = [Path(resolved)] if resolved else []
    places += [given, Path(data_dir) / given, Path(data_dir) / given.name]
    for place in places:
        if os.path.exists(place):
            _check_text(f"data set '{name}'", [str(place.resolve())], "path")
            return place.resolve()
    looked = listed(dict.fromkeys(str(place.absolute()) for place in places))
    raise DataError(
        f"data set '{name}' is not there: looked for {looked}; give its path, or name the directory that it lies in"
        " now with --data-dir or NETPICK_DATA"
    )


def _check_text(where: str, texts: Iterable[str], what: str) -> None:
    """Refuse names that run.toml can't hold, since they are not UTF-8, or that are longer than a folder's can be."""
    for text in texts:
        if not is_unicode(text):
            raise DataError(f"{where}: the {what} '{text[:100]}' is not UTF-8: give it another name")
        if what == "class" and len(text) > LONGEST_NAME:
            raise DataError(
                f"{where}: a class's name has {len(text)} characters, '{text[:40]}…', the most is {LONGEST_NAME}:"
                " give it a shorter one"
            )


def own_counts(
    name: str, data_dir: str, options: ImageOptions
) -> tuple[tuple[int, int, int], tuple[str, ...], dict[str, list[int]]]:
    """Return the shape of an image, the classes, and the samples a class of each part ("train", "test", or "whole").

    Headers and labels are read, and no pixels. Raises DataError.
    """
    path = locate(name, data_dir)
    if own_kind(name) == "folder":
        listing = list_images(path)
        shape = read_headers(listing, options).shape
        labels = {part: np.array([file.label for file in files]) for part, files in listing.parts.items()}
        classes = listing.classes
    else:
        header = read_header(path)
        shape, classes, labels = header.shape, header.classes, header.labels
    _check_text(name, classes, "class")
    return (
        shape,
        classes,
        {part: np.bincount(values, minlength=len(classes)).tolist() for part, values in labels.items()},
    )


def read_own(
    name: str, data_dir: str, options: ImageOptions, kept: Path | None = None, report: Report | None = None
) -> tuple[tuple[str, ...], dict[str, Split], int]:
    """Return the names of all classes, the parts "train" and "test", or "whole", and how many images were left out.

    Raises DataError.
    """
    path = locate(name, data_dir)
    if own_kind(name) == "folder":
        listing = list_images(path)
        parts = decode_images(listing, options, kept, report)
        left_out = sum(1 for _ in listing.files()) - sum(map(len, parts.values()))
        _check_text(name, listing.classes, "class")
        return listing.classes, parts, left_out
    header, parts = read_arrays(path)
    _check_text(name, header.classes, "class")
    return header.classes, parts, 0


def fingerprint(name: str, data_dir: str) -> str:
    """Return what changes when files of one's own data change, without reading them; "" for any other data set."""
    if not own_kind(name):
        return ""
    path = locate(name, data_dir)
    if own_kind(name) == "folder":
        return image_decoding.fingerprint(list_images(path))
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"
