"""What several questions share: the students, their marks, their final answers. Frames in, frames out.

A *student* is a network with at least one training that is `done`; an *attempt* is an epoch. Numbers of a network's
replicates are averaged; single answers (predictions, scores) are those of its first replicate that is done. What was
read is kept for as long as the `Run` is, so that many questions read once. No question is answered here, nothing
is drawn, and no torch is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from netpick.errors import NetpickError, RunError, listed, suggest
from netpick.run import Run

GOOD, GOLD = 0.80, 0.98
"""The study's thresholds: good students reach the first in every attempt, gold stars pass the second in the last."""

TINY = 1e-9
"""Slack in comparing accuracies with thresholds: a mean over replicates may be off by a rounding."""

FEW = 0.1
"""Below this share of the networks, answers are read for them alone; else for all, once."""

T = TypeVar("T")
_memory: WeakKeyDictionary[Run, dict[Any, Any]] = WeakKeyDictionary()


def _once(run: Run, key: Any, make: Callable[[], T]) -> T:
    """Return what `make` gives, called once for a run and a key."""
    known = _memory.setdefault(run, {})
    if key not in known:
        known[key] = make()
    return known[key]


def check_fraction(name: str, value: float, low: float = 0.0, high: float = 1.0) -> float:
    """Return the value of an option as a float; NetpickError where it is not within `low` and `high`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not low <= number <= high:
        raise NetpickError(f"{name} is {value!r}: give a number from {low:g} to {high:g}")
    return number


def check_count(name: str, value: int, low: int = 1, high: int | None = None) -> int:
    """Return the value of an option as an int; NetpickError where it is not one, or not within `low` and `high`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        top = f" to {high}" if high is not None else " on"
        raise NetpickError(f"{name} is {value!r}: give a whole number from {low}{top}")
    return int(value)


def need_network(run: Run, name: str) -> str:
    """Return the name of a network that has a finished training; RunError with the nearest name where it has none."""
    known = run.networks["name"].tolist()
    if name not in known:
        raise RunError(f"no network '{name}'{suggest(str(name), known)} in {run.path}, which has {len(known)}")
    if name not in set(done(run)["network"]):
        ended = run.trainings.loc[run.trainings["network"] == name, "status"]
        how = f"its training ended as {listed(ended)}" if len(ended) else "it has not been trained yet"
        raise RunError(f"'{name}' has no answers in {run.path}, {how}: name another network")
    return name


def need_split(run: Run, split: str) -> str:
    """Return the split; RunError with the nearest where the run has no evaluations of it."""
    there = [str(s) for s in run.epochs["split"].unique()]
    if split not in there:
        raise RunError(f"no split '{split}'{suggest(split, there)} in {run.path}, which has {listed(there)}")
    return split


def done(run: Run) -> pd.DataFrame:
    """Return the trainings that are done, `network` as plain text; RunError where there is none."""

    def make() -> pd.DataFrame:
        rows = run.trainings[run.trainings["status"] == "done"]
        return rows.assign(network=rows["network"].astype(str)).reset_index(drop=True)

    rows = _once(run, "done", make)
    if not len(rows):
        some = run.trainings["status"].value_counts()
        what = listed(f"{n} {status}" for status, n in some.items()) or "none at all"
        raise RunError(f"{run.path} has no finished training yet ({what}): `netpick train {run.path}` makes some")
    return rows


def attempts(run: Run, split: str = "test") -> pd.DataFrame:
    """Return the accuracy of each student at each attempt: a row a network, a column an epoch.

    Mean over replicates; NaN where a network stopped earlier.
    """
    trained = done(run)  # raises first where there is nothing at all
    need_split(run, split)

    def make() -> pd.DataFrame:
        rows = run.epochs[run.epochs["split"] == split].astype({"network": str})
        keys = ["network", "replicate"]
        rows = rows.merge(trained[keys], on=keys)
        table = rows.pivot_table("accuracy", "network", "epoch", aggfunc="mean")
        present = [name for name in run.networks["name"] if name in table.index]
        return table.loc[present]

    return _once(run, ("attempts", split), make).copy()


TIMED = ("step_seconds", "latency", "throughput")
"""Columns of `students` that `netpick time` measures; there where it has measured any student."""


def timed(run: Run) -> pd.DataFrame | None:
    """Return what `netpick time` has measured on one device, a row a network by name; None where it has nothing.

    The device is the one that the run was trained on, or else the one with the most networks; with the fewest threads.
    """
    rows = run.timings
    if not len(rows):
        return None
    trained = set(run.trainings["device"])
    counts = rows.groupby(["device", "threads"]).size().rename("networks").reset_index()
    counts["trained"] = counts["device"].isin(trained)
    best = counts.sort_values(["trained", "threads", "networks"], ascending=[False, True, False]).iloc[0]
    mine = rows[(rows["device"] == best["device"]) & (rows["threads"] == best["threads"])]
    return mine.set_index("network")


