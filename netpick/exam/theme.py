"""One look for all figures: theme, a fixed colour and marker for each computation, gold stars, `Basic`, titles.

The colours of the eight computations were searched for: their nearest pair is about as far apart as can be for all
kinds of colour vision, as simulated by Machado, Oliveira and Fernandes (2009). Markers say the same as colours. No data
is read here and nothing is computed.
"""

from __future__ import annotations

import math
import textwrap
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Mapping[str, str] = {
    "Linear": "#3E4228",
    "Conv1d": "#6CCCFF",
    "Conv2d": "#CB7111",
    "Conv3d": "#ECD90F",
    "Conv1dThenLinear": "#016EBF",
    "Conv2dThenLinear": "#5E1457",
    "Conv3dThenLinear": "#A2C58F",
    "ResNetStyle": "#A37390",
}
"""Colour of each computation that comes along; for any other ask `colour`."""

MARKERS: Mapping[str, str] = dict(zip(COLOURS, "os^DPXvh", strict=True))
"""Marker of each; for any other ask `marker`."""

OTHERS = ("#882255", "#44AA99", "#999933", "#332288", "#AA4499", "#117733", "#DDCC77", "#661100")
"""Colours for computations of the user's own (from Paul Tol's palettes), shared out by name."""

OTHER_MARKERS = "<>pdH8"
"""Markers for these."""

OTHER_NETWORKS = "#BBBBBB"
"""For all those that a part of a figure is not about."""

GOLD = "#FFC20A"
INK = "#222222"
BASIC = "#222222"
BASIC_POINT: Mapping[str, Any] = {"color": BASIC, "marker": "d", "linestyle": "none", "markerfacecolor": "white"}
"""`Basic` as a point, as `Axes.plot` wants it."""
RIGHT, WRONG = "#0072B2", "#D55E00"
"""For the true class and for a wrong one."""

