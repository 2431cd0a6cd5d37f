"""Pick a network: constraints, objectives, the Pareto front, and a suggestion with its reasons.

Whoever takes the best of a thousand takes the luckiest too. So the choice is made on the validation split where the run
has one, and the accuracy that is reported is that on the test samples, looked at for nothing else. Without a validation
split the test samples are halved: one half to choose, the other to judge. Costs come from the run's tables. Nothing is
printed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from netpick.core import words
from netpick.core.errors import NetpickError, listed, suggest
from netpick.exam import ballots, checks, marks
from netpick.exam.answer import Answer
from netpick.exam.significance import mcnemar, verdict
from netpick.store.reader import Reader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUMBERS = ("params", "memory", "ops", "macs", "depth", "seconds", *marks.TIMED, "accuracy", "class_accuracy")
"""Columns that can be bounded and be objectives; `class_accuracy` is that of a network's worst class. Those of
`marks.TIMED` are there where `netpick time` has measured them."""

PLAYED_NO_PART = "on samples that played no part in the choice"

WORDS = ("name", "computation", "activation")
FRACTIONS = ("accuracy", "class_accuracy")
TIMES = ("seconds", "step_seconds", "latency")
WORDS_OF = {
    "seconds": "training time",
    "step_seconds": "a training step",
    "latency": "latency",
    "depth": "layers",
}


@dataclass
class Pick(Answer):
    """A suggestion: an `Answer` whose table is the Pareto front.

    Parameters
    ----------
    name : str
        The suggested network.
    runner_up : str or None
        What would be suggested if there were no such network.
    candidates : int
        Networks that meet the constraints.

    Notes
    -----
    Columns of the table: name, computation, activation, the costs; accuracy and class_accuracy (of the worst class) on
    the samples that the choice was made on; judged, judged_class (the same on the other samples); suggested (bool).
    """

    name: str = ""
    runner_up: str | None = None
    candidates: int = 0


@dataclass(frozen=True)
class _Constraint:
    """One thing that is asked of a network; `key` is as it was given, such as max_params."""

    key: str
    column: str
    value: Any

    def met(self, frame: pd.DataFrame) -> np.ndarray:
        values = frame[self.column]
        if self.key.startswith("min_"):
            return (values >= self.value).to_numpy()
        if self.key.startswith("max_"):
            return (values <= self.value).to_numpy()
        return values.isin(self.value).to_numpy()

    def missed_by(self, frame: pd.DataFrame) -> np.ndarray:
        """By how much each network misses it, relative to the bound; 1 for a wrong word."""
        if self.key.startswith(("min_", "max_")):
            off = (frame[self.column] - self.value).abs() / max(abs(self.value), 1e-12)
            return np.where(self.met(frame), 0.0, off.fillna(np.inf))
        return np.where(self.met(frame), 0.0, 1.0)

    def __str__(self) -> str:
        if isinstance(self.value, tuple):
            return f"{self.key} = {listed(self.value)}"
        return f"{self.key} = {self.value:g}" if isinstance(self.value, float) else f"{self.key} = {self.value}"


def pick(
    run: Reader,
    constraints: Mapping[str, float | str | list[str]] | None = None,
    minimize: Iterable[str] | None = None,
    maximize: Iterable[str] | None = None,
    *,
    give_up: float | None = None,
    seed: int = 0,
) -> Pick:
    """Suggest a network.

    Parameters
    ----------
    run : Run
    constraints : mapping
        ``min_X`` and ``max_X`` of any column of `NUMBERS`; ``computation``, ``activation`` or ``name``, each a word or
        a list of words. Accuracies are those on the samples that the choice is made on.
    minimize, maximize : names of columns of `NUMBERS`
        The objectives, the most important first; without any, few macs and high accuracy. The suggestion comes from
        their Pareto front: the networks that no other one beats in one objective without losing in another.
    give_up : float, optional
        Accuracy that may be lost for a lower cost: of the networks of the front that are at most this much less
        accurate than the most accurate one, the one is suggested that is best by the other objectives, in their order.
        Without it one standard error of the highest accuracy: what a choice on so few samples can't tell anyway
        (the rule of Breiman et al. 1984, "Classification and regression trees").
    seed : int
        Of the split into halves; a validation split has its own.

    Raises
    ------
    NetpickError
        Unknown column or word (the nearest is suggested), a value that makes no sense, and constraints that nothing
        meets: then it says which one is to blame, and which network comes nearest.
    """
    if give_up is not None:
        checks.check_fraction("give_up", give_up)
    down, up = _objectives(minimize, maximize)
    frame, right, samples, said_of = _candidates(run, seed)
    known = np.ones(len(frame), bool)
    for column in {*down, *up, *(key.partition("_")[2] for key in constraints or {})} & {*marks.TIMED}:
        if column not in frame:
            raise NetpickError(f"{column} has not been measured: `netpick time {run.path}` does")
        known &= frame[column].notna().to_numpy()
    wanted = [_constraint(key, value, frame) for key, value in (constraints or {}).items()]
    met = np.logical_and.reduce([known, *(c.met(frame) for c in wanted)])
    if not met.any():
        raise NetpickError(_nobody(frame, wanted))
    pool = frame[met].reset_index(drop=True)
    front = pool[pareto(pool, down, up)]
    if give_up is None:
        give_up = _standard_error(front, up, samples)
    chosen = _suggest(front, down, up, give_up)
    rest = pool[pool["name"] != chosen["name"]].reset_index(drop=True)
    second = _suggest(rest[pareto(rest, down, up)], down, up, give_up) if len(rest) else None
    by = (up or down)[0]
    front = front.sort_values(by, ascending=by in down, ignore_index=True)
    front["suggested"] = front["name"] == chosen["name"]
    place = {name: i for i, name in enumerate(frame["name"])}

    def p_value(other: pd.Series) -> float:
        return mcnemar(*(right[place[n]] for n in (chosen["name"], other["name"])))

    text = _text(chosen, second, front, pool, frame, down, up, p_value, bool(wanted), give_up)
    if "validation" in said_of:
        text = text.replace(PLAYED_NO_PART, "on the test set, which played no part in the choice", 1)
        text = text.replace("on those that did", "on the validation set, which it was chosen by", 1)
    said = [said_of, checks.notes(run)]
    if {*down, *up, *(one.column for one in wanted)} & {*TIMES, "throughput"}:
        said.append(marks.times(run))
    return Pick(
        front,
        text,
        lambda: _draw(frame, pool, front, down, up, wanted),
        "; ".join(filter(None, said)),
        name=str(chosen["name"]),
        runner_up=None if second is None else str(second["name"]),
        candidates=len(pool),
    )


def pareto(frame: pd.DataFrame, minimize: list[str], maximize: list[str]) -> np.ndarray:
    """Return which rows no other row beats, bool: better in one objective and no worse in all others.

    Of rows that are equal in all objectives all stay. Time grows with the square of the number of rows.
    """
    columns = [frame[c].to_numpy(float) for c in minimize] + [-frame[c].to_numpy(float) for c in maximize]
    values = np.column_stack(columns)
    values = np.where(np.isnan(values), np.inf, values)  # what is not known beats nothing
    keep = np.ones(len(values), bool)
    for i, one in enumerate(values):
        keep[i] = not ((values <= one).all(axis=1) & (values < one).any(axis=1)).any()
    return keep


def _objectives(minimize: Iterable[str] | None, maximize: Iterable[str] | None) -> tuple[list[str], list[str]]:
    down, up = list(minimize or []), list(maximize or [])
    if not down and not up:
        down, up = ["macs"], ["accuracy"]
    elif not up and not set(down) & set(FRACTIONS):
        up = ["accuracy"]
    for column in (*down, *up):
        if column not in NUMBERS:
            raise NetpickError(
                f"no column '{column}'{suggest(column, NUMBERS)} to choose by: there are {listed(NUMBERS)}"
            )
    if twice := set(down) & set(up):
        raise NetpickError(f"{listed(sorted(twice))} is to be minimized and maximized: take one of both away")
    return list(dict.fromkeys(down)), list(dict.fromkeys(up))


def _candidates(run: Reader, seed: int) -> tuple[pd.DataFrame, np.ndarray, dict[str, int], str]:
    """Return a row a network; right or wrong on the samples to judge on (networks, samples); how many are chosen by.

    The third is, for each column of `FRACTIONS`, the number of samples that it is a share of; the last says in words
    what was chosen and judged on.
    """
    names, predicted, labels = ballots.final(run)
    right = predicted == labels
    if "validation" in set(run.epochs["split"]):
        names, chosen_by, choose_labels = ballots.final(run, names, "validation")
        choose_right, judge_right, judge_labels = chosen_by == choose_labels, right, labels
        said = f"chosen on {len(choose_labels)} validation samples, judged on all {len(labels)} test samples"
    else:
        if len(labels) < 2:
            raise NetpickError(
                f"{run.path} has {len(labels)} test samples: there must be two at least, to choose and to judge"
            )
        choose, judge = ballots.halves(len(labels), seed, labels)
        choose_right, choose_labels = right[:, choose], labels[choose]
        judge_right, judge_labels = right[:, judge], labels[judge]
        said = f"chosen on {len(choose)} test samples, judged on the other {len(judge)}"
    frame = marks.students(run).set_index("name").loc[names].reset_index()
    frame = frame[
        ["name", "computation", "activation", "params", "memory", "ops", "depth", "macs", "seconds"]
        + [column for column in marks.TIMED if column in frame]
    ]
    frame = frame.assign(
        accuracy=choose_right.mean(axis=1),
        class_accuracy=_worst_class(choose_right, choose_labels),
        judged=judge_right.mean(axis=1),
        judged_class=_worst_class(judge_right, judge_labels),
    )
    counts = np.bincount(choose_labels)
    return frame, judge_right, {"accuracy": len(choose_labels), "class_accuracy": int(counts[counts > 0].min())}, said


def _worst_class(right: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the accuracy of each network in its worst class, of the classes that occur."""
    return np.min([right[:, labels == c].mean(axis=1) for c in np.unique(labels)], axis=0)


