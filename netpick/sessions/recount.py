"""What a run says of itself, worked out anew: the counts of each network, and the numbers of each evaluation.

Counts follow from the layers, accuracies, losses and areas from the predictions. What a run says that doesn't follow
was made up, or written by a netpick that counts otherwise. Reads, and trains nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from msgspec import to_builtins
from msgspec.structs import fields

from netpick.core.metrics import evaluate
from netpick.core.recipe import Recipe
from netpick.core.result import LEFT_OUT
from netpick.networks.paper.spec import NetworkSpec
from netpick.networks.paper.whole_networks import OWN
from netpick.sessions.situation import Situation
from netpick.store.blocks import Block

COUNTS = ("params", "memory", "ops", "depth", "macs", "thop_macs")
SAME_ANYWHERE = ("params", "depth", "macs")
"""Counts that follow from the layers; the others are what this version of torch and thop makes of them."""

_RECIPE = {field.name for field in fields(Recipe)} - {"precision", "train_samples"}
"""What trainings say of their recipe as it is written there; `precision` is what `auto` came to."""

NEAR = 1e-6
"""By how much a loss or an area may differ: sums of float32 come out otherwise in another version of numpy."""


def count_faults(
    situation: Situation, trainings: pd.DataFrame, same_versions: bool, workers: int, on_done: Callable[[int], object]
) -> Iterator[str]:
    """Count every network anew, and yield what the run says otherwise.

    Parameters
    ----------
    situation : the run; networks of the user's own code are left out, since to count them is to run it
    trainings : its trainings, which say on how many samples baselines were fitted
    same_versions : whether it was generated with the torch that is here: else only what follows from the layers
    workers : processes that count
    on_done : told of every handful of networks how many they are
    """
    from netpick.networks.modules.measure import measure_all  # loads torch

    samples = dict(zip(trainings["network"].astype(str), trainings["train_samples"], strict=True))
    by_samples: dict[int, list[Any]] = {}
    for network in situation.networks:
        if not runs_own_code(network.spec):
            number = samples.get(network.spec.name)
            by_samples.setdefault(0 if number is None or number != number else int(number), []).append(network)
    for number, networks in by_samples.items():
        counts = measure_all([n.spec for n in networks], tuple(situation.image), workers, number, on_done)
        for network, count in zip(networks, counts, strict=True):
            for name, now in asdict(count).items():
                then = network.row[name]
                if (same_versions or name in SAME_ANYWHERE) and not _same(then, now):
                    yield f"network {network.spec.name}: {name} is {now}, and networks.parquet says {then}"


def runs_own_code(spec: NetworkSpec) -> bool:
    """Whether a network is the user's own code, which runs where it is made."""
    return any(layer.op == OWN for layer in spec.layers)


def training_faults(situation: Situation, trainings: pd.DataFrame) -> Iterator[str]:
    """Yield what trainings say of their seed and recipe that is not the run's."""
    networks = {network.spec.name: network for network in situation.networks}
    seed = situation.store.manifest["seed"]
    for row in trainings.to_dict("records"):
        network = networks[row["network"]]
        about = f"{row['network']}, replicate {row['replicate']}"
        wanted = network.seed(seed, row["replicate"])
        if row["seed"] != wanted:
            yield f"{about}: its seed is {row['seed']}, and the run's seed gives {wanted}"
        fold, left_out = situation.fold(network, row["replicate"]), row["fold"]
        if fold != (None if left_out != left_out else left_out):
            yield f"{about}: its fold is {left_out}, and the catalogue gives {fold}"
        for key in sorted(_RECIPE & row.keys()):
            then, said = row[key], to_builtins(getattr(network.recipe, key))
            if then is None or then != then:
                continue
            if (_table(then) if isinstance(said, dict) else then) != said:
                yield f"{about}: {key} is {then}, and the recipe says {said}"