LINES = ("-", (0, (5, 3)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
FILLINGS = ("full", "none", "left", "bottom", "right", "top")
ACTIVATIONS = ("None", "ReLU", "SELU", "Sigmoid", "Tanh")
WIDTH, HEIGHT, DPI = 10.0, 6.0, 120
"""Inches and dots an inch: 1200 pixels wide."""
TITLE = 14
"""Points."""


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
        "axes.prop_cycle": cycler(color=OTHERS),  # none that means a computation
        "grid.color": "#DDDDDD",
        "legend.frameon": True,
        "legend.framealpha": 0.9,
        "image.cmap": "cividis",
        "svg.fonttype": "none",  # text that can be found and copied, in fewer bytes
        "svg.hashsalt": "netpick",  # else the ids in an SVG differ each time
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        # Names of classes may have characters that the font lacks: boxes are drawn for them, and nobody need hear it.
        warnings.filterwarnings("ignore", message=r"Glyph \d+")
        yield


def colour(computation: str) -> str:
    """Return the colour of a computation, the same in every figure and every run."""
    return COLOURS.get(computation) or _shared_out(computation, OTHERS)


def marker(computation: str) -> str:
    """Return the marker of a computation, the same in every figure and every run."""
    return MARKERS.get(computation) or _shared_out(computation, OTHER_MARKERS)


def _shared_out(computation: str, among: Sequence[str]) -> str:
    return among[zlib.crc32(computation.encode()) % len(among)]


def network_styles(computations: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return how to draw networks (their computations, by name): as their computation, `Basic` as itself.

    A second one of the same computation differs by its line and by the filling of its marker.
    """
    drawn: Counter[str] = Counter()
    styles: dict[str, dict[str, Any]] = {}
    for name, computation in computations.items():
        if name == "Basic":
            styles[name] = {**BASIC_POINT, "linestyle": LINES[1]}
            continue
        shade, n = colour(computation), drawn[computation]
        drawn[computation] += 1
        styles[name] = {
            "color": shade, "marker": marker(computation), "linestyle": LINES[(0, 2, 3)[n % 3]],
            "fillstyle": FILLINGS[n % len(FILLINGS)], "markerfacecoloralt": "white",
        }  # fmt: skip
    return styles


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
    line(value, color=BASIC, linestyle=LINES[1], linewidth=1.4, zorder=4, label=label)


def spans_decades(values: Any, factor: float = 30) -> bool:
    """Whether values are all positive and spread so widely that a log axis shows them better."""
    values = [v for v in values if v == v]
    return bool(values) and min(values) > 0 and max(values) > factor * min(values)


def log_axis(axis: Any, low: float, high: float, few: bool = False) -> None:
    """Give a log axis ticks that people read, from its lowest and highest value: 1, 2, 5, 10 where these are near.

    Powers of ten remain where values span many decades or are large, and where there is room for `few` ticks.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    decades = math.log10(high / low)
    axis.set_minor_formatter(NullFormatter())
    if few and decades > 1:
        axis.set_major_locator(LogLocator(numticks=5))
        axis.set_major_formatter(FuncFormatter(lambda x, _: _short(x)))
    elif decades <= 4 and high < 1e6:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.6g}"))


def _short(value: float) -> str:
    size, letter = next(((size, of) for size, of in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= size), (1, ""))
    return f"{value / size:g}{letter}"


def percent_axis(axis: Any) -> None:
    """Write a fraction's axis in percent: `percent_axis(ax.yaxis)`."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{round(100 * x, 6):g} %"))


def median_line(linewidth: float = 2.0) -> dict[str, Any]:
    """Return seaborn's `medianprops` for boxes of all colours: a dark line with a white rim."""
    from matplotlib import patheffects

    rim = patheffects.Stroke(linewidth=linewidth + 2.2, foreground="white")
    return {"color": INK, "linewidth": linewidth, "path_effects": [rim, patheffects.Normal()]}


def label_ends(ax: Axes, ends: Sequence[tuple[float, str, str]], size: float = 9) -> None:
    """Write beside the right edge of an axes what lines are: where each ends, its name, its colour.

    For when all else is drawn, limits and scale too. Names that would cover each other are moved apart.
    """
    room = 72 * ax.bbox.height / ax.figure.dpi
    gap = 1.25 * size / room
    to_axes = ax.transData + ax.transAxes.inverted()
    wanted = sorted((float(to_axes.transform((ax.get_xlim()[1], y))[1]), name, shade) for y, name, shade in ends)
    places = [place for place, *_ in wanted]
    for _ in range(200):  # each two that are too near push each other away
        for i in range(len(places) - 1):
            if (short_of := gap - (places[i + 1] - places[i])) > 1e-6:
                places[i] -= short_of / 2
                places[i + 1] += short_of / 2
        places[0], places[-1] = max(places[0], 0.0), min(places[-1], 1.0)
    for at, (y, name, shade) in zip(places, wanted, strict=True):
        ax.annotate(
            plain(name), (1.0, y), (1.03, at), "axes fraction", "axes fraction", fontsize=size, va="center",
            color=INK, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": shade, "linewidth": 1.2, "shrinkB": 1, "relpos": (0, 0.5)},
        )  # fmt: skip


def legend_below(fig: Figure, *axes: Axes, columns: int = 4, **options: Any) -> None:
    """Put the legend of some axes under the figure, each entry once, where it covers nothing."""
    entries: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        fig.legend(
            list(entries.values()), list(entries), loc="outside lower center", ncols=columns, frameon=False, **options
        )


def name_point(ax: Axes, x: float, y: float, name: str, away: float = 7) -> None:
    """Write the name of a network beside its point, within the axes; for when limits and scale are as they stay."""
    ax.get_xlim()  # has matplotlib work them out
    right = ax.transAxes.inverted().transform(ax.transData.transform((x, y)))[0] > 0.5
    ax.annotate(
        plain(name), (x, y), (-away if right else away, 0), textcoords="offset points", ha="right" if right else "left",
        va="center", fontsize=8, zorder=7,
        bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8},
    )  # fmt: skip


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
    """Give a figure its title, which states the finding or the question, and what to bear in mind beneath; wrapped."""
    from matplotlib.layout_engine import PlaceHolderLayoutEngine

    width, height = fig.get_size_inches()
    engine: Any = fig.get_layout_engine()  # it places the title, or nobody does; a place holder stands for "none"
    placed = engine is not None and not isinstance(engine, PlaceHolderLayoutEngine)
    lines = wrapped(title, width)
    fig.suptitle(
        "\n".join(lines), x=0.012, ha="left", fontsize=TITLE, fontweight="bold", linespacing=1.25, parse_math=False,
        **({} if placed else {"y": 1 - 0.12 / height}),
    )  # fmt: skip
    if subtitle:
        small = textwrap.wrap(subtitle, int(width * 13))
        below = (0.06 if placed else 0.12) + len(lines) * TITLE * 1.5 / 72
        fig.text(
            0.012, 1 - below / height, "\n".join(small), ha="left", va="top", fontsize=9, color="#555555",
            parse_math=False,
        ).set_in_layout(False)  # fmt: skip
        if placed:
            engine.set(rect=(0, 0, 1, 1 - (0.12 + len(small) * 0.17) / height))
    return fig