def _constraint(key: str, value: Any, frame: pd.DataFrame) -> _Constraint:
    bound, _, column = key.partition("_")
    if bound in ("min", "max") and column:
        if column not in NUMBERS:
            raise NetpickError(f"no column '{column}'{suggest(column, NUMBERS)} for {key}: there are {listed(NUMBERS)}")
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if np.isnan(number):
            raise NetpickError(f"{key} is {value!r}: give a number")
        if column in FRACTIONS:
            checks.check_fraction(key, number)
        return _Constraint(key, column, number)
    if key not in WORDS:
        allowed = [*(f"{b}_{c}" for b in ("min", "max") for c in NUMBERS), *WORDS]
        raise NetpickError(
            f"no constraint '{key}'{suggest(key, allowed)}: give min_ or max_ of {listed(NUMBERS)}, or {listed(WORDS)}"
        )
    words = (value,) if isinstance(value, str) else tuple(value)
    known = frame[key].unique()
    for word in words:
        if word not in known:
            raise NetpickError(f"no {key} '{word}'{suggest(str(word), known)} among the networks: {listed(known)}")
    return _Constraint(key, key, words)


def _nobody(frame: pd.DataFrame, wanted: list[_Constraint]) -> str:
    """Say which constraint is to blame, and which network comes nearest."""
    met = np.array([c.met(frame) for c in wanted])
    nearest = frame.iloc[int(np.sum([c.missed_by(frame) for c in wanted], axis=0).argmin())]
    alone = [c for c, row in zip(wanted, met, strict=True) if not row.any()]
    without = [int(np.delete(met, i, axis=0).all(axis=0).sum()) for i in range(len(wanted))]
    if alone:
        one = alone[0]
        best = frame[one.column].max() if one.key.startswith("min_") else frame[one.column].min()
        blame = f"{one} is to blame, which none of {len(frame)} networks meets ({one.column} goes "
        blame += f"{'up' if one.key.startswith('min_') else 'down'} to {_number(one.column, best)})"
    elif max(without) > 0:
        i = int(np.argmax(without))
        blame = f"{wanted[i]} is to blame, without which {without[i]} would"
    else:
        blame = f"they exclude each other: {listed(map(str, wanted))}"
    shown = [c.column for c in wanted if c.column not in WORDS] or ["accuracy"]
    values = ", ".join(f"{c} {_number(c, nearest[c])}" for c in dict.fromkeys(shown))
    family = (
        f"{nearest['computation']} with {nearest['activation']}, " if any(c.column in WORDS for c in wanted) else ""
    )
    return f"no network meets all constraints: {blame}; the nearest is {nearest['name']} ({family}{values})"


