"""The choice of a network: who will do, who is on the Pareto front, who is suggested; and why, in words."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from netpick.core.words import percent
from netpick.exam.picking.candidates import Candidates
from netpick.exam.picking.columns import FRACTIONS, IN_WORDS, cost
from netpick.exam.picking.constraints import Constraint
from netpick.exam.picking.objectives import Objectives
from netpick.exam.significance import mcnemar, verdict


@dataclass(frozen=True)
class Choice:
    """What was asked, and what came of it: `pool` meets the constraints, `second` is the runner-up, if any."""

    candidates: Candidates
    objectives: Objectives
    constraints: list[Constraint]
    pool: pd.DataFrame
    front: pd.DataFrame
    chosen: pd.Series
    second: pd.Series | None
    give_up: float

    @classmethod
    def made(
        cls,
        candidates: Candidates,
        objectives: Objectives,
        constraints: list[Constraint],
        pool: pd.DataFrame,
        give_up: float | None,
    ) -> Choice:
        """Choose from `pool`; by default at most one standard error of the highest accuracy is given up."""
        front = objectives.front(pool)
        if give_up is None:
            give_up = objectives.standard_error(front, candidates.samples)
        chosen = objectives.best(front, give_up)
        rest = pool[pool["name"] != chosen["name"]].reset_index(drop=True)
        second = objectives.best(objectives.front(rest), give_up) if len(rest) else None
        by = (objectives.up or objectives.down)[0]
        front = front.sort_values(by, ascending=by in objectives.down, ignore_index=True)
        front["suggested"] = front["name"] == chosen["name"]
        return cls(candidates, objectives, constraints, pool, front, chosen, second, give_up)

    @property
    def text(self) -> str:
        """Say whom to take, and what else there is."""
        return " ".join([*self._taken(), *self._others()])

    def _taken(self) -> list[str]:
        chosen, objectives = self.chosen, self.objectives
        of = f"Of {len(self.pool)} networks,"
        if self.constraints:
            of = f"{len(self.pool)} of {len(self.candidates.frame)} networks meet the constraints;"
        are = f"{len(self.front)} {'is' if len(self.front) == 1 else 'are'}"
        judged_on, chosen_by = "samples that played no part in the choice", "those that did"
        if self.candidates.validation:
            judged_on = "the test set, which played no part in the choice"
            chosen_by = "the validation set, which it was chosen by"
        out = [
            f"{of} {are} on the Pareto front of {objectives}.",
            f"Take {chosen['name']}: {percent(chosen['judged'])} on {judged_on} "
            f"({percent(chosen['accuracy'])} on {chosen_by})"
            + "".join(f", {cost(c, chosen[c])}" for c in objectives.down if c not in FRACTIONS)
            + ".",
        ]
        if objectives.down and objectives.accuracy:
            first, lost = objectives.down[0], f"{100 * self.give_up:.2g}"
            out.append(f"It is the first by {first} of those that are at most {lost} points from the best.")
        return out

    def _others(self) -> list[str]:
        out = []
        top = self.pool.sort_values(["accuracy", "macs", "name"], ascending=[False, True, True]).iloc[0]
        if top["name"] != self.chosen["name"]:
            out.append(f"The most accurate one in the choice, {top['name']}, {self._beside(top)}.")
        if self.second is None:
            out.append("There is no runner-up.")
        elif self.second["name"] in (self.chosen["name"], top["name"]):
            out.append("It is the runner-up, too.")
        else:
            out.append(f"The runner-up, {self.second['name']}, {self._beside(self.second)}.")
        return out

    def _beside(self, other: pd.Series) -> str:
        """Say what another network costs and gives beside the chosen one; accuracies are those that are judged."""
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
        points = 100 * float(other["judged"] - chosen["judged"])
        if points == 0:
            parts.append("is as accurate")
        else:
            place = {name: i for i, name in enumerate(self.candidates.frame["name"])}
            p = mcnemar(*(self.candidates.right[place[row["name"]]] for row in (chosen, other)))
            parts.append(f"is {abs(points):.2f} points {'more' if points > 0 else 'less'} accurate, and {verdict(p)}")
        return " and ".join(parts) if len(parts) < 3 else ", ".join(parts[:-1]) + " and " + parts[-1]
