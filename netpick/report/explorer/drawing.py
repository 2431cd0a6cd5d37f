"""What a drawing needs so that networks may read it: how the images of a run's own data set lie in their frame.

Learned from stored test samples: the colours of paper and ink, the size of what is drawn, and what is in the middle.
Images that have no paper, such as photographs, are `filled`: whatever comes is only brought to their size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netpick.store.reader import Reader
from netpick.store.samples import png_pixels, samples_of

SAMPLES = 500
"""Test samples that are looked at, evenly drawn."""

NEAR = 0.1
"""Difference, of the whole range of a channel, up to which a pixel is paper."""

ALIKE = 0.1
"""Difference of the mean, or the deviation, of a channel between training and test samples, at most."""

PAPER = 0.25
"""Share of the pixels that is paper at least, where images are drawn at all."""


def stored_images(run: Reader) -> np.ndarray | None:
    """Return images of the test samples, float32 (samples, height, width, channels) from 0 to 1; None without any."""
    if not run.has_images:
        return None
    images = samples_of("test", run.samples, run.path)["image"]
    chosen = np.unique(np.linspace(0, len(images) - 1, min(len(images), SAMPLES)).astype(int))
    pixels = np.stack([np.atleast_3d(png_pixels(images.iloc[i], f"{run.path}: sample {i}")) for i in chosen])
    return pixels / np.float32(255)


def are_inputs(run: Reader, images: np.ndarray | None) -> bool:
    """Whether stored images are what networks take, and no pictures made of numbers of another range.

    Told from the mean and the deviation of each channel, which the run knows of its training samples. Without images:
    whether numbers from 0 to 1 can have these.
    """
    known = run.manifest.get("input", {})
    mean, std = (np.asarray(known.get(key, values)) for key, values in (("mean", 0.5), ("std", 0.5)))
    if images is None:
        return run.manifest["shape"][0] in (1, 3) and bool(((mean >= 0) & (mean <= 1) & (std <= 0.5)).all())
    channels = images.reshape(-1, images.shape[3])
    near = np.abs(channels.mean(axis=0) - mean) <= ALIKE
    return bool("mean" not in known or (near & (np.abs(channels.std(axis=0) - std) <= ALIKE)).all())


def unseen_form(run: Reader) -> dict[str, Any]:
    """Return the form of images that were left out of a run: what is drawn is taken as it lies."""
    paper = np.rint(run.manifest.get("input", {}).get("mean", [0.0] * run.manifest["shape"][0]))
    return {
        "shape": run.manifest["shape"], "paper": paper.tolist(), "ink": (1 - paper).tolist(), "filled": True,
    }  # fmt: skip


def form(images: np.ndarray) -> dict[str, Any]:
    """Return how stored images are made.

    Returns
    -------
    dict
        shape [channels, height, width]; paper, ink (a value from 0 to 1 a channel); filled (bool). Where that is False:
        size (pixels of the longer side of what is drawn), centre [y, x] of its `middle`, mass or box, and pen (width of
        a line in pixels).
    """
    _, height, width, channels = images.shape
    levels = np.rint(255 * images).astype(np.uint8).reshape(-1, channels).T
    paper = np.array([np.bincount(channel, minlength=256).argmax() for channel in levels]) / 255
    away = np.abs(images - paper).max(axis=3)  # (samples, height, width)
    farthest = away.reshape(len(away), -1).argmax(axis=1)
    ink = np.median(images.reshape(len(away), -1, channels)[np.arange(len(away)), farthest], axis=0)
    out = {"shape": [channels, height, width], "paper": paper.tolist(), "ink": ink.tolist()}
    if (away <= NEAR).mean() < PAPER or not (away > NEAR).any():
        return {**out, "filled": True}
    return {**out, "filled": False, **_middle(away[(away > NEAR).any(axis=(1, 2))])}


def _middle(away: np.ndarray) -> dict[str, Any]:
    """Say how large what is drawn is, and which of its points lies most nearly at one place in all images."""
    inked = away > NEAR
    boxes = np.array([[_span(image.any(axis=1)), _span(image.any(axis=0))] for image in inked])  # (n, axis, ends)
    shares = away / away.sum(axis=(1, 2), keepdims=True)
    y, x = (np.arange(size) + 0.5 for size in away.shape[1:])
    points = {
        "mass": np.stack([shares.sum(axis=2) @ y, shares.sum(axis=1) @ x], axis=1),
        "box": boxes.mean(axis=2),
    }
    middle = min(points, key=lambda name: float(points[name].std(axis=0).sum()))
    size = float(np.median((boxes[..., 1] - boxes[..., 0]).max(axis=1)))
    # A line of width w has 2 / w of its ink in jumps from paper to ink, seen across; 4 / pi of that along both axes.
    jumps = sum(np.abs(np.diff(away, axis=axis, prepend=0, append=0)).sum(axis=(1, 2)) for axis in (1, 2))
    pen = float(np.median(8 / np.pi * away.sum(axis=(1, 2)) / jumps))
    return {"size": size, "middle": middle, "centre": points[middle].mean(axis=0).tolist(), "pen": min(pen, size / 4)}


def _span(there: np.ndarray) -> tuple[int, int]:
    """Return the first place where something is, and the one behind the last."""
    places = np.flatnonzero(there)
    return int(places[0]), int(places[-1]) + 1
