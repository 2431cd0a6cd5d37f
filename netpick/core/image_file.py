"""One file of an image, which may be anyone's: opened, its header read, its pixels, and why it can't be used.

Whatever its name says, only regular files are opened, and only decoders of a few formats see what is in them. An image
is turned as its EXIF orientation says; what is transparent becomes white; 16 bits are scaled to 8.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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


def decode_image(path: Path, shape: Sequence[int], resize: bool = False) -> np.ndarray:
    """Return an image's pixels, uint8 of the shape (channels, height, width), 1 or 3 channels.

    Scaled to the shape if `resize`, without keeping the ratio of the sides (Pillow's bilinear filter, which takes all
    pixels into account where an image gets smaller).

    Raises
    ------
    UnreadableError
        The file is missing, broken or cut off, its pixels have no known range, or its size is another one.
    """
    from PIL import Image, ImageOps

    channels, height, width = shape
    with opened_image(path) as image:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        flat = _eight_bits(image, image.format, "L" if channels == 1 else "RGB")
        if flat.size != (width, height):
            if not resize:
                raise UnreadableError(f"is {flat.size[1]}×{flat.size[0]}, the others are {height}×{width}")
            flat = flat.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(flat)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _eight_bits(image: Any, kind: str | None, mode: str) -> Any:
    """Return an image as L or RGB, of 8 bits, on white paper."""
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "PNG"):  # Pillow's older way with 16 bits
        values = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise UnreadableError(f"mode {image.mode}: its pixels have no known range")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image if image.mode == mode else image.convert(mode)


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
