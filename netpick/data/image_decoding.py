"""The pixels of a folder of images: decoded once, by several threads, and kept in files for the next time.

Every image becomes uint8 (channels, height, width) of one shape; how one file does is said in `core.image_file`, and
what lies in the folder in `image_folder`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil

from netpick.core.devices import usable_cores
from netpick.core.errors import DataError
from netpick.core.files import written_aside
from netpick.core.image_file import UnreadableError, bombs_are_errors, decode_image
from netpick.data.image_folder import File, ImageOptions, Listing, check_counts, read_headers, refuse_unreadable
from netpick.data.samples import Split

Report = Callable[[str, int, int], None]
"""Hears what is done, how much of it is done, and of how much; 0 of 0 is a mere message."""

_FORMAT = 1
"""Part of the kept files' names: raise it when the same image would be decoded into other pixels."""

_CHUNK = 100

_DECODER_BYTES = 20
"""What decoding takes of each pixel of the file, at most: four bytes in each of the forms that it goes through."""


def decode_images(
    listing: Listing, options: ImageOptions, kept: Path | None = None, report: Report | None = None
) -> Pixels:
    """Decode all images, or take what was decoded before.

    Parameters
    ----------
    listing : of the folder, as it is now
    options : how the images are brought to one form
    kept : folder for decoded pixels; None keeps nothing
    report : hears how far the work has come

    Raises
    ------
    DataError
        As `read_headers`; an image can't be decoded; the pixels don't fit into memory.
    """
    place = _place(listing, options, kept) if kept else None
    if place is not None:
        with contextlib.suppress(OSError, EOFError, ValueError, KeyError, TypeError):  # not there, or not whole
            return _open(place, listing)
    headers = read_headers(listing, options)
    files = [file for file in listing.files() if file.path not in headers.unreadable]
    _check_memory(listing, len(files), headers.shape)
    pixels = np.empty((len(files), *headers.shape), np.uint8)
    free = psutil.virtual_memory().available - pixels.nbytes
    threads = max(1, min(usable_cores(), free // (_DECODER_BYTES * headers.most_pixels)))
    unreadable = {**headers.unreadable, **_decode_all(listing.root, files, pixels, options, threads, report)}
    if not options.skip_unreadable:
        refuse_unreadable(f"folder:{listing.root}", unreadable, sum(1 for _ in listing.files()))
    good = np.array([file.path not in unreadable for file in files], bool)
    if not good.all():
        pixels = pixels[good]
    if unreadable and report:
        report(f"left out {len(unreadable)} images that can't be read, {next(iter(unreadable))} first", 0, 0)
    if place is not None:
        with contextlib.suppress(OSError):  # what can't be kept is decoded again
            _keep(place, pixels, unreadable)
    return _parts(listing, pixels, unreadable)


Pixels = dict[str, Split]


def fingerprint(listing: Listing) -> str:
    """Return a hash of names, sizes and times of change: of all that can be known without opening a file."""
    rows = [[part, [[f.path, f.label, f.size, f.mtime_ns] for f in files]] for part, files in listing.parts.items()]
    return hashlib.sha256(json.dumps([listing.classes, rows]).encode()).hexdigest()[:16]


def _parts(listing: Listing, pixels: np.ndarray, unreadable: dict[str, str]) -> Pixels:
    """Cut the pixels of all images into the parts; an index counts the files that can't be read as well."""
    parts, start = {}, 0
    for part, files in listing.parts.items():
        index = np.array([i for i, file in enumerate(files) if file.path not in unreadable], np.int32)
        labels = np.array([files[i].label for i in index], np.int64)
        parts[part] = Split(pixels[start : start + len(index)], labels, index)
        start += len(index)
    if start != len(pixels):
        raise ValueError(f"{len(pixels)} images decoded, {start} listed")
    check_counts(listing, {part: split.labels.tolist() for part, split in parts.items()})
    return parts


# Decoding


def _decode_all(
    root: Path, files: Sequence[File], out: np.ndarray, options: ImageOptions, threads: int, report: Report | None
) -> dict[str, str]:
    """Decode into `out`, by threads: Pillow lets go of the interpreter while it decompresses and scales."""
    from joblib import Parallel, delayed

    def decode(start: int) -> tuple[int, dict[str, str]]:
        bad = {}
        chunk = files[start : start + _CHUNK]
        for i, file in enumerate(chunk, start):
            try:
                out[i] = decode_image(root / file.path, out.shape[1:], options.size is not None)
            except UnreadableError as error:
                bad[file.path] = str(error)
        return len(chunk), bad

    done, unreadable = 0, dict[str, str]()
    with bombs_are_errors():
        work = Parallel(n_jobs=threads, prefer="threads", return_as="generator")
        for count, bad in work(delayed(decode)(start) for start in range(0, len(files), _CHUNK)):
            done += count
            unreadable |= bad
            if report:
                report("decoding images", done, len(files))
    return unreadable


def too_large(images: int, shape: Sequence[int]) -> str:
    """Return what images of a shape take and what is free, in words, where memory has no room for them; else ""."""
    need = 5 * images * math.prod(shape)  # a byte a value decoded, four as the networks take it
    there = psutil.virtual_memory().available
    if need <= there:
        return ""
    size = "×".join(map(str, shape))
    return f"{images} images of {size} take {need / 2**30:.1f} GiB of memory, {there / 2**30:.1f} are free"


def _check_memory(listing: Listing, images: int, shape: Sequence[int]) -> None:
    if said := too_large(images, shape):
        raise DataError(f"folder:{listing.root}: {said}: give a smaller --image-size")


# Keeping


def _place(listing: Listing, options: ImageOptions, kept: Path) -> Path:
    """Return the folder for what these images are decoded into: another one when any file or option changes."""
    asked = json.dumps([str(listing.root.resolve()), options.size, options.color, options.skip_unreadable, _FORMAT])
    return kept / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}-{fingerprint(listing)}"


def _open(place: Path, listing: Listing) -> Pixels:
    known = json.loads((place / "images.json").read_text())
    pixels = np.load(place / "pixels.npy", mmap_mode="r", allow_pickle=False)
    if list(pixels.shape) != known["shape"] or zlib.crc32(np.ascontiguousarray(pixels).data) != known["sum"]:
        raise ValueError("not the pixels that the list is of")
    _check_memory(listing, len(pixels), known["shape"][1:])
    return _parts(listing, pixels, known["unreadable"])


def _keep(place: Path, pixels: np.ndarray, unreadable: dict[str, str]) -> None:
    """Write the pixels so that the folder's name never stands for half of them, and drop those of older files."""
    stem = place.name.partition("-")[0]
    for left in place.parent.glob(f".{stem}-*.tmp"):  # of a process that was killed while writing
        shutil.rmtree(left, ignore_errors=True)
    about = {"shape": pixels.shape, "sum": zlib.crc32(np.ascontiguousarray(pixels).data), "unreadable": unreadable}
    with written_aside(place) as temporary:
        temporary.mkdir(parents=True, exist_ok=True)
        np.save(temporary / "pixels.npy", pixels, allow_pickle=False)
        (temporary / "images.json").write_text(json.dumps(about))
        for old in place.parent.glob(f"{stem}-*"):
            shutil.rmtree(old, ignore_errors=True)
