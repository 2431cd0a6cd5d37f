"""A grid of samples: each image with its true class, a caption, and the votes of the networks as bars.

Reads the images from the run and draws; which samples to show, and what to say of them, is up to the questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netpick.report.theme import INK, RIGHT, WRONG, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from netpick.run import Run

COLUMNS = 6
LONG = 10
"""With more classes than these, bars are for those alone that have most votes."""


def image_grid(
    run: Run,
    samples: Sequence[int],
    captions: Sequence[str],
    votes: np.ndarray | None = None,
    split: str = "test",
    columns: int = COLUMNS,
) -> Figure:
    """Draw samples in a grid.

    Parameters
    ----------
    run : Run
    samples : numbers of the samples within their split
    captions : one a sample, beneath its number and true class
    votes : (len(samples), classes) array, optional
        Votes of each class, as counts or as shares; drawn as the share of all, the true class in its own colour.
    split : str
    columns : int
        Images a row.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    samples = [int(s) for s in samples]
    classes, labels = run.classes, run.labels(split)
    columns = max(1, min(columns, len(samples)))
    rows = -(-len(samples) // columns) if samples else 1
    wide = max(10.0, columns * 1.65)
    with theme():
        fig = Figure(figsize=(wide, 0.9 + rows * (2.9 if votes is not None else 2.2)), layout="constrained")
        fig.get_layout_engine().set(w_pad=0.03, h_pad=0.05)
        if not samples:
            fig.text(0.5, 0.5, "There is none.", ha="center", va="center", fontsize=14)
            return fig
        cells = fig.subfigures(rows, columns, squeeze=False)
        for k, sample in enumerate(samples):
            cell = cells[k // columns][k % columns]
            label = int(labels[sample])
            parts = cell.subplots(2, 1, height_ratios=(3, 1.25)) if votes is not None else [cell.subplots()]
            image = run.image(sample, split)
            parts[0].imshow(image, cmap="gray_r" if image.ndim == 2 else None, interpolation="nearest")
            parts[0].set_axis_off()
            parts[0].set_title(f"no. {sample}: {classes[label]}\n{captions[k]}", fontsize=9.5, color=INK)
            if votes is not None:
                _bars(parts[1], np.asarray(votes[k], dtype=float), label, classes)
        if votes is not None:
            key = [Patch(color=RIGHT, label="votes for the true class"), Patch(color=WRONG, label="for another class")]
            fig.legend(handles=key, loc="outside lower center", ncols=2, frameon=False, fontsize=9.5)
    return fig


def _bars(ax: object, votes: np.ndarray, label: int, classes: Sequence[str]) -> None:
    """Draw the share of the votes of each class; the true class always has its place."""
    from matplotlib.axes import Axes

    assert isinstance(ax, Axes)
    shown = np.arange(len(votes))
    if len(votes) > LONG:
        most = [c for c in np.argsort(-votes, kind="stable") if c != label][: LONG // 2 - 1]
        shown = np.sort([label, *most])
    share = votes[shown] / max(votes.sum(), 1e-12)
    names = [classes[c] for c in shown]
    long = max(map(len, names)) > 2
    ax.bar(range(len(shown)), share, color=[RIGHT if c == label else WRONG for c in shown], width=0.8)
    ax.set_xticks(range(len(shown)), [n[:9] for n in names], fontsize=7 if long else 8, rotation=90 if long else 0)
    ax.tick_params(axis="x", pad=1, length=0)
    ax.set_ylim(0, 1)
    ax.set_yticks([0, 0.5, 1], ["0", "", "100 %"], fontsize=7)
    ax.tick_params(axis="y", pad=1, length=0)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
