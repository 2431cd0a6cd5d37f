"""A trained network run once more: its kept weights, and images in the form that it was trained on, to scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from netpick.core.errors import RunError, last_line
from netpick.core.files import open_regular
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import LayerSpec


def score(layers: Sequence[LayerSpec], weights: Path, images: np.ndarray) -> np.ndarray:
    """Return the scores of images, float32 (N, classes).

    Parameters
    ----------
    layers : of the network; code of the user's own has been looked for, see `user_code.located`
    weights : the run's file, which may be anyone's: nothing but numbers is read from it
    images : float32 (N, C, H, W), normalised

    Raises
    ------
    RunError
        The file can't be read, or has other weights than the network.
    """
    from safetensors.torch import load

    try:
        with open_regular(weights) as file:
            arrays = load(file.read())
        model = build(layers).eval()
        model.load_state_dict(arrays)
    except RunError:
        raise
    except Exception as error:  # noqa: BLE001  whatever a broken file makes its readers raise
        raise RunError(f"{weights} is no file with this network's weights: {last_line(error)}") from None
    with torch.no_grad():
        return model(torch.from_numpy(images)).float().numpy()
