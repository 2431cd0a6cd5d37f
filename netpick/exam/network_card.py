"""The card of one network: its layers with their shapes, its cost, its scores, its rank, and what it confuses.

Everything comes from the run's tables; nothing is built, and no torch is loaded. `Card` holds plain frames; its `text`
is for those who have no terminal that draws tables.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from netpick.core import words
from netpick.exam import ballots, checks, marks, timings, winner
from netpick.networks.paper.spec import NetworkSpec
from netpick.networks.paper.whole_networks import WHOLE
from netpick.networks.paper.written import layer_table
from netpick.store.reader import Reader

COSTS = {
    "params": "trainable parameters",
    "memory": "tensor elements held for one input",
    "ops": "nodes of the autograd graph",
    "depth": "layers with parameters",
    "macs": "multiply-accumulates for one input",
    "seconds": "seconds of training",
    "step_seconds": "seconds of a training step, alone",
    "latency": "seconds from one input to its scores, alone",
    "throughput": "inputs scored in a second, many at once, alone",
}


@dataclass(frozen=True)
class Card:
    """All that is known of one network of a run.

    Parameters
    ----------
    name, computation, activation : str
        The network and its family.
    summary : str
        A sentence or two: accuracy, rank, percentile, cost.
    layers : frame
        layer (as it is written in PyTorch), shape (of the output, per sample), params, macs.
    costs : frame
        cost, value, percentile (percentage of the run's networks that cost less, those equal counted half), basic (the
        value of `Basic`; NaN without it), meaning.
    epochs : frame
        epoch, train_loss, loss, accuracy, seconds; mean over replicates.
    classes : frame
        class, samples, accuracy (share of them that is right), precision (share of the answers of this class that are
        right), rank (in this class, among all networks), mostly_taken_for (the most frequent wrong answer).
    confusions : frame
        true, taken_for, times, share (of the samples of the true class), samples (numbers of up to five of them); the
        most frequent ones first.
    trainings : frame
        replicate, status, device, plan, seconds, error.
    elsewhere : frame
        precision, latency_ms, device, threads, throughput, memory_mb, millijoules: what a kit measured.
    recipe : frame
        key, value, whose (the run's, or this network's where the template sweeps it).
    note : str
        What is missing.
    """

    name: str
    computation: str
    activation: str
    summary: str
    layers: pd.DataFrame
    costs: pd.DataFrame
    epochs: pd.DataFrame
    classes: pd.DataFrame
    confusions: pd.DataFrame
    trainings: pd.DataFrame
    elsewhere: pd.DataFrame
    recipe: pd.DataFrame
    note: str = ""

    @property
    def sections(self) -> dict[str, pd.DataFrame]:
        """The frames that have rows, by their headings, in the order in which one reads them."""
        every = {
            "Layers": self.layers,
            "Cost": self.costs,
            "Epochs": self.epochs,
            "Classes": self.classes,
            "What it confuses": self.confusions,
            "Trainings": self.trainings,
            "On other devices": self.elsewhere,
            "Recipe": self.recipe,
        }
        return {heading: frame for heading, frame in every.items() if len(frame)}

    @property
    def text(self) -> str:
        """The whole card as plain text."""
        parts = [f"{self.name}\n{self.summary}"]
        for heading, frame in self.sections.items():
            parts.append(f"{heading}\n{frame.to_string(index=False, na_rep='', float_format=_number)}")
        return "\n\n".join([*parts, *([f"Note: {self.note}"] if self.note else [])])

    def __str__(self) -> str:
        """Give the text."""
        return self.text


def card(run: Reader, name: str, most: int = 10) -> Card:
    """Make the card of a network.

    Parameters
    ----------
    run : Run
    name : str
    most : int
        Confusions to list.

    Raises
    ------
    NetpickError
        There is no such network; the nearest name is suggested.
    """
    row = network_row(run, name)
    spec = NetworkSpec.from_dict(row)
    trainings = run.trainings[run.trainings["network"] == name]
    shown = trainings[["replicate", "status", "device", "plan", "seconds", "error"]].reset_index(drop=True)
    if trainings["error"].isna().all():
        shown = shown.drop(columns="error")
    has_answers = bool((trainings["status"] == "done").any())
    students = marks.students(run) if (run.trainings["status"] == "done").any() else None
    if has_answers and students is not None:
        summary = _summary(spec, students, run)
        classes, confusions = _answers(run, name, most)
    else:
        ended = ", ".join(trainings["status"]) if len(trainings) else "not trained yet"
        summary = f"{_family(spec)}{_params(row['params'])}; it has no answers ({ended})."
        classes, confusions = pd.DataFrame(), pd.DataFrame()
    return Card(
        name,
        spec.computation,
        spec.activation,
        summary,
        pd.DataFrame() if run.imported else _layers(spec, row, tuple(run.manifest["shape"])),
        _costs(row, students),
        _epochs(run, name),
        classes,
        confusions,
        shown,
        _elsewhere(run, name),
        _recipe(run, spec),
        checks.notes(run),
    )


def _elsewhere(run: Reader, name: str) -> pd.DataFrame:
    rows = run.device_times[run.device_times["network"] == name]
    return timings.elsewhere(rows).drop(columns="network", errors="ignore")


def layers_as_written(run: Reader) -> dict[str, pd.DataFrame]:
    """Return the layers of each network of a run, as in its `Card`, by its name."""
    if run.imported:
        return {str(name): pd.DataFrame() for name in run.networks["name"]}
    image = tuple(run.manifest["shape"])
    rows = [{str(column): value for column, value in row.items()} for row in run.networks.to_dict("records")]
    return {row["name"]: _layers(NetworkSpec.from_dict(row), row, image) for row in rows}


def _layers(spec: NetworkSpec, row: dict[str, Any], image: tuple[int, ...]) -> pd.DataFrame:
    """Return the layer table; what a whole network has is what was measured of it."""
    table = layer_table(spec.layers, image)
    for i, layer in enumerate(spec.layers):
        if layer.op in WHOLE:  # the layers around it have neither
            table.loc[i, ["params", "macs"]] = int(row["params"]), int(row["macs"])
    return table


def _recipe(run: Reader, spec: NetworkSpec) -> pd.DataFrame:
    """Return a row a value of the recipe that this network is trained by, and whether it is its own."""
    values = run.recipe_of(spec.name)
    rows = [
        (key, json.dumps(value), "this network's" if key in spec.recipe else "the run's")
        for key, value in values.items()
    ]
    return pd.DataFrame(rows, columns=["key", "value", "whose"])


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def network_row(run: Reader, name: str) -> dict[str, Any]:
    """Return a network's row of networks.parquet; RunError with the nearest name where there is none."""
    names = run.networks["name"].tolist()  # Arrow's words are UTF-8: they can't be compared with one that isn't
    if name not in names:
        checks.need_network(run, name)  # raises, with the nearest name
    return {str(column): value for column, value in run.networks.iloc[names.index(name)].items()}