def alone(run: Run) -> bool:
    """Whether the students' seconds are of each network alone: where all that are trained by gradient were timed so."""
    from netpick.whole import BASELINES

    found = timed(run)
    if found is None:
        return False
    students_there = set(done(run)["network"])
    layers = run.networks.set_index("name").loc[list(students_there), "layers"]
    fitted = {name for name, text in layers.items() if any(f'"{op}"' in text for op in BASELINES)}
    return students_there - fitted <= set(found.index)


def times(run: Run) -> str:
    """Say in a sentence where the times of the students come from, and what makes them hard to compare."""
    rows = done(run)
    found = timed(run)
    if found is not None and alone(run):
        return f"times are of each network alone on {found['device_name'].iloc[0]} ({found['device'].iloc[0]})"
    said = []
    devices, workers = sorted(rows["device"].unique()), int(rows["workers"].max())
    if len(devices) > 1:
        said.append(f"times are from different devices ({listed(devices)})")
    if workers > 1:
        said.append(f"times were taken while up to {workers} trainings shared the machine")
    if found is not None:
        some = len(set(found.index) & set(rows["network"]))
        said.append(f"{some} of {rows['network'].nunique()} networks were timed alone: `netpick time` times the others")
    return "; ".join(said)


def _marks(run: Run, split: str) -> pd.DataFrame:
    """Return the students with all that does not depend on what is called good."""
    by_epoch = attempts(run, split)
    trained = done(run)
    rows = run.epochs[run.epochs["split"] == split].astype({"network": str})
    rows = rows.merge(trained[["network", "replicate"]], on=["network", "replicate"])
    seconds = rows.groupby(["network", "replicate"])["train_seconds"].sum().groupby("network").mean()
    # Of each replicate its own last epoch: replicates can have stopped at different ones.
    last = rows.loc[rows.groupby(["network", "replicate"])["epoch"].idxmax()].groupby("network")["accuracy"].mean()
    frame = (
        run.networks.drop(columns=["hash", "layers", "recipe", "thop_macs"], errors="ignore")
        .set_index("name")
        .loc[by_epoch.index]
    )
    frame = frame.rename_axis("name").reset_index()
    names = frame["name"]
    own: dict[str, pd.Series] = {}
    if (found := timed(run)) is not None:
        own = {column: names.map(found[column]) for column in TIMED}
        if alone(run):  # no matter what trained beside it: steps of all epochs, each as long as it takes alone
            counts = rows.groupby(["network", "replicate"])["epoch"].nunique().groupby("network").mean()
            by_steps = found["step_seconds"] * found["epoch_steps"]
            seconds = seconds.index.to_series().map(counts * by_steps).fillna(seconds)
    return frame.assign(
        **own,
        seconds=names.map(seconds),
        accuracy=names.map(last),
        lowest=by_epoch.min(axis=1).to_numpy(),
        epochs=by_epoch.notna().sum(axis=1).to_numpy(),
        replicates=names.map(trained.groupby("network").size()),
    )


def students(
    run: Run,
    good: float = GOOD,
    gold: float = GOLD,
    quantile: float | None = None,
    split: str = "test",
) -> pd.DataFrame:
    """Return one row a student, in the order of the catalogue.

    Parameters
    ----------
    run : Run
    good : float
        A good student has at least this accuracy in every attempt (epoch).
    gold : float
        A gold star is for a good student whose last accuracy is above this.
    quantile : float
        Take both thresholds from the run instead, where the published ones don't fit the data set: `good` is this
        quantile of all students' lowest accuracies, `gold` this quantile of the good ones' last accuracies.
    split : str
        Samples that are asked about: test, or validation where the run has it.

    Returns
    -------
    pandas.DataFrame
        name, computation, activation, params, memory, ops, depth, macs; seconds (training, all epochs together),
        accuracy (last epoch), lowest (accuracy in the worst epoch), all three as means over the replicates;
        epochs, replicates (counts), good, star (bool); step_seconds, latency and throughput where `netpick time` has
        measured them (see `times`). `attrs` has the two thresholds that were used.

    Raises
    ------
    NetpickError
        For a threshold out of range; RunError where no training is done, or the run lacks the split.
    """
    good, gold = check_fraction("good", good), check_fraction("gold", gold)
    frame = _once(run, ("marks", split), lambda: _marks(run, split)).copy()
    if quantile is not None:
        quantile = check_fraction("quantile", quantile)
        # "lower" names an accuracy that some student has, so that at least that one is good
        good = float(np.quantile(frame["lowest"], quantile, method="lower"))
        gold = float(np.quantile(frame.loc[frame["lowest"] >= good - TINY, "accuracy"], quantile, method="lower"))
    frame["good"] = frame["lowest"] >= good - TINY
    frame["star"] = frame["good"] & (frame["accuracy"] > gold + TINY)
    frame.attrs.update(good=good, gold=gold)
    return frame


