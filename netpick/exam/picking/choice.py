"""The choice of a network: who will do, who is on the Pareto front, who is suggested; and why, in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from netpick.core.words import percent
from netpick.exam.marks import best
from netpick.exam.picking.candidates import Candidates
from netpick.exam.picking.columns import ACCURACIES, FRACTIONS, IN_WORDS, cost
from netpick.exam.picking.constraints import Constraint
from netpick.exam.picking.objectives import Objectives
from netpick.exam.significance import mcnemar, verdict
from netpick.exam.splits import Judged, flattered, often


@dataclass(frozen=True)
class Ranked:
    """Numbers of the networks that one choice comes to: the front, and the chosen one, the runner-up and the top.

    The top is the most accurate one that meets the constraints. Without a runner-up that is the chosen one.
    """

    front: np.ndarray
    chosen: int
    second: int
    top: int

    @classmethod
    def of(cls, frame: pd.DataFrame, objectives: Objectives, give_up: float | None, samples: dict[str, int]) -> Ranked:
        """Choose from a frame whose index are the numbers; by default a standard error of accuracy is given up."""
        front = objectives.front(frame)
        if give_up is None:
            give_up = objectives.standard_error(front, samples)
        place = {name: i for i, name in zip(frame.index, frame["name"], strict=True)}
        chosen = objectives.best(front, give_up)["name"]
        rest = frame[frame["name"] != chosen]
        second = objectives.best(objectives.front(rest), give_up)["name"] if len(rest) else chosen
        top = best(frame)
        return cls(front.index.to_numpy(), place[chosen], place[second], place[top])


@dataclass(frozen=True)
class Choice:
    """What was asked, and what came of it: `pool` meets the constraints, `second` is the runner-up, if any.

    `trials` are the choices made anew, by the number of the split; a split in which nothing meets the constraints has
    none.
    """

    candidates: Candidates
    objectives: Objectives
    constraints: list[Constraint]
    pool: pd.DataFrame
    front: pd.DataFrame
    table: pd.DataFrame
    ranked: Ranked
    give_up: float
    judged: Judged
    trials: dict[int, Ranked]

    @classmethod
    def made(
        cls,
        candidates: Candidates,
        objectives: Objectives,
        constraints: list[Constraint],
        known: np.ndarray,
        give_up: float | None,
    ) -> Choice:
        """Choose from those of whom all is known that is asked; then again in each split."""
        met = [known, candidates.can_be(), *(c.met(candidates.frame) for c in constraints)]
        pool = candidates.frame[np.logical_and.reduce(met)]
        ranked = Ranked.of(pool, objectives, give_up, candidates.samples)
        trials = {}
        halved = {column: max(1, n // 2) for column, n in candidates.samples.items()}
        for k in range(len(candidates.splits)):
            frame = candidates.at(k)
            there = frame[np.logical_and.reduce([known, candidates.can_be(k), *(c.met(frame) for c in constraints)])]
            if len(there):
                trials[k] = Ranked.of(there, objectives, give_up, halved)
        judged = _judged(candidates, ranked, trials)
        lost = objectives.standard_error(pool.loc[ranked.front], candidates.samples) if give_up is None else give_up
        rows = pool.loc[list(dict.fromkeys([*ranked.front, ranked.second]))].copy()
        rows["judged"], rows["judged_class"] = (_on_front(candidates, c, rows.index, trials) for c in ACCURACIES)
        rows.loc[ranked.chosen, "judged"] = judged.mean
        won = [trial.chosen for trial in trials.values()]
        rows["chosen"] = [won.count(i) / len(candidates.splits) for i in rows.index]
        rows["suggested"], rows["runner_up"] = rows.index == ranked.chosen, rows.index == ranked.second
        rows["runner_up"] &= ~rows["suggested"]
        by = (objectives.up or objectives.down)[0]
        table = rows.sort_values(by, ascending=by in objectives.down)
        front = table[table.index.isin(ranked.front)].reset_index(drop=True)
        return cls(
            candidates, objectives, constraints, pool, front, table.reset_index(drop=True), ranked, lost,
            judged, trials,
        )  # fmt: skip

    @property
    def chosen(self) -> pd.Series:
        """The network that is suggested."""
        return self.candidates.frame.iloc[self.ranked.chosen]

    @property
    def second(self) -> pd.Series | None:
        """The runner-up: what is suggested if there were no such network."""
        there = self.ranked.second != self.ranked.chosen
        return self.candidates.frame.iloc[self.ranked.second] if there else None

    @property
    def text(self) -> str:
        """Say whom to take, and what else there is."""
        return " ".join([*self._taken(), *self._others()])

    def _taken(self) -> list[str]:
        chosen, objectives = self.chosen, self.objectives
        tried, bits = int(self.candidates.can_be().sum()), "" if self.candidates.tried is None else " in 8 bits"
        of = f"Of {len(self.pool)} networks{bits},"
        if self.constraints:
            of = f"{len(self.pool)} of {tried} networks meet the constraints{bits};"
        are = f"{len(self.front)} {'is' if len(self.front) == 1 else 'are'}"
        judged_on, chosen_by = "samples that played no part in the choice", "those that did"
        if self.candidates.validation:
            judged_on = "the test set, which played no part in the choice"
            chosen_by = "the validation set, which it was chosen by"
        among = f"{len(self.pool)} of {len(self.candidates.frame)}" if bits else f"{len(self.pool)}"
        label = flattered(f"picked from {among}", float(chosen["accuracy"] - self.judged.mean))
        out = [
            f"{of} {are} on the Pareto front of {objectives}.",
            f"Take {chosen['name']}: {self.judged} on {judged_on} "
            f"({percent(chosen['accuracy'])} on {chosen_by}: {label})"
            + "".join(f", {cost(c, chosen[c])}" for c in objectives.down if c not in FRACTIONS)
            + ".",
            self._often(),
        ]
        if objectives.down and objectives.accuracy:
            first, lost = objectives.down[0], f"{100 * self.give_up:.2g}"
            out.append(f"It is the first by {first} of those that are at most {lost} points from the best.")
        return out

    def _often(self) -> str:
        """Say how often the same rule takes this network on half of the samples, and which other one most often."""
        frame, times = self.candidates.frame, len(self.candidates.splits)
        counts = frame["name"].loc[[trial.chosen for trial in self.trials.values()]].value_counts(sort=True)
        others = counts.drop(self.chosen["name"], errors="ignore")
        said = f"On half of the samples it is chosen {often(int(counts.get(self.chosen['name'], 0)), times, 'draw')}"
        return f"{said}, {others.index[0]} in {others.iloc[0]}." if len(others) else f"{said}."

    def _others(self) -> list[str]:
        out = []
        top = self.candidates.frame.iloc[self.ranked.top]
        if top["name"] != self.chosen["name"]:
            out.append(f"The most accurate one in the choice, {top['name']}, {self._beside(top, 'top')}.")
        if self.second is None:
            out.append("There is no runner-up.")
        elif self.second["name"] in (self.chosen["name"], top["name"]):
            out.append("It is the runner-up, too.")
        else:
            name = self.second["name"]
            beside = self._beside(self.second, "second")
            out.append(f"Were it not there, one would take {name}, the runner-up, which {beside}.")
        return out

    def _beside(self, other: pd.Series, role: str) -> str:
        """Say what another network costs and gives beside the chosen one; accuracies are those that are judged.

        Of each split, the one that has that role in it.
        """
        chosen = self.chosen
        parts = []
        for column in [c for c in self.objectives.columns if c not in FRACTIONS]:
            mine, theirs = float(chosen[column]), float(other[column])
            what = IN_WORDS.get(column, column)
            if mine == theirs:
                parts.append(f"has the same {what}")
            elif mine > 0:
                times = f"{theirs / mine:.2f}" if 0.1 < theirs / mine < 10 else f"{theirs / mine:.3g}"
                parts.append(f"has {times} times the {what}")
        more, p = self._more(role)
        if abs(more) < 5e-5:
            parts.append("is as accurate")
        else:
            parts.append(f"is {100 * abs(more):.2f} points {'more' if more > 0 else 'less'} accurate, and {verdict(p)}")
        return " and ".join(parts) if len(parts) < 3 else ", ".join(parts[:-1]) + " and " + parts[-1]

    def _more(self, role: str) -> tuple[float, float]:
        """Return by how much the one with a role is more accurate where it is judged, and how likely that is chance."""
        if self.candidates.validation:
            mine, theirs = (self.candidates.right[i] for i in (self.ranked.chosen, getattr(self.ranked, role)))
            return float(theirs.mean() - mine.mean()), mcnemar(mine, theirs)
        accuracy = self.candidates.judged["accuracy"]
        values = np.zeros(len(self.candidates.splits))
        for k, trial in self.trials.items():
            values[k] = accuracy[getattr(trial, role), k] - accuracy[trial.chosen, k]
        found = self.candidates.splits.over(values)
        return float(found.mean), float(found.p)


def _judged(candidates: Candidates, ranked: Ranked, trials: dict[int, Ranked]) -> Judged:
    """Return the accuracy of what is chosen, on samples that played no part in it."""
    accuracy = candidates.judged["accuracy"]
    if candidates.validation:
        right = candidates.right[ranked.chosen]
        low, high = binomtest(int(right.sum()), len(right)).proportion_ci(0.95, method="wilson")
        return Judged(float(right.mean()), low, high, 0.0)
    own = accuracy[ranked.chosen].copy()  # where nothing meets the constraints on half of the samples
    for k, trial in trials.items():
        own[k] = accuracy[trial.chosen, k]
    return candidates.splits.over(own)


def _on_front(candidates: Candidates, column: str, rows: pd.Index, trials: dict[int, Ranked]) -> list[float]:
    """Return of each network the mean over the splits in which it was on the front, where it is judged; else NaN."""
    accuracy = candidates.judged[column]
    out = []
    for row in rows:
        there = [k for k, trial in trials.items() if candidates.validation or row in trial.front]
        out.append(float(accuracy[row, there].mean()) if there else np.nan)
    return out
