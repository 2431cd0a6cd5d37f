"""What a question asks of a run before it begins, and what is missing in it: each said in one line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from netpick.core.advice import command
from netpick.core.errors import NetpickError, RunError, listed, suggest
from netpick.core.result import LEFT_OUT
from netpick.store.reader import Reader
from netpick.store.samples import ALL


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


def check_choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """Return the value of an option that is one of a few words; NetpickError with the nearest where it is none."""
    if value not in allowed:
        words = f"{', '.join(allowed[:-1])} or {allowed[-1]}"
        raise NetpickError(f"{name} is '{value}'{suggest(value, allowed)}: give {words}")
    return value


def need_network(run: Reader, name: str) -> str:
    """Return the name of a network that has a finished training; RunError with the nearest name where it has none."""
    known = run.networks["name"].tolist()
    if name not in known:
        raise RunError(f"no network '{name}'{suggest(str(name), known)} in {run.path}, which has {len(known)}")
    if name not in set(done(run)["network"]):
        ended = run.trainings.loc[run.trainings["network"] == name, "status"]
        how = f"its training ended as {listed(ended)}" if len(ended) else "it has not been trained yet"
        raise RunError(f"'{name}' has no answers in {run.path}, {how}: name another network")
    return name


def need_split(run: Reader, split: str) -> str:
    """Return the split; RunError with the nearest where the run has no evaluations of it."""
    there = [str(s) for s in run.epochs["split"].unique()]
    there += [ALL] if LEFT_OUT in there else []
    if split not in there:
        raise RunError(f"no split '{split}'{suggest(split, there)} in {run.path}, which has {listed(there)}")
    return split


def need_known(run: Reader, frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the students of whom a cost is known; RunError where it is of none. Only imported ones may lack it."""
    known = frame[frame[column].notna()]
    if not len(known):
        raise RunError(
            f"{run.path} does not say the {column} of its networks: import them with `--students FILE`, which has a "
            f"column {column}"
        )
    known.attrs.update(frame.attrs)
    return known


def need_trained(run: Reader, what: str) -> None:
    """Raise RunError for an imported run, of which nobody can know what only networks and training data tell."""
    if run.imported:
        raise RunError(f"{run.path} has imported answers, and no networks or training images: there is no {what}")


def choosing_split(run: Reader, split: str | None = None) -> str:
    """Return the split that networks are chosen by unless another is named: validation where the run has it."""
    if split is not None:
        return split
    return "validation" if "validation" in set(run.epochs["split"]) else "test"


def done(run: Reader) -> pd.DataFrame:
    """Return the trainings that are done, `network` as plain text; RunError where there is none."""

    def make() -> pd.DataFrame:
        rows = run.trainings[run.trainings["status"] == "done"]
        return rows.assign(network=rows["network"].astype(str)).reset_index(drop=True)

    rows = run.once("done", make)
    if not len(rows):
        counts = run.trainings["status"].value_counts()
        what = listed(f"{n} {status}" for status, n in counts.items()) or "none at all"
        retry = [word for status in counts.index for word in ("--retry", status)] if not run.pending else []
        raise RunError(
            f"{run.path} has no finished training yet ({what}): `{command('train', run.path, *retry)}` makes some"
        )
    return rows


def notes(run: Reader, *more: str, first: bool = False) -> str:
    """Say in words what is missing in a run: trainings not done, files left out, replicates, one epoch only.

    And after it what a question has to add; "" where there is nothing to say. `first` says that of several replicates
    the first one is asked, since single answers can't be averaged.
    """
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
        means = f"numbers are means over up to {rows['replicate'].nunique()} replicates of a network"
        said.append("answers are those of the first replicate of each network" if first else means)
    if len(run.epochs) and run.epochs["epoch"].max() == 1:
        said.append("there is one attempt (epoch) only")
    return "; ".join(filter(None, (*said, *more)))