def selected(
    run: Run,
    everyone: bool = False,
    good: float = GOOD,
    gold: float = GOLD,
    quantile: float | None = None,
    split: str = "test",
) -> pd.DataFrame:
    """Return the good students, or all of them: `students`, cut down.

    Parameters
    ----------
    run : Run
    everyone : bool
        Ask all students, not the good ones alone.
    good, gold, quantile, split
        As in `students`.

    Raises
    ------
    NetpickError
        As `students`, and where no student is good.
    """
    frame = students(run, good, gold, quantile, split)
    if everyone:
        return frame
    chosen = frame[frame["good"]].reset_index(drop=True)
    if not len(chosen):
        top = frame.iloc[int(frame["lowest"].argmax())]
        raise NetpickError(
            f"no student of {run.path} is good, with at least {good:.3g} in every attempt ({top['name']} comes "
            f"nearest, with {top['lowest']:.3g}): give a lower `good`, a `quantile`, or ask `everyone`"
        )
    chosen.attrs.update(frame.attrs)
    return chosen


def whom(frame: pd.DataFrame, everyone: bool) -> str:
    """Name the students of `selected` in a sentence: "812 good students (at least 80 % in every attempt)"."""
    n = len(frame)
    one = "" if n == 1 else "s"
    if everyone:
        return f"{n} student{one}"
    return f"{n} good student{one} (at least {percent(frame.attrs.get('good', GOOD))} in every attempt)"


def percent(fraction: float, digits: int = 2) -> str:
    """Write a fraction as people read it: 0.98 is "98 %"."""
    return f"{round(100 * fraction, digits):g} %"


def points(difference: float, digits: int = 2) -> str:
    """Write a difference of fractions: 0.02 is "2 percentage points"."""
    number = f"{round(100 * difference, digits):g}"
    return f"{number} percentage point{'' if number == '1' else 's'}"


def first_replicates(run: Run, split: str = "test") -> dict[str, int]:
    """Return the replicate whose answers stand for each student: the first that is done; in catalogue order."""
    names = attempts(run, split).index.astype(str).tolist()
    lowest = done(run).groupby("network")["replicate"].min()
    first = dict(zip(names, lowest.loc[names].tolist(), strict=True))
    present = {(name, r) for r in set(first.values()) for name in run.network_names(split=split, replicate=r)}
    return {name: r for name, r in first.items() if (name, r) in present}


def _gather(read: Callable[..., np.ndarray], which: dict[str, int], split: str) -> np.ndarray:
    """Read the last answers of networks by name and replicate, into rows of that order."""
    replicates = sorted(set(which.values()))
    if len(replicates) < 2:  # all but always: no copy of a large array
        return read(split=split, networks=list(which), replicate=min(replicates, default=0))
    out: np.ndarray | None = None
    names = list(which)
    for replicate in replicates:
        rows = [i for i, name in enumerate(names) if which[name] == replicate]
        part = read(split=split, networks=[names[i] for i in rows], replicate=replicate)
        if out is None:
            out = np.empty((len(names), *part.shape[1:]), part.dtype)
        out[rows] = part
    assert out is not None
    return out