def _suggest(front: pd.DataFrame, down: list[str], up: list[str], give_up: float) -> pd.Series:
    """Choose one row of a Pareto front."""
    main = next((c for c in up if c in FRACTIONS), None)
    others = [c for c in (*down, *up) if c != main]
    if main is not None:
        front = front[front[main] >= front[main].max() - give_up - 1e-12]
    keys = [*others, *([main] if main else []), "macs", "params", "name"]
    ascending = [*(c in down for c in others), *([False] if main else []), True, True, True]
    return front.sort_values(keys, ascending=ascending).iloc[0]


def _standard_error(front: pd.DataFrame, up: list[str], samples: dict[str, int]) -> float:
    """Return the standard error of the highest accuracy."""
    main = next((c for c in up if c in FRACTIONS), None)
    if main is None:
        return 0.0
    n = samples[main]
    p = (front[main].max() * n + 1) / (n + 2)  # else there would be none where all are right
    return float(np.sqrt(p * (1 - p) / n))


def _number(column: str, value: float) -> str:
    if column in FRACTIONS:
        return words.percent(value)
    if column == "throughput":
        return f"{value:,.3g} inputs/s" if value < 1000 else f"{value:,.0f} inputs/s"
    if column in TIMES:
        return f"{value:.3g} s" if value >= 0.1 else f"{1e3 * value:.3g} ms"
    return f"{value:,.0f}"