def _family(spec: NetworkSpec) -> str:
    return f"{spec.computation} without activation" if spec.activation == "None" else "{} with {}".format(*spec.family)


def _params(number: float) -> str:
    return f", {words.count(number)} parameters" if number == number else ""


def percentile(values: np.ndarray, value: float) -> float:
    """Return the percentage of values below `value`, those equal to it counted half."""
    return 100 * float((values < value).mean() + (values == value).mean() / 2)


def _summary(spec: NetworkSpec, students: pd.DataFrame, run: Reader) -> str:
    mine = students[students["name"] == spec.name].iloc[0]
    accuracy, own = students["accuracy"].to_numpy(), float(mine["accuracy"])
    rank = int((accuracy > own).sum()) + 1
    kin = students[(students["computation"] == spec.computation) & (students["activation"] == spec.activation)]
    out = (
        f"{_family(spec)}{_params(mine['params'])}: {words.percent(own)} on {len(run.labels())} test "
        f"samples, rank {rank} of {len(students)} (percentile {percentile(accuracy, own):.1f})"
    )
    if label := winner.label_of(run, students, spec.name):
        out += f", {label}"
    if len(kin) > 1:
        out += f", rank {int((kin['accuracy'] > own).sum()) + 1} of {len(kin)} in its family"
    if mine["star"]:
        out += "; a gold star"
    return out + "."


def _costs(row: dict[str, Any], students: pd.DataFrame | None) -> pd.DataFrame:
    out = []
    mine = students[students["name"] == row["name"]] if students is not None else None
    for cost, meaning in COSTS.items():
        if cost in row:
            value = float(row[cost] if row[cost] is not None else "nan")
        elif mine is not None and len(mine) and cost in mine:
            value = float(mine[cost].iloc[0])
        else:
            continue
        if np.isnan(value):  # this one was not timed
            continue
        others = students[cost].to_numpy(float) if students is not None else np.array([])
        basic = others[(students["name"] == "Basic").to_numpy()] if students is not None else others
        out.append(
            {
                "cost": cost,
                "value": value,
                "percentile": percentile(others[~np.isnan(others)], value) if len(others) else np.nan,
                "basic": float(basic[0]) if len(basic) else np.nan,
                "meaning": meaning,
            }
        )
    return pd.DataFrame(out)


def _epochs(run: Reader, name: str) -> pd.DataFrame:
    rows = run.epochs[(run.epochs["network"] == name) & (run.epochs["split"] == "test")]
    columns = {"train_loss": "train_loss", "loss": "loss", "accuracy": "accuracy", "train_seconds": "seconds"}
    return rows.groupby("epoch")[list(columns)].mean().rename(columns=columns).reset_index()


def _answers(run: Reader, name: str, most: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    names, predicted, labels = ballots.final(run)
    right = predicted == labels
    mine = names.index(name)
    given = predicted[mine]
    classes = run.classes
    table = np.zeros((len(classes), len(classes)), int)
    np.add.at(table, (labels, given), 1)
    wrong = table.copy()
    np.fill_diagonal(wrong, 0)
    rows = []
    for c, word in enumerate(classes):
        here = labels == c
        if not here.any():
            continue
        scores = right[:, here].mean(axis=1)
        rows.append(
            {
                "class": word,
                "samples": int(here.sum()),
                "accuracy": float(scores[mine]),
                "precision": table[c, c] / table[:, c].sum() if table[:, c].sum() else np.nan,
                "rank": int((scores > scores[mine]).sum()) + 1,
                "mostly_taken_for": classes[int(wrong[c].argmax())] if wrong[c].any() else "",
            }
        )
    pairs = [(int(wrong[c, d]), c, d) for c, d in np.argwhere(wrong)]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    confusions = [
        {
            "true": classes[c],
            "taken_for": classes[d],
            "times": n,
            "share": n / table[c].sum(),
            "samples": ", ".join(map(str, np.flatnonzero((labels == c) & (given == d))[:5])),
        }
        for n, c, d in pairs[:most]
    ]
    columns = ["true", "taken_for", "times", "share", "samples"]
    return pd.DataFrame(rows), pd.DataFrame(confusions, columns=columns)
