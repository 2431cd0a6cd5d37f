"""One look for all figures: theme, a fixed colour for each computation, gold stars, the line of `Basic`, titles.

The colours of the eight computations are Okabe and Ito's, which people of all kinds of colour vision can tell apart
(https://jfly.uni-koeln.de/color/), in pairs: a convolution and the same convolution followed by linear layers. No data
is read here and nothing is computed.
"""

from __future__ import annotations

import math
import textwrap
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Mapping[str, str] = {
    "Linear": "#595959",
    "Conv1d": "#56B4E9",
    "Conv2d": "#E69F00",
    "Conv3d": "#F0E442",
    "Conv1dThenLinear": "#0072B2",
    "Conv2dThenLinear": "#D55E00",
    "Conv3dThenLinear": "#009E73",
    "ResNetStyle": "#CC79A7",
}
"""Colour of each computation that comes along; for any other ask `colour`."""

OTHERS = ("#882255", "#44AA99", "#999933", "#332288", "#AA4499", "#117733", "#DDCC77", "#661100")
"""Colours for computations of the user's own (from Paul Tol's palettes), shared out by name."""

GOLD = "#FFC20A"
INK = "#222222"
BASIC = "#222222"
RIGHT, WRONG = "#0072B2", "#D55E00"
"""For the true class and for a wrong one."""

ACTIVATIONS = ("None", "ReLU", "SELU", "Sigmoid", "Tanh")
WIDTH, HEIGHT, DPI = 10.0, 6.0, 120
"""Inches and dots an inch: 1200 pixels wide."""


@contextmanager
def theme() -> Iterator[None]:
    """Draw with the project's look inside the `with`, and leave the user's own settings as they were."""
    import matplotlib as mpl
    import seaborn as sns
    from cycler import cycler

    settings = {
        **sns.axes_style("whitegrid"),
        **sns.plotting_context("notebook", font_scale=0.95),
        "figure.figsize": (WIDTH, HEIGHT),
        "figure.dpi": DPI,
        "savefig.dpi": DPI,
        "savefig.facecolor": "white",
        "figure.constrained_layout.use": True,
        "font.family": ["sans-serif"],
        "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: figures look the same everywhere
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": "#777777",
        "axes.titlesize": "medium",
        "axes.prop_cycle": cycler(color=list(COLOURS.values())),
        "grid.color": "#DDDDDD",
        "legend.frameon": True,
        "legend.framealpha": 0.9,
        "image.cmap": "cividis",
        "svg.fonttype": "none",  # text that can be found and copied, in fewer bytes
        "svg.hashsalt": "netpick",  # else the ids in an SVG differ each time
    }
    with mpl.rc_context(settings):
        yield


def colour(computation: str) -> str:
    """Return the colour of a computation, the same in every figure and every run."""
    known = COLOURS.get(computation)
    return known or OTHERS[zlib.crc32(computation.encode()) % len(OTHERS)]


def plain(text: str) -> str:
    """Return a text that matplotlib draws as it is: a `$` in the name of a class or a network begins no formula."""
    return str(text).replace("$", r"\$")


def readable_on(background: Any) -> str:
    """Return black or white, whichever stands out more from a colour, by the contrast ratio of WCAG 2."""
    from matplotlib.colors import to_rgb

    parts = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(background))
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), parts, strict=True))
    return "black" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "white"


def palette(computations: Iterable[str]) -> dict[str, str]:
    """Return the colour of each of these computations, as seaborn wants it."""
    return {c: colour(c) for c in computations}


def family_order(frame: pd.DataFrame, column: str = "computation") -> list[str]:
    """Return the computations (or activations) that occur in a frame, in the order in which all figures have them."""
    known = list(ACTIVATIONS if column == "activation" else COLOURS)
    present = set(frame[column].astype(str))
    return [c for c in known if c in present] + sorted(present.difference(known))


def group_label(name: str, count: int, of: int) -> str:
    """Write the name of a group with how many of its networks are shown: "Conv1d (3 of 25)"."""
    return plain(name) + (f" ({count})" if count == of else f" ({count} of {of})")