def _text(
    chosen: pd.Series,
    second: pd.Series | None,
    front: pd.DataFrame,
    pool: pd.DataFrame,
    frame: pd.DataFrame,
    down: list[str],
    up: list[str],
    p_value: Any,
    constrained: bool,
    give_up: float,
) -> str:
    if constrained:
        of = f"{len(pool)} of {len(frame)} networks meet the constraints;"
    else:
        of = f"Of {len(pool)} networks,"
    are = f"{len(front)} {'is' if len(front) == 1 else 'are'}"
    out = [
        f"{of} {are} on the Pareto front of {_list_of(down, up)}.",
        f"Take {chosen['name']}: {words.percent(chosen['judged'])} {PLAYED_NO_PART} "
        f"({words.percent(chosen['accuracy'])} on those that did)"
        + "".join(f", {_cost(c, chosen[c])}" for c in down if c not in FRACTIONS)
        + ".",
    ]
    top = pool.sort_values(["accuracy", "macs", "name"], ascending=[False, True, True]).iloc[0]
    named = {chosen["name"]}
    if down and set(up) & set(FRACTIONS):
        out.append(f"It is the first by {down[0]} of those that are at most {100 * give_up:.2g} points from the best.")
    if top["name"] != chosen["name"]:
        named.add(top["name"])
        out.append(
            f"The most accurate one in the choice, {top['name']}, {_versus(top, chosen, down, up, p_value(top))}."
        )
    if second is None:
        out.append("There is no runner-up.")
    elif second["name"] in named:
        out.append("It is the runner-up, too.")
    else:
        out.append(f"The runner-up, {second['name']}, {_versus(second, chosen, down, up, p_value(second))}.")
    return " ".join(out)


def _list_of(down: list[str], up: list[str]) -> str:
    return " and ".join([*(f"low {c}" for c in down), *(f"high {c}" for c in up)])


def _cost(column: str, value: float) -> str:
    if column == "depth":
        return f"{value:.0f} layers with parameters"
    if column in ("step_seconds", "latency"):
        return f"{_number(column, value)} {WORDS_OF[column]}"
    return _number(column, value) if column in (*TIMES, "throughput") else f"{_number(column, value)} {column}"


