"""How do accuracy and loss go, epoch by epoch, and from where on does more training bring nothing?

Of the networks that are named; else of all students with several epochs where there are at most 8 of them, else of the
best and `Basic`.

Columns of the answer, a row a network × epoch, the best network first:

- `network`, `epoch`; `replicates`: trainings that the row is a mean of
- `accuracy`, `loss`: of the evaluated samples, after the epoch; `accuracy_low` to `loss_high`: their ranges over the
  replicates
- `train_loss`: mean over the samples during the epoch, while the network went on learning
- `stalled`: from this epoch or an earlier one on, accuracy gains less than `gain` in all that follows, which has to be
  2 epochs or more

What is said of a network is said of the means over its replicates. `attempts` asks about all students at once, and
`sweep --by attempt` what the epochs cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import Answer, Run, percent, points, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW = 8
"""Up to so many students are all drawn."""
AFTER = 2
"""Epochs that have to follow the one from which on accuracy is said to stall."""
NAMED = 3
"""Networks that the text speaks of at most."""
FALLS = 0.05
"""A loss that changed by less than this share of itself is said to be as it was."""
METRICS = ("accuracy", "loss", "train_loss")


def ask(run: Run, *, networks: list[str] | None = None, gain: float = 0.005, split: str | None = None) -> Answer:
    """Follow networks over their epochs.

    Parameters
    ----------
    networks : list of str
        Whom to follow.
    gain : float
        Accuracy stalls from the epoch after which it gains less than this, from 0 to 1.
    split : str
        Samples that are asked about: validation where the run has it, else test.
    """
    gain = exam.check_fraction("gain", gain)
    split = exam.choosing_split(run, split)
    note = exam.notes(run, exam.said_of_networks(run, split))
    split = exam.comparing_split(run, split)
    frame = exam.students(run, split=split)
    if networks:
        wanted = [exam.need_network(run, name) for name in dict.fromkeys(networks)]
    elif 0 < (frame["epochs"] > 1).sum() <= FEW:
        wanted = frame.loc[frame["epochs"] > 1, "name"].tolist()
    else:
        wanted = list(dict.fromkeys(filter(None, (exam.best(frame), exam.basic(frame)))))
    place = frame.set_index("name")["accuracy"]
    wanted.sort(key=lambda name: -place[name])  # stable: equals stay as they were named
    table = curves(run, wanted, gain, split)
    labels = {name: exam.label_of(run, frame, name, split) for name in wanted[:NAMED]}
    said = [_said(rows, gain, split, labels.get(name, "")) for name, rows in table.groupby("network", sort=False)]
    text = " ".join(said[:NAMED])
    if len(said) > NAMED:
        text += f" {len(said) - NAMED} more networks are in the table."
    computations = dict(zip(frame["name"], frame["computation"], strict=True))
    return Answer(
        table, text, lambda: _draw(table, computations, _title(table, gain, split), split), note,
        shares=("accuracy", "accuracy_low", "accuracy_high"),
        columns=("network", "epoch", "accuracy", "loss", "train_loss", "stalled"),
    )  # fmt: skip


def curves(run: Run, names: list[str], gain: float, split: str) -> pd.DataFrame:
    """Return the table for these networks, in their order."""
    rows = exam.evaluations(run, split)
    groups = rows[rows["network"].isin(names)].groupby(["network", "epoch"])
    table = pd.DataFrame({"replicates": groups.size()})
    for metric in METRICS:
        table[metric] = groups[metric].mean()
    for metric in METRICS[:2]:
        table[f"{metric}_low"], table[f"{metric}_high"] = groups[metric].min(), groups[metric].max()
    table = table.reset_index()
    order = table["network"].map({name: i for i, name in enumerate(names)})
    table = table.assign(order=order).sort_values(["order", "epoch"]).drop(columns="order").reset_index(drop=True)
    table["stalled"] = False
    for _, rows in table.groupby("network"):
        table.loc[rows.index, "stalled"] = stalled(rows["accuracy"].to_numpy(), gain)
    columns = ["network", "epoch", "replicates", "accuracy", "accuracy_low", "accuracy_high", "loss", "loss_low"]
    return table[[*columns, "loss_high", "train_loss", "stalled"]]


def stalled(accuracy: np.ndarray, gain: float) -> np.ndarray:
    """Say for each epoch whether from it, or from an earlier one, none of at least `AFTER` that follow gains `gain`."""
    out = np.zeros(len(accuracy), bool)
    for i in range(len(accuracy) - AFTER):
        out[i] = accuracy[i + 1 :].max() - accuracy[i] < gain - exam.TINY
    return np.logical_or.accumulate(out)


def _from(rows: pd.DataFrame) -> pd.Series | None:
    """Return the row from which on the accuracy of a network stalls, if any."""
    late = rows[rows["stalled"]]
    return late.iloc[0] if len(late) else None


def _change(word: str, before: float, after: float) -> str:
    """Say how a loss went on: "the test loss rises from 0.31 to 0.42"; "" where it stayed."""
    if not before > 0 or abs(after - before) < FALLS * before:
        return ""
    return f"the {word} loss {'falls' if after < before else 'rises'} from {before:.3g} to {after:.3g}"


def _said(rows: pd.DataFrame, gain: float, split: str, label: str) -> str:
    """Say in a sentence how one network went on; `label` is what its accuracy is called, if it is the best."""
    last, start, name = rows.iloc[-1], _from(rows), rows["network"].iloc[0]
    words = f"{percent(last['accuracy'])} on {split} after {exam.counted_word(last['epoch'], 'epoch')}"
    words += f" ({label})" if label else ""
    if len(rows) < 2:
        return f"{name} has {words}: there is nothing to follow."
    if start is None:
        return f"{name} has {words}, and has not stalled."
    out = f"{name} has {words}: from epoch {start['epoch']} on its accuracy gains less than {points(gain)}"
    changes = [
        _change("training", start["train_loss"], last["train_loss"]),
        _change(split, start["loss"], last["loss"]),
    ]
    more = " and ".join(filter(None, changes))
    return f"{out}, while {more}." if more else f"{out}."


def _title(table: pd.DataFrame, gain: float, split: str) -> str:
    """Say what the figure shows: of the network that was trained longest after it stalled, of equals the best."""
    stalls = []
    for _, rows in table.groupby("network", sort=False):
        if (start := _from(rows)) is not None:
            stalls.append((rows.iloc[-1]["epoch"] - start["epoch"], start, rows.iloc[-1]))
    if not stalls:
        return f"Accuracy and loss by epoch, on {split} and in training"
    _, start, last = max(stalls, key=lambda stall: stall[0])
    out = f"From epoch {start['epoch']} on the accuracy of {last['network']} gains less than {points(gain)}"
    falls = last["train_loss"] < (1 - FALLS) * start["train_loss"]
    return f"{out}, while the training loss goes on falling" if falls else out


def _draw(table: pd.DataFrame, computations: dict[str, str], title: str, split: str) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    fig = Figure(figsize=(10, 5.6))
    left, right = fig.subplots(1, 2)
    styles = theme.network_styles({name: computations[name] for name in table["network"].unique()})
    ends = []
    for name, rows in table.groupby("network", sort=False):
        style = {**styles[name], "linestyle": "-", "markersize": 5, "linewidth": 1.8}
        for ax, metric in ((left, "accuracy"), (right, "loss")):
            ax.plot(rows["epoch"], rows[metric], **style)
            if (rows["replicates"] > 1).any():
                low, high = rows[f"{metric}_low"], rows[f"{metric}_high"]
                ax.fill_between(rows["epoch"], low, high, color=style["color"], alpha=0.18, linewidth=0)
        right.plot(rows["epoch"], rows["train_loss"], **{**style, "linestyle": (0, (4, 2)), "marker": ""})
        if (start := _from(rows)) is not None:
            left.plot(start["epoch"], start["accuracy"], "D", color=style["color"], mec=theme.INK, markersize=10)
        ends.append((rows, str(name), style["color"]))
    if theme.spans_decades(table[["loss", "train_loss"]].to_numpy().ravel()):
        right.set_yscale("log")
    theme.percent_axis(left.yaxis)
    left.set(xlabel="epoch", ylabel=f"accuracy ({split})")
    left.set_title(f"accuracy{'; ◆ it stalls from here on' if table['stalled'].any() else ''}", loc="left")
    right.set(xlabel="epoch", ylabel="loss (nats)")
    bands = "; bands: range over the replicates" if (table["replicates"] > 1).any() else ""
    right.set_title(f"loss{bands}", loc="left")
    keys = [Line2D([], [], color="#444444", linestyle=line) for line in ("-", (0, (4, 2)))]
    right.legend(keys, [split, "training"], fontsize=9)
    for ax in (left, right):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    beside, metric = (right, "loss") if table["loss"].notna().any() else (left, "accuracy")
    right.set_visible(beside is right)  # without scores nobody knows the loss
    labels = [(float(rows[metric].iloc[-1]), name, shade) for rows, name, shade in ends]
    theme.label_ends(beside, [end for end in labels if end[0] == end[0]])
    return theme.finish(fig, title)