def _last(
    run: Run, what: str, read: Callable[..., np.ndarray], names: Iterable[str] | None, split: str
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return names, last answers and labels; all are read once and kept, a few that are named by themselves."""
    which = first_replicates(run, split)
    key, labels, everyone = (what, split), run.labels(split), list(which)
    wanted = everyone
    if names is not None:
        wanted = list(names)
        for name in wanted:
            if name not in which:
                need_network(run, name)
        wanted = [name for name in wanted if name in which]  # the others' files can't be read
        if len(wanted) <= max(2, FEW * len(which)) and key not in _memory.get(run, {}):
            return wanted, _gather(read, {name: which[name] for name in wanted}, split), labels
    whole = _once(run, key, lambda: _gather(read, which, split))
    if wanted == everyone:
        return everyone, whole, labels
    place = {name: i for i, name in enumerate(everyone)}
    rows = [place[name] for name in wanted]
    ranged = bool(rows) and rows == list(range(rows[0], rows[0] + len(rows)))
    return wanted, whole[rows[0] : rows[-1] + 1] if ranged else whole[rows], labels


def final(
    run: Run, names: Iterable[str] | None = None, split: str = "test"
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the last answers: names (n), predicted classes int16 (n, samples), labels int16 (samples).

    Of all students or of those named (each once), by the first replicate that is done; without those whose files
    can't be read. What is read for all is kept, a few names are read by themselves. Treat the arrays as read-only.
    """
    return _last(run, "predicted", run.predicted, names, split)


def final_scores(
    run: Run, names: Iterable[str] | None = None, split: str = "test"
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the last scores: names (n), float32 (n, samples, classes), labels int16 (samples).

    As `final`. All scores take 400 MB for 1001 networks, 10,000 samples and 10 classes, and there is to be one copy of
    them: a range of the students is given as a view, any other selection is a copy; work through it in blocks. Raises
    RunError where scores were not kept.
    """
    return _last(run, "scores", run.scores, names, split)


def forget(run: Run) -> None:
    """Let go of all that was kept of a run."""
    _memory.pop(run, None)


def best(frame: pd.DataFrame) -> str:
    """Return the name of the best student: highest accuracy; of equals fewest macs, then params, then by name."""
    order = frame.sort_values(["accuracy", "macs", "params", "name"], ascending=[False, True, True, True])
    return str(order["name"].iloc[0])


def basic(frame: pd.DataFrame) -> str | None:
    """Return "Basic" if it is among the students, else None."""
    return "Basic" if (frame["name"] == "Basic").any() else None


def halves(n: int, seed: int = 0, labels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Split the numbers 0 ... n-1 at random in two, to choose on the first part and judge on the second.

    With `labels` each class is split in two by itself; odd ones out go to the first and second part in turn.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    if labels is not None:
        order = order[np.argsort(np.asarray(labels)[order], kind="stable")]
    return np.sort(order[::2]), np.sort(order[1::2])


def votes(predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count how many networks give each class as their answer: int32 (samples, classes), from (networks, samples)."""
    samples = predicted.shape[1]
    out = np.empty((samples, classes), np.int32)
    for c in range(classes):
        out[:, c] = (predicted == c).sum(axis=0, dtype=np.int32)
    return out


def ballot(predicted: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """Count the votes on each sample.

    Parameters
    ----------
    predicted : (networks, samples) array of int
    labels : (samples,) array of int
    class_names : names of the classes, in order

    Returns
    -------
    pandas.DataFrame
        One row a sample: sample, label, class_name, right and wrong (shares of the networks), answer (the class
        with most votes, the first of equals), top (share of the networks that give it), mistake (the wrong class with
        most votes; -1 where nobody is wrong), same (share of the wrong networks that give it; NaN likewise), entropy
        (of the votes, in bits: 0 where all agree), and votes_0 ... votes_{C-1} (networks).
    """
    classes = len(class_names)
    counts = votes(predicted, classes)
    n = max(1, predicted.shape[0])
    rows = np.arange(len(labels))
    right = counts[rows, labels]
    others = counts.copy()
    others[rows, labels] = -1  # never the most frequent mistake
    mistake, most = others.argmax(axis=1), others.max(axis=1)
    wrong = counts.sum(axis=1) - right
    share = counts / n
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(counts > 0, share * np.log2(share), 0.0).sum(axis=1)
        same = np.where(wrong > 0, most / wrong, np.nan)
    names = np.asarray(class_names, dtype=object)
    return pd.DataFrame(
        {
            "sample": rows,
            "label": labels,
            "class_name": names[labels],
            "right": right / n,
            "wrong": wrong / n,
            "answer": counts.argmax(axis=1),
            "top": share.max(axis=1),
            "mistake": np.where(wrong > 0, mistake, -1),
            "same": same,
            "entropy": entropy + 0.0,  # no -0.0
            **{f"votes_{c}": counts[:, c] for c in range(classes)},
        }
    )


def notes(run: Run) -> str:
    """Say in words what is missing in a run, or "": trainings not done, files left out, replicates, one epoch only."""
    said = []
    wanted = run.wanted
    counts = run.trainings["status"].value_counts()
    if (pending := wanted - int(counts.sum())) > 0:
        said.append(f"the run is not finished: {pending} of {wanted} trainings are still to come")
    others = [f"{n} {status}" for status, n in counts.items() if status != "done"]
    if others:
        said.append(f"left out are trainings that did not end well: {listed(others)}")
    if run.broken:
        said.append(f"left out are files that can't be read: {listed((p.name for p in run.broken), 3)}")
    rows = run.trainings[run.trainings["status"] == "done"]
    if len(rows) and rows["replicate"].nunique() > 1:
        said.append(f"numbers are means over up to {rows['replicate'].nunique()} replicates of a network")
    if len(run.epochs) and run.epochs["epoch"].max() == 1:
        said.append("there is one attempt (epoch) only")
    return "; ".join(said)