def mark_stars(
    ax: Axes, x: Any, y: Any, gold: float | None = None, label: str | None = None, size: float | None = None
) -> None:
    """Mark gold stars at points of an axes, with an entry for the legend that says what they are.

    `gold` is the threshold, for the legend; `label` replaces the entry, and "" leaves it out. Many stars
    are drawn smaller than a few, unless `size` (in points squared) says how large.
    """
    if not len(x):
        return
    if label is None:
        above = f": good, and above {100 * gold:.4g} % in the last attempt" if gold is not None else ""
        label = f"gold star{above}"
    if size is None:
        size = 110 if len(x) <= 60 else 55
    ax.scatter(
        x, y, marker="*", s=size, color=GOLD, edgecolor=INK, linewidth=0.6, zorder=5, label=label or "_nolegend_"
    )


def basic_line(ax: Axes, value: float | None, axis: str = "y", label: str = "Basic (one linear layer)") -> None:
    """Draw a dashed line where `Basic` is on the x or y axis; nothing where there is no `Basic` (None)."""
    if value is None:
        return
    line = ax.axvline if axis == "x" else ax.axhline
    line(value, color=BASIC, linestyle=(0, (5, 3)), linewidth=1.4, zorder=4, label=label)


def spans_decades(values: Any, factor: float = 30) -> bool:
    """Whether values are all positive and spread so widely that a log axis shows them better."""
    values = [v for v in values if v == v]
    return bool(values) and min(values) > 0 and max(values) > factor * min(values)


def log_axis(axis: Any, low: float, high: float) -> None:
    """Give a log axis ticks that people read, from its lowest and highest value: 1, 2, 5, 10 where these are near.

    Powers of ten remain where values span many decades or are large.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    decades = math.log10(high / low)
    axis.set_minor_formatter(NullFormatter())
    if decades <= 4 and high < 1e6:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.6g}"))


def percent_axis(axis: Any) -> None:
    """Write a fraction's axis in percent: `percent_axis(ax.yaxis)`."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{round(100 * x, 6):g} %"))


def median_line(linewidth: float = 2.0) -> dict[str, Any]:
    """Return seaborn's `medianprops` for boxes of all colours: a dark line with a white rim."""
    from matplotlib import patheffects

    rim = patheffects.Stroke(linewidth=linewidth + 2.2, foreground="white")
    return {"color": INK, "linewidth": linewidth, "path_effects": [rim, patheffects.Normal()]}


def legend_below(fig: Figure, ax: Axes, columns: int = 4, **options: Any) -> None:
    """Put the legend of an axes under the figure, each entry once, where it covers nothing."""
    entries = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    if entries:
        fig.legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=columns, frameon=False, **options
        )


def wrapped(title: str, width: float) -> list[str]:
    """Break a title into lines for a figure of this width in inches: as few as it needs, and about equally long."""
    title = title.replace(" %", "\N{NO-BREAK SPACE}%")
    most = int(width * 8.3)
    longest = max(map(len, title.split()), default=most)
    lines = textwrap.wrap(title, most)
    while most > longest and len(shorter := textwrap.wrap(title, most - 1)) == len(lines):
        most, lines = most - 1, shorter
    return lines


def finish(fig: Figure, title: str, subtitle: str = "") -> Figure:
    """Give a figure its title, which states the finding or the question, and small print beneath; wrapped."""
    from matplotlib.layout_engine import PlaceHolderLayoutEngine

    width, height = fig.get_size_inches()
    engine = fig.get_layout_engine()  # it places the title, or nobody does; a place holder stands for "none"
    top = {} if engine and not isinstance(engine, PlaceHolderLayoutEngine) else {"y": 1 - 0.12 / height}
    fig.suptitle(
        "\n".join(wrapped(title, width)), x=0.012, ha="left", fontsize=14, fontweight="bold", linespacing=1.25,
        parse_math=False, **top,
    )  # fmt: skip
    if subtitle:
        small = "\n".join(textwrap.wrap(subtitle, int(width * 13)))
        if fig.legends:  # both want the lower edge: it becomes a part of the legend
            fig.legends[0].set_title(small)
            fig.legends[0].get_title().set(fontsize=9, color="#555555", parse_math=False)
            return fig
        fig.supxlabel(small, fontsize=9, color="#555555", x=0.012, ha="left", parse_math=False)
    return fig
