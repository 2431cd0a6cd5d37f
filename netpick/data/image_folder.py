"""A folder of images, one folder a class: what lies in it, and what the images' headers say.

The layout is that of torchvision's `ImageFolder`: `train/CLASS/*.png` and `test/CLASS/*.png`, or `CLASS/*.png` alone.
Names that begin with a dot and files that are no images are passed over; links are followed. How a file is opened is
the business of `core.image_file`, pixels that of `image_decoding`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from netpick.core.errors import DataError, listed
from netpick.core.image_file import UnreadableError, bombs_are_errors, header

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Those of torchvision's ImageFolder."""

COLORS = ("auto", "grey", "rgb")
MAX_CLASSES = 1000
"""Each class is a column in several tables; ImageNet has as many."""

_GREY_MODES = ("1", "L", "LA", "La", "I", "F")


@dataclass(frozen=True)
class ImageOptions:
    """How a folder's images are brought to one form: (height, width) or None, one of `COLORS`, leave out bad ones."""

    size: tuple[int, int] | None = None
    color: str = "auto"
    skip_unreadable: bool = False


@dataclass(frozen=True)
class File:
    """An image: its path below the folder, its label, and what tells whether it has changed."""

    path: str
    label: int
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Listing:
    """The images of a folder: `parts` is "train" and "test", or "whole" where a split is still to be made."""

    root: Path
    classes: tuple[str, ...]
    parts: dict[str, tuple[File, ...]]

    def files(self) -> Iterator[File]:
        """All images, part by part."""
        for files in self.parts.values():
            yield from files


@dataclass(frozen=True)
class Headers:
    """What the headers say: the shape (channels, height, width) that all images get, and which can't be read.

    `most_pixels` has the largest image.
    """

    shape: tuple[int, int, int]
    unreadable: dict[str, str]
    most_pixels: int


def list_images(root: Path) -> Listing:
    """Find the classes and the images; classes are numbered by name, images stand in the order of class and name.

    Raises
    ------
    DataError
        There is no such folder, its layout is another one, there are fewer than two classes, a class has no images to
        train on, or there is nothing to test on.
    """
    if not os.path.isdir(root):
        what = "is a file" if os.path.isfile(root) else "is not there"
        raise DataError(f"folder:{root}: the folder {what}; {_WANTED}")
    folders = _class_folders(root)
    classes = sorted(folders["train" if "train" in folders else "whole"])
    if len(classes) < 2:
        got = f"one class only, '{classes[0]}'" if classes else "no folders of classes"
        raise DataError(f"folder:{root}: has {got}, wanted two or more; {_WANTED}")
    if len(classes) > MAX_CLASSES:
        raise DataError(f"folder:{root}: has {len(classes)} classes, the most is {MAX_CLASSES}; take some out")
    parts = {
        part: tuple(file for label, name in enumerate(classes) if name in of for file in _images(root, of[name], label))
        for part, of in folders.items()
    }
    listing = Listing(root, tuple(classes), parts)
    check_counts(listing, {part: [file.label for file in files] for part, files in parts.items()})
    return listing


def _class_folders(root: Path) -> dict[str, dict[str, Path]]:
    """Return the folders of the classes by part: "train" and "test", or "whole" where a split is still to be made."""
    top = _folders(root)
    by_word = {folder.name.lower(): folder for folder in top}
    given = {word: by_word[word] for word in ("train", "test") if word in by_word and _folders(by_word[word])}
    if not given:
        return {"whole": {folder.name: folder for folder in top}}
    if len(given) == 1:
        (has,) = given
        lacks = "test" if has == "train" else "train"
        raise DataError(
            f"folder:{root}: has a folder {has}/ and no {lacks}/: add it, or give folder:{given[has]} to have that one"
            " split by the seed"
        )
    parts: dict[str, dict[str, Path]] = {
        part: {inner.name: inner for inner in _folders(folder)} for part, folder in given.items()
    }
    only_test = sorted(set(parts["test"]) - set(parts["train"]))
    if only_test:
        raise DataError(
            f"folder:{root}: test/ has classes that train/ lacks: {listed(only_test)}; give both the same folders"
        )
    return parts


_WANTED = "images are looked for in train/CLASS/ and test/CLASS/, or in CLASS/, as torchvision's ImageFolder does"


