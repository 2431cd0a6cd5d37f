"""Are the training images representative of the test images?

Where they are, a test image is as near to the training images of its class as these are to each other. `netpick
distances` works that out, in pixels as they are trained on. Good students are asked, in their last attempt, unless
`everyone` is, whether the images that lie farther away are those that networks get wrong.

Columns of the answer, a row a class and last a row `all`:

- `label`, `class_name`: the class; -1 and `all` for all together
- `test`, `train`: images that were compared: all test images, and as many training images that were drawn
- `test_median`, `train_median`: of their distances to the nearest (other) training image of the class
- `farther`: chance that a test image has a larger distance than a training image of its class (equal ones by half):
  0.5 where the training images are representative
- `p`: of "there is no difference", by ranks (Mann and Whitney 1947), corrected for as many classes (Holm 1979); of all
  together ranks are those within each class (Van Elteren 1960)
- `correlation`: Spearman's, of a test image's distance with the share of networks that have it wrong; of all together
  within the classes; `low`, `high`: its 95 % interval

with `by="sample"`, a row a test image, those that lie farthest out of their class first: `sample`, `label`,
`class_name`, `nearest` (distance), `neighbour` (number of that training image), `outside` (share of the training images
of its class that are nearer to another one than it is), `wrong` (share of the networks).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.analysis import _ranks
from netpick.exam import Answer, NetpickError, Run, listed, percent, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAR = 0.99
"""An image is far out where this share of the training images of its class are nearer to another one."""
ALPHA = 0.05


def ask(
    run: Run,
    *,
    by: str = "class",
    everyone: bool = False,
    good: float = exam.GOOD,
    quantile: float | None = None,
) -> Answer:
    """Compare test images with training images, class by class.

    Parameters
    ----------
    by : str
        What a row of the table is: class or sample.
    """
    exam.check_choice("by", by, ("class", "sample"))
    exam.need_trained(run, "distance from these")
    if not len(run.distances):
        raise NetpickError(
            f"it is not known how far the test images of {run.path} are from the training images: "
            f"`{exam.command('distances', run.path)}` works it out"
        )
    frame = exam.selected(run, everyone, good, quantile=quantile)
    _, predicted, labels = exam.final(run, frame["name"])
    each = samples(run, (predicted != labels).mean(axis=0))
    classes = by_class(run, each)
    text = f"{_said(classes)} {_far(each)} {_hard(classes.iloc[-1])} Asked were {exam.whom(frame, everyone)}."
    whole = classes.iloc[-1]
    title = "Nothing shows that test images lie farther from the training images than these from each other"
    if whole["p"] < ALPHA:
        way = "farther from" if whole["farther"] > 0.5 else "nearer to"
        title = f"Test images lie {way} the training images than these {way.split()[1]} each other"
    table, columns = (
        classes,
        ("class_name", "test_median", "train_median", "farther", "p", "correlation", "low", "high"),
    )
    if by == "sample":
        table, columns = each, ()
    return Answer(
        table, text, lambda: theme.finish(_draw(run, each, classes), f"{title} ({exam.how_many(frame)})"),
        exam.notes(run), shares=("outside", "wrong") if by == "sample" else ("farther",), columns=columns,
    )  # fmt: skip


def samples(run: Run, wrong: np.ndarray) -> pd.DataFrame:
    """Return a row a test image, those that lie farthest out of their class first; `wrong` is of each image."""
    rows = run.distances[run.distances["split"] == "test"].drop(columns="split")
    rows = rows.assign(wrong=wrong[rows["sample"]], class_name=np.array(run.classes, object)[rows["label"]])
    drawn = run.distances[run.distances["split"] == "train"].groupby("label")["nearest"]
    ordered = {label: np.sort(values) for label, values in drawn}
    out = [
        np.searchsorted(ordered[c], d) / len(ordered[c]) for c, d in zip(rows["label"], rows["nearest"], strict=True)
    ]
    rows = rows.assign(outside=out).sort_values(["outside", "nearest", "sample"], ascending=[False, False, True])
    return rows[["sample", "label", "class_name", "nearest", "neighbour", "outside", "wrong"]].reset_index(drop=True)


def by_class(run: Run, each: pd.DataFrame) -> pd.DataFrame:
    """Return a row a class, and one for all."""
    from scipy.stats import mannwhitneyu, norm

    rows, pairs = [], []
    of_training = run.distances[run.distances["split"] == "train"]
    for label, test in each.sort_values("sample").groupby("label"):
        train = of_training.loc[of_training["label"] == label, "nearest"].to_numpy()
        near = test["nearest"].to_numpy()
        found = mannwhitneyu(near, train, method="asymptotic", use_continuity=False)
        pairs.append((near, train))
        hard = exam.association(test["nearest"], test["wrong"])[:3]
        rows.append([
            label, run.classes[int(str(label))], len(near), len(train), np.median(near), np.median(train),
            found.statistic / len(near) / len(train), found.pvalue, *hard,
        ])  # fmt: skip
    columns = ["label", "class_name", "test", "train", "test_median", "train_median", "farther", "p"]
    table = pd.DataFrame(rows, columns=[*columns, "correlation", "low", "high"])
    table["p"] = exam.holm(table["p"].to_numpy(float))
    near, train = (np.concatenate(side) for side in zip(*pairs, strict=True))
    together = exam.association(each["nearest"], each["wrong"], each["label"])
    table.loc[len(table)] = [
        -1, "all", len(near), len(train), np.median(near), np.median(train),
        np.average(table["farther"], weights=table["test"]), 2 * norm.sf(abs(_ranks.stratified(pairs))), *together[:3],
    ]  # fmt: skip
    return table.astype({"label": int, "test": int, "train": int})


def _said(classes: pd.DataFrame) -> str:
    whole, each = classes.iloc[-1], classes.iloc[:-1]
    real = each[each["p"] < ALPHA].sort_values("farther", ascending=False)
    text = (
        f"A test image is farther from the training images of its class than these are from each other with a chance "
        f"of {percent(whole['farther'], 1)}, where 50 % would be alike, and {exam.verdict(whole['p'])}"
    )
    if not len(real):
        return f"{text}; of no class alone it is more than chance."
    named = listed((f"'{row.class_name}' ({percent(row.farther, 1)})" for row in real.itertuples()), 6)
    return f"{text}; of {len(real)} of {len(each)} classes it is more than chance: {named}."


def _far(each: pd.DataFrame) -> str:
    far = each[each["outside"] >= FAR]
    if not len(far):
        return f"No test image lies farther out than {percent(FAR)} of the training images of its class."
    return (
        f"{len(far)} of {len(each)} test images lie farther out than {percent(FAR)} of the training images of their "
        f"class ({listed((f'no. {s}' for s in far['sample']), 4)}), where {percent(1 - FAR)} would be alike "
        f"({(1 - FAR) * len(each):.0f})."
    )


def _hard(whole: pd.Series) -> str:
    if np.isnan(whole["correlation"]):
        return "Too few images differ to say whether those that lie farther away are the hard ones."
    words = "nothing shows that images that lie farther away are wrong for more networks"
    if not whole["low"] <= 0 <= whole["high"]:
        words = f"images that lie farther away are wrong for {'more' if whole['correlation'] > 0 else 'fewer'} networks"
    return (
        f"Within a class {words} (rank correlation {whole['correlation']:.2f}, 95 % interval {whole['low']:.2f} to "
        f"{whole['high']:.2f})."
    )


def _draw(run: Run, each: pd.DataFrame, classes: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    fig = Figure(figsize=(10, max(5.0, 0.4 * len(classes) + 1.5)))
    left, right = fig.subplots(1, 2, width_ratios=(1.2, 1))
    train = run.distances[run.distances["split"] == "train"]
    for shift, colour, rows, what in (
        (-0.17, theme.WRONG, each, "test images"),
        (0.17, theme.INK, train, "training images"),
    ):
        _quartiles(left, rows, classes["label"].iloc[:-1].tolist(), shift, colour, what)
    left.set_yticks(range(len(classes) - 1), [theme.plain(exam.short(c, 16)) for c in classes["class_name"].iloc[:-1]])
    left.invert_yaxis()
    left.set(xlabel="distance to the nearest training image of the class")
    left.set_title("each class: median and quartiles", loc="left")
    right.plot(each["nearest"], each["wrong"], "o", color=theme.RIGHT, ms=3.5, alpha=0.5, mew=0)
    theme.percent_axis(right.yaxis)
    right.set(xlabel="distance of a test image", ylabel="networks that have it wrong")
    right.set_title("are those far away the hard ones?", loc="left")
    theme.legend_below(fig, left)
    return fig


def _quartiles(ax: Axes, rows: pd.DataFrame, labels: list[int], shift: float, colour: str, what: str) -> None:
    marks = [rows.loc[rows["label"] == label, "nearest"].quantile([0.25, 0.5, 0.75]).to_numpy() for label in labels]
    places = np.arange(len(labels)) + shift
    low, middle, high = np.array(marks).T
    ax.hlines(places, low, high, color=colour, linewidth=2)
    ax.plot(middle, places, "o", color=colour, ms=6, label=what)
