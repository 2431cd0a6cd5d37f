"""The kept weights of a training, read from its file; nothing in such a file is ever run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netpick.core.errors import RunError
from netpick.core.files import open_regular
from netpick.store import checksums

_AGAIN = "remove it, or train the network again"


def weights_file(folder: Path, network: str, replicate: int) -> Path:
    """Return where the weights of a training are in a run's folder, if they are kept."""
    return folder / "weights" / f"{network}-{replicate}.safetensors"


def kept_weights(folder: Path, network: str, replicate: int) -> Path | None:
    """Return the file with the weights of a training in a run's folder; None where they were not kept."""
    path = weights_file(folder, network, replicate)
    return path if path.is_file() else None


def weights_content(path: Path, most: int | None = None) -> bytes:
    """Return the bytes of a file of weights, of at most so many; RunError where it can't be read or has rotted."""
    try:
        with open_regular(path, most) as file:
            content = file.read()
        checksums.check_weights(content, path.stem)
    except OSError as e:
        raise RunError(f"{path} can't be read as weights ({e}): {_AGAIN}") from None
    return content


def read_weights(path: Path, most: int | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of a file of weights by their names in torch's state dict.

    Parameters
    ----------
    path : of the file
    most : bytes that the file has at most, where that is known, since it may be anyone's

    Raises
    ------
    RunError
        It can't be read, is larger, or is no file of weights.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load  # not needed by those who read no weights

    content = weights_content(path, most)
    try:
        arrays: dict[str, np.ndarray] = load(content)
    except (SafetensorError, KeyError, ValueError, TypeError) as e:
        raise RunError(f"{path} can't be read as weights ({e}): {_AGAIN}") from None
    return arrays
