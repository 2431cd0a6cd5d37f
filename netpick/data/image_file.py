"""One file of an image, which may be anyone's: opened, its header read, and why it can't be used.

Whatever its name says, only regular files are opened, and only decoders of a few formats see what is in them.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from netpick.core.files import open_regular

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
"""The only ones of Pillow's decoders that see a file: some of the others start programs."""

FILE_BYTES = 2**28
"""Some decoders read the whole file."""

_WIDTH, _HEIGHT, _ORIENTATION = 0x0100, 0x0101, 0x0112
_SIDEWAYS = (5, 6, 7, 8)


class UnreadableError(Exception):
    """An image that can't be used; the text says why."""


def header(path: Path) -> tuple[tuple[int, int], str]:
    """Return (height, width), as the image is meant to be looked at, and Pillow's mode."""
    with opened_image(path) as image:
        width, height = image.size
        tags = getattr(image, "tag_v2", None)
        if tags:  # of a TIFF, whose size some versions of Pillow have turned already, and others not
            width, height = tags[_WIDTH], tags[_HEIGHT]
        # Where a PNG has no orientation in its header, asking for it would decode the whole image.
        known = image.format != "PNG" or "exif" in image.info
        if known and image.getexif().get(_ORIENTATION) in _SIDEWAYS:
            width, height = height, width
        return (height, width), image.mode


@contextlib.contextmanager
def opened_image(path: Path) -> Iterator[Image]:
    """Open an image that may be anyone's; nothing of it is decoded that has too many pixels.

    Raises
    ------
    UnreadableError
        For whatever goes wrong within the block.
    """
    from PIL import Image

    try:
        with open_regular(path, FILE_BYTES) as file, Image.open(file, formats=FORMATS) as image:
            # Pillow's own bound is a warning, and warnings are not kept apart between threads.
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise Image.DecompressionBombError
            yield image
    except UnreadableError:
        raise
    except Exception as error:  # Pillow's readers raise whatever a broken file makes them raise
        raise UnreadableError(why(error)) from error


def why(error: Exception) -> str:
    """Return in a few words why Pillow could not read an image."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow knows"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:100] or type(error).__name__


@contextlib.contextmanager
def bombs_are_errors() -> Iterator[None]:
    """Turn Pillow's warning of a decompression bomb into an error, and silence its others."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