def _versus(other: pd.Series, chosen: pd.Series, down: list[str], up: list[str], p: float) -> str:
    """Say what another network costs and gives beside the chosen one; accuracies are those that are judged."""
    parts = []
    for column in [c for c in (*down, *up) if c not in FRACTIONS]:
        mine, theirs = float(chosen[column]), float(other[column])
        what = WORDS_OF.get(column, column)
        if mine == theirs:
            parts.append(f"has the same {what}")
        elif mine > 0:
            times = f"{theirs / mine:.2f}" if 0.1 < theirs / mine < 10 else f"{theirs / mine:.3g}"
            parts.append(f"has {times} times the {what}")
    points = 100 * float(other["judged"] - chosen["judged"])
    if points == 0:
        parts.append("is as accurate")
    else:
        parts.append(f"is {abs(points):.2f} points {'more' if points > 0 else 'less'} accurate, and {verdict(p)}")
    return " and ".join(parts) if len(parts) < 3 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _draw(
    frame: pd.DataFrame,
    pool: pd.DataFrame,
    front: pd.DataFrame,
    down: list[str],
    up: list[str],
    wanted: list[_Constraint],
) -> Figure:
    """Draw the first objective of each kind against each other: all networks, those that will do, the front."""
    from matplotlib.figure import Figure

    from netpick.exam import theme

    columns = [*down, *(c for c in up if c not in down)]
    x = next((c for c in columns if c not in FRACTIONS), "macs")
    y = next((c for c in columns if c != x), "accuracy")
    fig = Figure(figsize=(theme.WIDTH, theme.HEIGHT), layout="constrained")
    ax = fig.subplots()
    out = frame[~frame["name"].isin(pool["name"])]
    if len(out):
        ax.plot(
            out[x], out[y], ".", color="#CCCCCC", ms=5, zorder=1, label=f"does not meet the constraints ({len(out)})"
        )
    for computation in theme.family_order(pool):
        some = pool[pool["computation"] == computation]
        ax.plot(some[x], some[y], "o", ms=4.5, alpha=0.75, mew=0, color=theme.colour(computation), label=computation)
    line = front.sort_values(x)
    if len(columns) == 2:
        ax.plot(line[x], line[y], color=theme.INK, lw=1, zorder=3, drawstyle="steps-post" if y in up else "default")
    ax.plot(line[x], line[y], "o", ms=8, mfc="none", mec=theme.INK, zorder=3, label=f"Pareto front ({len(front)})")
    mine = front[front["suggested"]]
    theme.mark_stars(ax, mine[x], mine[y], label=f"suggested: {mine['name'].iloc[0]}", size=330)
    basic = frame[frame["name"] == "Basic"]
    if len(basic):
        ax.plot(basic[x], basic[y], "D", ms=8, mfc="white", mec=theme.INK, zorder=4, label="Basic (one linear layer)")
    for one in wanted:
        if one.column in (x, y) and not isinstance(one.value, tuple):
            (ax.axvline if one.column == x else ax.axhline)(one.value, color=theme.WRONG, ls=":", zorder=2)
    if x not in FRACTIONS and theme.spans_decades(frame[x]):
        ax.set_xscale("log")
    if y in FRACTIONS:
        theme.percent_axis(ax.yaxis)
        low = min(float(front[y].min()), float(pool[y].quantile(0.05))) if len(pool) else 0
        top = float(pool[y].max())
        ax.set_ylim(max(0, low - 0.15 * (top - low) - 0.005), min(1.0, top + 0.1 * (top - low) + 0.005))
    elif theme.spans_decades(frame[y]):
        ax.set_yscale("log")
    ax.set(xlabel=_axis(x), ylabel=_axis(y))
    theme.legend_below(fig, ax, columns=4, fontsize=9)
    return theme.finish(fig, f"Take {mine['name'].iloc[0]}: which networks offer {_list_of(down, up)}?")


def _axis(column: str) -> str:
    words = {
        "params": "trainable parameters",
        "memory": "memory (tensor elements for one input)",
        "ops": "operations (nodes of the autograd graph)",
        "macs": "multiply-accumulates for one input",
        "depth": "layers with parameters",
        "seconds": "training time (s)",
        "step_seconds": "time of a training step (s)",
        "latency": "latency of one input (s)",
        "throughput": "throughput (inputs a second)",
        "accuracy": "accuracy, on the samples chosen by",
        "class_accuracy": "accuracy in the worst class, on the samples chosen by",
    }
    return words[column]
