"""What the page holds of a run: its networks with their columns, their answers at every epoch, its samples.

A network is a student, as in every question: numbers are means over its replicates, answers those of the first
replicate that is done. One that stopped earlier keeps its last answers in later epochs. Nothing is packed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from netpick import exam
from netpick.core.errors import NetpickError
from netpick.exam import questions, theme
from netpick.exam.network_card import COSTS, layers_as_written
from netpick.exam.run import Run
from netpick.store.samples import png_pixels, samples_of

LARGEST = 64
"""Pixels of the longer side of an image in the page; larger ones are made smaller."""

FEWEST = 4
"""Networks below which there is no ability."""

MARKS = {
    "accuracy": "share of the test samples that are right",
    "loss": "mean negative log likelihood of the test samples, in nats",
    "worst_class": "accuracy in the class that is read worst",
}
"""Columns that have a value an epoch."""


def networks(run: Run, names: list[str]) -> dict[str, Any]:
    """Return the columns of these networks, by kind: words, costs, marks an epoch, what is said of each, layers."""
    frame = exam.students(run).set_index("name").loc[names]
    numbers = {
        column: {"meaning": meaning, "values": frame[column].astype(float).tolist()}
        for column, meaning in COSTS.items()
        if column in frame and frame[column].notna().any()
    }
    words = {column: frame[column].astype(str).tolist() for column in ("computation", "activation")}
    flags = {column: frame[column].tolist() for column in ("good", "star")}
    written = layers_as_written(run)
    layers = [[*map(list, written[name].itertuples(index=False))] for name in names]
    front = {name: place for place, name in enumerate(exam.preferred(frame.reset_index()))}
    return {
        "name": names, **words, **flags, "numbers": numbers, "layers": layers, "first": [front[name] for name in names],
    }  # fmt: skip


def marks(run: Run, names: list[str]) -> dict[str, np.ndarray]:
    """Return what is measured at each epoch: arrays (epochs, networks), and of classes (epochs, networks, classes)."""
    rows = exam.evaluations(run)
    classes = [f"accuracy_{c}" for c in range(len(run.classes))]
    mean = rows.groupby(["epoch", "network"], observed=True)[["loss", "train_loss", *classes]].mean()
    epochs = sorted(rows["epoch"].unique())

    def by_epoch(column: str) -> np.ndarray:
        table = mean[column].unstack("epoch").reindex(index=names, columns=epochs)
        return table.ffill(axis=1).to_numpy(np.float32).T

    accuracy = exam.attempts(run).loc[names].ffill(axis=1).to_numpy().T
    of_classes = np.stack([by_epoch(column) for column in classes], axis=2)
    return {
        "accuracy": accuracy,
        "loss": by_epoch("loss"),
        "train_loss": by_epoch("train_loss"),
        "classes": of_classes,
        "epochs": np.asarray(exam.students(run).set_index("name").loc[names, "epochs"], np.uint16),
    }


def answers(run: Run) -> Iterator[np.ndarray]:
    """Yield the predicted classes at each epoch, int16 (networks, samples), in the order of `first_replicates`."""
    which = exam.first_replicates(run)
    rows = exam.evaluations(run)
    keys = pd.MultiIndex.from_tuples(which.items())
    last = rows.groupby(["network", "replicate"])["epoch"].max().loc[keys].to_numpy()
    replicates = np.array([*which.values()])
    names = np.array([*which], dtype=object)
    now = np.zeros((len(which), len(run.labels())), np.int16)
    for epoch in range(1, int(last.max()) + 1):
        now = now.copy()
        for replicate in np.unique(replicates):
            asked = (replicates == replicate) & (last >= epoch)
            if asked.any():
                now[asked] = run.predicted(epoch, networks=names[asked].tolist(), replicate=int(replicate))
        yield now


def samples(run: Run) -> pd.DataFrame:
    """Return a row a test sample: label; difficulty as in the question `ability`, and whether `suspects` names it."""
    labels = run.labels()
    frame = pd.DataFrame({"label": labels, "difficulty": _difficulty(run), "suspect": False})
    try:
        suspects = run.ask("suspects", all_samples=True).table.set_index("sample")["suspect"]
        frame["suspect"] = suspects
    except NetpickError:  # no scores were kept, or no network is good: then nothing is known of it
        frame.attrs["suspects"] = False
    frame.attrs.setdefault("suspects", True)
    frame.attrs["ability"] = bool(frame["difficulty"].notna().any())
    return frame


def _difficulty(run: Run) -> np.ndarray:
    """Return the ability at which half have a sample right, of the model fitted to the good students; NaN without.

    Where these are many, to some of them, drawn, as `netpick ask ability` does.
    """
    try:
        names, predicted, labels = exam.final(run, exam.some_of(exam.selected(run), exam.MANY)["name"])
    except NetpickError:
        names = []
    if len(names) < FEWEST:
        return np.full(len(run.labels()), np.nan)
    return exam.item_response.fit(predicted == labels).difficulty.round(3)


def images(run: Run, chosen: np.ndarray) -> np.ndarray | None:
    """Return the images of some test samples, uint8 (samples, height, width, channels), none larger than `LARGEST`.

    None where they were left out when the run was published.
    """
    from PIL import Image

    if not run.has_images:
        return None
    rows = samples_of("test", run.samples, run.path)["image"].to_numpy()[chosen]
    out: np.ndarray | None = None
    for i, content in enumerate(rows):
        pixels = png_pixels(content, f"{run.path}: sample {chosen[i]}")
        if (longest := max(pixels.shape[:2])) > LARGEST:
            height, width = (max(1, round(side * LARGEST / longest)) for side in pixels.shape[:2])
            pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        if out is None:
            out = np.empty((len(rows), *pixels.shape), np.uint8)
        out[i] = pixels
    assert out is not None  # a run has samples
    return out


def thresholds() -> dict[str, float]:
    """Return what the questions `weird` and `confusing` call so: their own defaults."""
    return {
        name: float(questions.find(question).options[name].default)
        for question, name in (("weird", "wrong"), ("weird", "same"), ("confusing", "top"), ("confusing", "entropy"))
    }


def look(frame: pd.DataFrame) -> dict[str, Any]:
    """Return how computations and activations are drawn, in the order in which all figures have them."""
    return {
        "computations": [
            {"name": name, "colour": theme.colour(name), "marker": theme.marker(name)}
            for name in theme.family_order(frame)
        ],
        "activations": theme.family_order(frame, "activation"),
    }
