"""The networks of a planted exam: who has which role, how able each is at each epoch, and how sure of itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netpick.core.errors import NetpickError
from netpick.exam.planted.design import Design
from netpick.exam.planted.paper import Paper
from netpick.networks.paper.spec import NetworkSpec

COMPUTATION_SKILL = {
    "Linear": -0.9, "Conv1d": -0.5, "Conv3d": 0.0, "Conv2d": 0.4, "Conv1dThenLinear": -0.1, "Conv3dThenLinear": 0.2,
    "Conv2dThenLinear": 0.7, "ResNetStyle": 1.2,
}  # fmt: skip
ACTIVATION_SKILL = {"None": -0.4, "Sigmoid": -0.2, "Tanh": 0.0, "SELU": 0.1, "ReLU": 0.3}
"""What a family adds to the ability of its networks."""


@dataclass(frozen=True)
class Student:
    """One network as it sits the exam: its θ at each epoch, and by what its calibrated scores are multiplied."""

    spec: NetworkSpec
    theta: np.ndarray
    temperature: float
    calibrated: bool
    specialists: str


@dataclass(frozen=True)
class Students:
    """All networks, with what was drawn of them.

    Parameters
    ----------
    specs : in catalogue order
    roles : names of the networks of each role: weak, bloomers, worse, calibrated, overconfident
    ended : names of those whose training failed or diverged, or is pending
    ability : (networks, epochs) θ
    temperature : (networks,)
    specialists : the computation that alone reads the samples of its kind
    """

    specs: Sequence[NetworkSpec]
    roles: dict[str, list[str]]
    ended: dict[str, list[str]]
    ability: np.ndarray
    temperature: np.ndarray
    specialists: str

    @classmethod
    def draw(cls, rng: np.random.Generator, specs: Sequence[NetworkSpec], design: Design) -> Students:
        """Draw them; each network has at most one role, and `Basic` none."""
        names = [spec.name for spec in specs]
        roles = _roles(rng, names, design)
        taken = {"Basic", *(name for role in roles.values() for name in role)}
        ended = _ended(rng, [name for name in names if name not in taken], design)
        ability = _abilities(rng, specs, roles, design.epochs)
        temperature = np.exp(rng.uniform(math.log(0.75), math.log(1.4), len(names)))
        temperature[names.index(roles["calibrated"][0])] = 1.0
        temperature[names.index(roles["overconfident"][0])] = 4.0
        return cls(specs, roles, ended, ability, temperature, _specialists(specs, roles["weak"]))

    @property
    def names(self) -> list[str]:
        """Names of the networks."""
        return [spec.name for spec in self.specs]

    @property
    def steady(self) -> list[int]:
        """Numbers of the networks that have no role and whose training is done; `Basic` is none of them."""
        taken = {"Basic", *(name for part in (self.roles, self.ended) for names in part.values() for name in names)}
        return [i for i, name in enumerate(self.names) if name not in taken]

    def status(self, name: str) -> str:
        """How the training of a network ended, or `pending`."""
        return next((status for status, names in self.ended.items() if name in names), "done")

    def student(self, i: int, shift: float) -> Student:
        """Return one network, more able than drawn by `shift`."""
        spec = self.specs[i]
        calibrated = spec.name in self.roles["calibrated"]
        return Student(spec, self.ability[i] + shift, float(self.temperature[i]), calibrated, self.specialists)

    def unlucky(self, rng: np.random.Generator, paper: Paper, among: np.ndarray | None = None) -> np.ndarray:
        """Choose for each sample that might come out easy by chance one steady network that has it wrong; else -1.

        `among` are the numbers of the networks that answer it, where not all do.
        """
        steady, theta = self.steady, self.ability[:, -1]
        steady = steady if among is None else [i for i in steady if i in among]
        p = 1 / (1 + np.exp(-paper.discrimination[:, None] * (theta[steady] - paper.difficulty[:, None])))
        needing = np.flatnonzero((paper.kind == "") & (np.log(p).sum(axis=1) > math.log(1e-5)))
        out = np.full(len(paper.kind), -1)
        if not steady:  # of the few that left a fold out
            return out
        borne, most = np.zeros(len(steady)), 1.5 * len(needing) / len(steady) + 1
        for j in needing:
            # The less able more often, as the model has it; nobody so often that they are no longer good.
            weight = np.sqrt(1 - p[j]) * (borne < most)
            i = rng.choice(len(steady), p=weight / weight.sum())
            out[j] = steady[i]
            borne[i] += 1
        return out


def _roles(rng: np.random.Generator, names: list[str], design: Design) -> dict[str, list[str]]:
    free = [name for name in names if name != "Basic"]
    rng.shuffle(free)
    out: dict[str, list[str]] = {}
    for role, share in design.roles.items():
        count = max(1, round(share * len(names))) if share else 0
        chosen, free = set(free[:count]), free[count:]
        out[role] = [name for name in names if name in chosen]
    out["calibrated"], out["overconfident"] = [free[0]], [free[1]]
    return out


def _ended(rng: np.random.Generator, free: list[str], design: Design) -> dict[str, list[str]]:
    counts = {"failed": design.failed, "diverged": design.diverged, "pending": design.pending}
    free = list(rng.permutation(free))
    if sum(counts.values()) > len(free):
        raise NetpickError(f"failed, diverged and pending together are more than the {len(free)} networks free for it")
    out = {}
    for status, count in counts.items():
        out[status], free = sorted(map(str, free[:count])), free[count:]
    return out


def _abilities(
    rng: np.random.Generator, specs: Sequence[NetworkSpec], roles: dict[str, list[str]], epochs: int
) -> np.ndarray:
    """Draw θ of each network at each epoch, (networks, epochs)."""
    out = np.empty((len(specs), epochs))
    last = np.arange(epochs) - (epochs - 1)  # -3, -2, -1, 0
    for i, spec in enumerate(specs):
        skill = COMPUTATION_SKILL.get(spec.computation, 0.0) + ACTIVATION_SKILL.get(spec.activation, 0.0)
        level = max(3.0, 4.2 + skill + 0.5 * rng.normal())
        gain = 0.12 + 0.05 * rng.random()
        if spec.name == "Basic":
            level = 3.1
        out[i] = level + gain * last
        if spec.name in roles["weak"]:
            out[i] = 0.2 + 0.3 * rng.random() + gain * last
        if spec.name in roles["calibrated"] or spec.name in roles["overconfident"]:
            out[i] = 4.4 + gain * last
        if spec.name in roles["bloomers"]:
            out[i] = 4.8 + 0.3 * rng.random()
            out[i, 0] = 0.2
        if spec.name in roles["worse"]:
            out[i] = 4.8 + 0.3 * rng.random() + gain * last
            out[i, -1] = 2.6
    return out


def _specialists(specs: Sequence[NetworkSpec], weak: list[str]) -> str:
    """Choose the computation with most networks: its samples must not be weird, so more than a tenth read them."""
    counts: dict[str, int] = {}
    for spec in specs:
        if spec.name not in weak and spec.computation in ("Conv2d", "Conv1d", "Conv3d", "Linear"):
            counts[spec.computation] = counts.get(spec.computation, 0) + 1
    return max(counts, key=lambda c: (counts[c], c))