def check_counts(listing: Listing, labels: dict[str, Sequence[int]]) -> None:
    """Refuse a class without images to train on, too few of one to split, and a test set without any."""
    where = f"folder:{listing.root}"
    learn = "train" if "train" in labels else "whole"
    least = 1 if learn == "train" else 2
    counts = Counter(labels[learn])
    for label, name in enumerate(listing.classes):
        if counts[label] < least:
            got = f"{counts[label]} image{'' if counts[label] == 1 else 's'}"
            need = "1 or more to train on" if least == 1 else "2 or more to split into training and test"
            raise DataError(
                f"{where}: class '{name}' has {got}, wanted {need}; {', '.join(SUFFIXES)} files directly in the"
                " class's folder count"
            )
    if "test" in labels and not len(labels["test"]):
        raise DataError(f"{where}: test/ has no images: add some, or give folder:{listing.root / 'train'} to split it")


def _visible(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from (e for e in entries if not e.name.startswith(".") and e.name != "__MACOSX")
    except OSError as error:
        raise DataError(f"{folder}: can't be looked into ({error.strerror}): make it readable") from None


def _folders(folder: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in _visible(folder) if _is_folder(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _images(root: Path, folder: Path, label: int) -> list[File]:
    files = []
    for entry in _visible(folder):
        if _is_folder(entry):
            if any(Path(e.name).suffix.lower() in SUFFIXES or _is_folder(e) for e in _visible(Path(entry))):
                raise DataError(f"folder:{root}: {entry.path} is a folder inside that of a class: {_WANTED}; move it")
            continue
        if Path(entry.name).suffix.lower() not in SUFFIXES:
            continue
        path = str(Path(entry.path).relative_to(root))
        try:
            status = entry.stat()
            files.append(File(path, label, status.st_size, status.st_mtime_ns))
        except OSError:  # a link that leads nowhere: listed, and unreadable when its turn comes
            files.append(File(path, label, -1, 0))
    return sorted(files, key=lambda file: file.path)


def read_headers(listing: Listing, options: ImageOptions) -> Headers:
    """Look at every image's header, and work out the one shape of them all.

    Raises
    ------
    DataError
        Images of different sizes or modes where no size or colour is asked for, and images that can't be read where
        they are not to be left out.
    """
    where = f"folder:{listing.root}"
    sizes: dict[tuple[int, int], str] = {}
    modes: dict[bool, tuple[str, str]] = {}
    unreadable: dict[str, str] = {}
    with bombs_are_errors():
        for file in listing.files():
            try:
                size, mode = header(listing.root / file.path)
            except UnreadableError as error:
                unreadable[file.path] = str(error)
                continue
            sizes.setdefault(size, file.path)
            modes.setdefault(mode.startswith(_GREY_MODES), (file.path, mode))
    if not options.skip_unreadable or not sizes:
        refuse_unreadable(where, unreadable, sum(1 for _ in listing.files()))
    if options.size is None and len(sizes) > 1:
        (size, first), (other, second) = list(sizes.items())[:2]
        raise DataError(
            f"{where}: images of {len(sizes)} sizes: {first} is {_by(size)}, {second} is {_by(other)} (height × width);"
            f" give --image-size {size[0]}x{size[1]}, or another, to bring all to one size"
        )
    if options.color == "auto" and len(modes) > 1:
        (grey, grey_mode), (coloured, color_mode) = modes[True], modes[False]
        raise DataError(
            f"{where}: grey and coloured images: {grey} is of mode {grey_mode}, {coloured} of mode {color_mode};"
            " give --color grey or --color rgb to bring all to one"
        )
    channels = 1 if options.color == "grey" or (options.color == "auto" and True in modes) else 3
    most_pixels = max(height * width for height, width in sizes)
    return Headers((channels, *(options.size or next(iter(sizes)))), unreadable, most_pixels)


def refuse_unreadable(where: str, unreadable: dict[str, str], images: int) -> None:
    """Raise a `DataError` that names and counts the images that can't be read; none is fine."""
    if unreadable:
        shown = listed([f"{path} ({reason})" for path, reason in unreadable.items()], 3)
        raise DataError(
            f"{where}: {len(unreadable)} of {images} images can't be read: {shown}; mend or remove them, or give"
            " --skip-unreadable to leave them out"
        )


def _by(size: Iterable[int]) -> str:
    return "×".join(map(str, size))
