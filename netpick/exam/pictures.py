"""A grid of samples: each image with its true class, a caption, and the votes of the networks as bars.

Reads the images from the run and draws; which samples to show, and what to say of them, is up to the questions.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netpick.core.words import short
from netpick.exam.theme import INK, RIGHT, WIDTH, WRONG, finish, plain, theme, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from netpick.store.reader import Reader

COLUMNS = 6
SLOT, PICTURE, BAR = 3.0, 2.0, 0.42
"""Inches: most that a sample takes of the width, most that the side of an image has, height of a bar that is 100 %."""

LONG = 10
"""With more classes than these, bars are for those alone that have most votes."""
NAMED = 4
"""Bars where classes have names: these lie, and have their names in them."""
LETTERS = 12
"""In an inch of a caption."""
BLANK = np.full((1, 1), 24, np.uint8)
"""Where the images were left out when the run was published."""


def image_grid(
    run: Reader,
    samples: Sequence[int],
    captions: Sequence[str],
    votes: np.ndarray | None = None,
    split: str = "test",
    title: str = "",
) -> Figure:
    """Draw samples in a grid.

    Parameters
    ----------
    run : Run
    samples : numbers of the samples within their split
    captions : one a sample, beneath its number and true class; "" for none
    votes : (len(samples), classes) array, optional
        Votes of each class, as counts or as shares; drawn as the share of all, the true class in its own colour.
    split : str
    title : str
        As in `theme.finish`; without one there is room for two lines.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    samples = [int(s) for s in samples]
    classes, labels = run.classes, run.labels(split)
    rows = max(1, -(-len(samples) // COLUMNS))
    columns = max(1, -(-len(samples) // rows))  # rows of the same length, as far as that goes
    slot = min(WIDTH / columns, SLOT)
    side = min(slot - 0.44, PICTURE)
    margin = (WIDTH - columns * slot) / 2
    headings = [
        _heading(f"no. {sample}: {classes[labels[sample]]}", caption, int(slot * LETTERS))
        for sample, caption in zip(samples, captions, strict=True)
    ]
    lines = max((len(heading) for heading in headings), default=1)
    # One axes for all, in inches: with two for each sample matplotlib takes many times as long.
    words, bars = 0.165 * lines + 0.1, 0.8 if votes is not None else 0.12
    top = 0.22 + 0.245 * (len(wrapped(title, WIDTH)) if title else 2)
    bottom = 0.42 if votes is not None else 0.1
    height = top + rows * (words + side + bars) + bottom
    with theme():
        fig = Figure(figsize=(WIDTH, height))
        fig.set_layout_engine("none")
        ax = fig.add_axes((0, 0, 1, 1))
        ax.set_axis_off()
        for k, sample in enumerate(samples):
            row, column = divmod(k, columns)
            # The label of the bars stands to the left of an image.
            left = margin + column * slot + (slot - side + 0.24) / 2
            upper = height - top - row * (words + side + bars)
            label = int(labels[sample])
            heading = plain("\n".join(headings[k]))
            middle = left + side / 2
            ax.text(middle, upper - words + 0.05, heading, ha="center", va="bottom", fontsize=9.5, color=INK)
            picture = run.image(sample, split) if run.has_images else BLANK
            _picture(ax, picture, left, upper - words - side, side)
            if votes is not None:
                base = upper - words - side - bars + 0.27
                draw = _bars if max(map(len, classes)) <= 2 else _named_bars
                draw(ax, np.asarray(votes[k], dtype=float), label, classes, left, base, side)
        if not samples:
            ax.text(WIDTH / 2, height / 2, "There is none.", ha="center", va="center", fontsize=14)
        elif votes is not None:
            key = [Patch(color=RIGHT, label="votes for the true class"), Patch(color=WRONG, label="for another class")]
            fig.legend(handles=key, loc="lower center", ncols=2, frameon=False, fontsize=9.5, borderaxespad=0.2)
        ax.set(xlim=(0, WIDTH), ylim=(0, height))
        return finish(fig, title) if title else fig


def _heading(name: str, caption: str, letters: int) -> list[str]:
    """Return the lines above an image, each part in two lines at most."""
    parts = [name, *caption.split("\n")] if caption else [name]
    return [line for part in parts for line in textwrap.wrap(part, letters, max_lines=2, placeholder="…")]


def _picture(ax: Axes, image: np.ndarray, left: float, bottom: float, side: float) -> None:
    """Draw an image in the middle of its square."""
    tall, wide = image.shape[:2]
    w, h = side * min(1, wide / tall), side * min(1, tall / wide)
    x, y = left + (side - w) / 2, bottom + (side - h) / 2
    # Shades go from 0 to 255 in each image alike; a colour image is drawn as it is, whatever the colour map.
    ax.imshow(
        image, cmap="gray_r", vmin=0, vmax=255, extent=(x, x + w, y, y + h), aspect="auto", interpolation="nearest"
    )


def _bars(
    ax: Axes, votes: np.ndarray, label: int, classes: Sequence[str], left: float, base: float, side: float
) -> None:
    """Draw the share of the votes of each class; the true class always has its place."""
    shown = _shown(votes, label, LONG // 2 if len(votes) > LONG else LONG)
    step = side / len(shown)
    x = left + step * (np.arange(len(shown)) + 0.5)
    colours = [RIGHT if c == label else WRONG for c in shown]
    for level in (0, 0.5, 1):
        ax.hlines(base + BAR * level, left, left + side, color="#DDDDDD" if level else "#777777", linewidth=0.8)
    ax.bar(x, BAR * votes[shown] / max(votes.sum(), 1e-12), 0.8 * step, base, color=colours, linewidth=0, zorder=2)
    ax.text(left - 0.04, base + BAR, "100 %", ha="right", va="center", fontsize=6.5)
    for c, place in zip(shown, x, strict=True):
        ax.text(
            place, base - 0.03, plain(classes[int(c)]), ha="center", va="top", fontsize=7.5,
            fontweight="bold" if c == label else "normal",
        )  # fmt: skip


def _named_bars(
    ax: Axes, votes: np.ndarray, label: int, classes: Sequence[str], left: float, base: float, side: float
) -> None:
    """Draw the share of the votes of the classes that have most, as lying bars with their names in them."""
    shown = sorted((c for c in _shown(votes, label, NAMED) if votes[c] or c == label), key=lambda c: -votes[c])
    shares = votes[shown] / max(votes.sum(), 1e-12)
    step = (BAR + 0.2) / NAMED
    y = base + BAR - step * (np.arange(len(shown)) + 0.5)
    ax.barh(y, np.full(len(shown), side), 0.86 * step, left, color="#EEEEEE", linewidth=0)
    colours = [RIGHT if c == label else WRONG for c in shown]
    ax.barh(y, side * shares, 0.86 * step, left, color=colours, alpha=0.5, linewidth=0, zorder=2)
    for c, share, place in zip(shown, shares, y, strict=True):
        weight = "bold" if c == label else "normal"
        words = short(classes[int(c)], int(15 * side) - 6)
        ax.text(left + 0.04, place, plain(words), va="center", fontsize=7, fontweight=weight, zorder=3)
        ax.text(left + side - 0.03, place, f"{100 * share:.0f} %", ha="right", va="center", fontsize=7, zorder=3)


def _shown(votes: np.ndarray, label: int, most: int) -> np.ndarray:
    """Return the classes that have a bar, in their order: the true one, and of the others those with most votes."""
    others = [c for c in np.argsort(-votes, kind="stable") if c != label][: most - 1]
    return np.sort([label, *others])
