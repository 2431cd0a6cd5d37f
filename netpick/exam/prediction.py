"""What one network says of one image: the probability of each class, with the picture.

Of a sample of the run that is what it answered; where that was not kept, and for an image of one's own, the network is
built again from its kept weights. Code of the user's own runs only where the user has named it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick.core.advice import command
from netpick.core.errors import RunError
from netpick.core.image_file import UnreadableError, decode_image, header
from netpick.core.words import percent
from netpick.exam.answer import Answer
from netpick.exam.checks import need_trained
from netpick.exam.exports import normalisation, weights_of
from netpick.exam.network_card import network_row
from netpick.exam.theme import RIGHT, WIDTH, WRONG, finish, plain
from netpick.networks.modules.user_code import located
from netpick.networks.paper.spec import NetworkSpec
from netpick.networks.paper.whole_networks import is_baseline
from netpick.store.reader import Reader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 10
"""Classes of a figure."""


@dataclass
class Prediction(Answer):
    """An `Answer` whose table has class and probability, the likeliest first; `image` has the pixels, uint8."""

    image: np.ndarray | None = None


def predict(
    run: Reader,
    network: str,
    what: int | str | Path,
    split: str = "test",
    modules: Collection[str] | None = (),
) -> Prediction:
    """Say which class a network takes an image for.

    Parameters
    ----------
    run : Run
    network : str
        Its name.
    what : int, str or Path
        The number of a sample, or the file of an image, which is brought to the form of the run's images.
    split : str
        Of the sample.
    modules : names of modules, or None
        Whose code may be run, where the network is made by one's own; None for all that the run names.

    Raises
    ------
    RunError
        Unknown network or sample, no weights were kept, an image that can't be read, code that wasn't named.
    """
    row = network_row(run, network)
    if not isinstance(what, int):
        need_trained(run, "network that could look at an image: give the number of a sample")
    spec = NetworkSpec.from_dict(row)
    replicates = run.trainings.query("network == @network and status == 'done'")["replicate"]
    if not len(replicates):
        raise RunError(f"{network} has not been trained in {run.path}: {command('train', run.path)} does it")
    if isinstance(what, int):
        image, known, name, note = run.image(what, split), int(run.labels(split)[what]), f"sample {what}", ""
        try:
            scores = run.scores(split=split, networks=network, replicate=int(replicates.min()))[0, what]
        except RunError:
            if weights_of(run, network) is None:
                raise
            scores = _scored(run, spec, image, modules)
            note = "No scores were kept: worked out from the weights, and the picture as the run has it, of 8 bits."
    else:
        image, known = _own_image(run, Path(what)), None
        scores = _scored(run, spec, image, modules)
        name, note = str(what), _form(run, Path(what), spec.name)
    if np.isnan(scores).any():
        raise RunError(f"{network} was not asked {name} of {split}, from which it learned: name another network")
    probabilities = np.exp(scores.astype(np.float64))
    order = np.argsort(-probabilities, kind="stable")
    table = pd.DataFrame({"class": [run.classes[c] for c in order], "probability": probabilities[order]})
    text = f"{network} takes {name} for {table['class'][0]}, with a probability of {percent(table['probability'][0])}"
    if known is not None:
        says = (
            "which is right" if known == order[0] else f"it is {run.classes[known]} ({percent(probabilities[known])})"
        )
        text += f"; {says}"
    true = None if known is None else run.classes[known]
    return Prediction(table, f"{text}.", partial(_draw, table, image, text, true), note, ("probability",), image=image)


def _own_image(run: Reader, path: Path) -> np.ndarray:
    """Return the pixels of a file in the form of the run's images, uint8 (height, width) or (height, width, 3)."""
    shape = tuple(run.manifest["shape"])
    if shape[0] not in (1, 3):
        raise RunError(f"the run's data have {shape[0]} channels, and no file of an image has: give a sample's number")
    try:
        pixels = decode_image(path, shape, resize=True)
    except UnreadableError as error:
        raise RunError(f"{path}: {error}: give the number of a sample, or the file of an image") from None
    return pixels[0] if shape[0] == 1 else pixels.transpose(1, 2, 0)


def _form(run: Reader, path: Path, network: str) -> str:
    """Say what was done to a file so that the network could take it."""
    (height, width), mode = header(path)
    channels, *sizes = run.manifest["shape"]
    kind = "grey" if channels == 1 else "RGB"
    mean, std = _scale(run, network)
    shown = (", ".join(f"{value:.4g}" for value in values) for values in (mean, std))
    here, there = f"{height}×{width} ({mode})", "×".join(map(str, sizes))
    return "{}, {}, was brought to {} in {}, its pixels to 0 to 1, less {}, over {}.".format(
        path.name, here, there, kind, *shown
    )


def _scale(run: Reader, network: str) -> tuple[list[float], list[float]]:
    scaling = normalisation(run, network)
    if scaling is None or not all(0 <= mean <= 1 for mean in scaling[0]):
        why = "does not say how" if scaling is None else "has pixels of another range than 0 to 1, by which"
        raise RunError(f"{run.path} {why} its images were normalised: only stored scores can be shown")
    return scaling


def _scored(run: Reader, spec: NetworkSpec, image: np.ndarray, modules: Collection[str] | None) -> np.ndarray:
    """Return a network's scores of an image, from its kept weights."""
    if is_baseline(spec.layers):
        raise RunError(f"{spec.name} is a baseline, which is not run again: give a sample's number, with scores kept")
    weights = weights_of(run, spec.name)
    if weights is None:
        again = command("train", run.path, "--weights", "last")
        raise RunError(f"{run.path} keeps no weights of {spec.name}: generate the run again, and train it by `{again}`")
    mean, std = _scale(run, spec.name)
    (found,) = located([spec], modules)

    from netpick.networks.modules.scoring import score

    channels = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    shape = (-1, 1, 1)
    given = (channels / 255 - np.reshape(mean, shape)) / np.reshape(std, shape)
    return score(found.layers, weights, given[None].astype(np.float32))[0]


def _draw(table: pd.DataFrame, image: np.ndarray, title: str, true: str | None) -> Figure:
    """Draw the picture, and beside it a bar for each of the likeliest classes."""
    from matplotlib.figure import Figure

    shown = table.head(SHOWN)[::-1]
    fig = Figure(figsize=(WIDTH, 3.6))
    left, right = fig.subplots(1, 2, width_ratios=(1, 2))
    left.imshow(image, cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
    left.set_axis_off()
    colours = [RIGHT if name == true else WRONG for name in shown["class"]]
    right.barh(range(len(shown)), shown["probability"], color=colours)
    right.set_yticks(range(len(shown)), [plain(name) for name in shown["class"]])
    right.set(xlim=(0, 1), xlabel="probability")
    return finish(fig, title)