def _table(text: str) -> Any:
    """Return what a column of JSON says; as it is written, where that is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


@dataclass
class Evaluations:
    """Hears every block of predictions, and holds it against the tables `epochs` and `samples`.

    `relabelled` says whether labels were put right after the answers: then those in the predictions are others, the
    same ones in all of them.
    """

    epochs: pd.DataFrame
    labels: dict[str, np.ndarray]
    classes: int
    relabelled: bool = False
    faults: list[str] = field(default_factory=list)
    checked: int = 0
    without_scores: int = 0

    def __post_init__(self) -> None:
        keys = zip(*(self.epochs[k].tolist() for k in ("network", "replicate", "epoch", "split")), strict=True)
        self._rows = dict(zip(keys, self.epochs.to_dict("records"), strict=True))
        self._before = {split: np.full(len(labels), -1) for split, labels in self.labels.items()}

    @property
    def changed(self) -> int:
        """Number of samples that had another label when they were answered."""
        pairs = ((before, self.labels[split]) for split, before in self._before.items())
        return sum(int(((before >= 0) & (before != now)).sum()) for before, now in pairs)

    def hear(self, block: Block) -> None:
        """Work the numbers of one evaluation out anew."""
        row = self._rows.get(block.key)
        if row is None:  # of a training that has not ended
            return
        self.checked += 1
        about = f"{block.network}, replicate {block.replicate}, epoch {block.epoch}, split {block.split}"
        answers = _answers(block, self.classes)
        label = answers.label
        labels = self.labels.get(block.split)
        if labels is not None and block.split == LEFT_OUT:  # of which it has some; `whole` knows whether the right ones
            labels = labels[answers.sample.clip(max=len(labels) - 1)]
        if labels is None or len(labels) != len(label):
            self.faults.append(f"{about}: labels are not those of samples.parquet")
            return
        if not np.array_equal(labels, label):
            if fault := self._relabelling_fault(block.split, answers):
                self.faults.append(f"{about}: {fault}")
                return
            label = labels
        if answers.scores is None:
            self.without_scores += 1
            now = _from_classes(answers.predicted, label, self.classes)
        else:
            if not np.array_equal(answers.scores.argmax(axis=1), answers.predicted):
                self.faults.append(f"{about}: predicted classes are not those of the highest scores")
            now = _from_scores(block.split, answers.scores, label)
        wrong = [name for name, value in now.items() if not _same(row[name], value)]
        for name in wrong[:1]:
            more = f", and {len(wrong) - 1} more such" if len(wrong) > 1 else ""
            self.faults.append(f"{about}: {name} is {now[name]:.6g}, and epochs say {row[name]:.6g}{more}")

    def _relabelling_fault(self, split: str, answers: _Answers) -> str | None:
        if not self.relabelled:
            return "labels are not those of samples.parquet"
        before = self._before[split][answers.sample]
        if ((before >= 0) & (before != answers.label)).any():
            return "labels are not those that the other networks answered by"
        self._before[split][answers.sample] = answers.label
        return None


class _Answers(NamedTuple):
    """The columns of a block in the order of its samples; no scores where they were not kept."""

    sample: np.ndarray
    label: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray | None


def _answers(block: Block, classes: int) -> _Answers:
    columns: dict[str, Any] = {name: block.array(name) for name in block.table.column_names}
    order = np.argsort(columns["sample"], kind="stable")
    scores = [columns[f"score_{c}"] for c in range(classes)]
    kept = None if any(score is None for score in scores) else np.stack(scores, axis=1)[order]
    sample, label, predicted = (columns[name][order] for name in ("sample", "label", "predicted"))
    return _Answers(sample, label, predicted, kept)


def by_other_labels(block: Block, labels: np.ndarray) -> dict[str, float]:
    """Return the columns of `epochs` that follow from labels, all samples' of the split; NaN where scores are missing.

    A loss or an area without scores is not known any more: the one that stood there was that of other labels.
    """
    classes = sum(name.startswith("score_") for name in block.table.column_names)
    answers = _answers(block, classes)
    known = labels[answers.sample]
    if answers.scores is not None:
        return _from_scores(block.split, answers.scores, known)
    unknown = dict.fromkeys(("loss", *(f"auc_{c}" for c in range(classes))), math.nan)
    return {**_from_classes(answers.predicted, known, classes), **unknown}


def _from_scores(split: str, scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    result = evaluate(split, scores, labels, 0.0)
    by_class = {"accuracy": result.class_accuracy, "auc": result.class_auc}
    columns = chain.from_iterable(((f"{k}_{c}", v) for c, v in enumerate(vs)) for k, vs in by_class.items())
    return {"accuracy": result.accuracy, "loss": result.loss, **dict(columns)}


def _from_classes(predicted: np.ndarray, labels: np.ndarray, classes: int) -> dict[str, float]:
    right = predicted == labels
    recall = {f"accuracy_{c}": right[labels == c].mean() if (labels == c).any() else math.nan for c in range(classes)}
    return {"accuracy": float(right.mean()), **recall}


def _same(then: Any, now: Any) -> bool:
    missing = [value is None or value != value for value in (then, now)]
    if any(missing):
        return all(missing)
    return then == now or math.isclose(then, now, rel_tol=NEAR, abs_tol=NEAR)
