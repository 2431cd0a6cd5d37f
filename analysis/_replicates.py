"""The replicates of one network as the members of a committee: one design, trained from several seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from netpick import exam
from netpick.exam import NetpickError, Run


class Members(NamedTuple):
    """Who may sit in a committee: names, (networks, costs), (networks, samples) of answers, the labels, the scores."""

    names: list[str]
    costs: np.ndarray
    predicted: np.ndarray
    labels: np.ndarray
    scores: Callable[[], np.ndarray]


def named_alone(run: Run, members: list[str] | str | None) -> str | None:
    """Return the one network that is named as the only kind of member; None where more than one may be meant."""
    words = [members] if isinstance(members, str) else list(members or [])
    return words[0] if len(words) == 1 and words[0] in set(run.networks["name"]) else None


def replicates(run: Run, name: str, largest: int, split: str) -> Members:
    """Return the replicates of a network; NetpickError with the commands that train more where there is one."""
    exam.need_network(run, name)
    rows = exam.evaluations(run, split)
    spent = rows[rows["network"] == name].groupby("replicate")["train_seconds"].sum()
    if len(spent) < 2:
        raise NetpickError(
            f"a committee needs two members and there is 1 replicate of {name}: give other `members` too, or train "
            f"more replicates ({more(run, name, largest)})"
        )
    numbers = [int(r) for r in spent.index]
    costs = run.networks.loc[run.networks["name"] == name, ["params", "macs"]].to_numpy(float)
    predicted = np.concatenate([run.predicted(split=split, networks=name, replicate=r) for r in numbers])
    return Members(
        [f"{name}, replicate {r}" for r in numbers],
        np.column_stack([np.repeat(costs, len(numbers), axis=0), spent]),
        predicted,
        run.labels(split),
        lambda: np.concatenate([run.scores(split=split, networks=name, replicate=r) for r in numbers]),
    )


def more(run: Run, name: str, number: int) -> str:
    """Return the commands that train so many replicates of a network, in a run of their own."""
    recipe = {**run.recipe_of(name), "replicates": number}
    values = {key: value for key, value in recipe.items() if not isinstance(value, dict)}
    values |= {
        f"{key}.{own}": v for key, value in recipe.items() if isinstance(value, dict) for own, v in value.items()
    }
    settings = [word for key, value in values.items() for word in ("--set", f"recipe.{key}={_written(value)}")]
    file, folder = "replicates.jsonl", f"runs/replicates-{number}"
    steps = (
        ("export", run.path, name, "--to", file),
        ("generate", "--networks", file, "--dataset", run.manifest["dataset"], "--run", folder, *settings),
        ("train", folder),
    )
    return ", ".join(f"`{exam.command(*step)}`" for step in steps)


def together(table: pd.DataFrame) -> str:
    """Say what a replicate has alone, on average, and what all that were tried have together."""
    random = table[table["choice"] == "random"]
    one, largest = (random[random["size"] == size] for size in (1, random["size"].max()))
    row = largest.sort_values("accuracy").iloc[-1]
    how = "votes" if row["rule"] == "votes" else "mean probabilities"
    return (
        f" One of them has {exam.percent(one['accuracy'].iloc[0])} on average, {row['size']} together "
        f"{exam.percent(row['accuracy'])} by {how}."
    )


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
