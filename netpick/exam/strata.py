"""Groups of networks compared within what they are confounded with: activations within computations, and so on.

Where all networks of one computation have the same activation, the plain means of the activations compare computations.
So accuracy is explained by group and stratum together (least squares, additive): only strata in which several groups
occur say anything of these. Groups that no chain of shared strata joins can't be compared at all.

How sure a difference is comes from the networks (residuals, as in White's HC2, MacKinnon and White 1985, with Welch's
degrees of freedom; of two groups without strata it is Welch's t-test) and from the samples, that all networks share:
both variances are added, which is slightly too careful, as the bootstrap of both is (Owen 2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from netpick.exam.answered import is_whole, rates
from netpick.exam.significance import Difference, by_students_t


@dataclass(frozen=True)
class Strata:
    """Mean accuracies of groups, adjusted for strata.

    Parameters
    ----------
    groups : names of the groups
    means : (groups,)
        Their adjusted accuracies.
    part : (groups,)
        The number of the set of groups that each can be compared with.
    silent : names of the strata that have networks of one group only, where there are several strata
    weights : (groups, networks)
        What each network counts for in the mean of each group.
    spread : (networks,)
        How far each is from what is explained, as a standard deviation.
    by_sample : (groups, samples)
        The adjusted accuracies on each sample; where networks answered some alone, less their means.
    member : (networks, groups)
        1 for the group of a network.
    """

    groups: list[str]
    means: np.ndarray
    part: np.ndarray
    silent: list[str]
    weights: np.ndarray
    spread: np.ndarray
    by_sample: np.ndarray
    member: np.ndarray

    @classmethod
    def of(cls, right: np.ndarray, group: pd.Series, stratum: pd.Series, accuracy: np.ndarray | None = None) -> Strata:
        """Fit the means.

        Parameters
        ----------
        right : (networks, samples)
            Right (1) or wrong (0), or the mean of that over replicates; NaN where a network did not answer.
        group, stratum : (networks,)
            What is compared, and within what.
        accuracy : (networks,), optional
            What is explained, where networks did not answer the same samples: their equated accuracies.
        """
        code, names = pd.factorize(group, sort=True)
        other, strata = pd.factorize(stratum, sort=True)
        n, g = len(code), len(names)
        design = np.hstack([np.eye(g)[code], np.eye(len(strata))[other]])
        links = coo_array((np.ones(n), (code, g + other)), shape=(design.shape[1],) * 2)
        part = connected_components(links, directed=False)[1][:g]
        solved = np.linalg.pinv(design)
        accuracy = right.mean(axis=1, dtype=np.float64) if accuracy is None else accuracy
        weights = solved[:g].copy()
        for number in set(part):  # what a group adds to the mean of those that it can be compared with
            mine = part == number
            members = mine[code]
            weights[mine] += members / members.sum() - solved[code[members]].mean(axis=0)
        fitted = design @ solved
        left, room = accuracy - fitted @ accuracy, 1 - np.diag(fitted)
        spread = np.abs(left) / np.sqrt(np.where(room > 1e-9, room, np.inf))  # one that is explained by itself has none
        by_sample = weights.astype(np.float32) @ _for_all(right)
        alone = np.unique(np.stack([other, code]), axis=1)[0]
        silent = [str(name) for name, groups in zip(strata, np.bincount(alone), strict=True) if groups == 1]
        return cls(
            [str(name) for name in names], weights @ accuracy, part, silent if len(strata) > 1 else [],
            weights, spread, by_sample, np.eye(g)[code],
        )  # fmt: skip

    def interval(self, i: int, level: float = 0.95) -> tuple[float, float]:
        """Return the interval of a group's mean accuracy."""
        found = self._contrast(np.eye(len(self.groups))[i], level)
        return found.low, found.high

    def difference(self, i: int, j: int, level: float = 0.95) -> Difference:
        """Compare group `i` with group `j`; NaN where they can't be compared."""
        if self.part[i] != self.part[j]:
            return Difference(*[np.nan] * 4)
        return self._contrast(np.eye(len(self.groups))[i] - np.eye(len(self.groups))[j], level)

    def _contrast(self, of: np.ndarray, level: float) -> Difference:
        parts = (of @ self.weights * self.spread) ** 2 @ self.member
        samples = self.by_sample.shape[1]
        variance = float(parts.sum() + (of @ self.by_sample).var() / max(samples - 1, 1))
        difference, error = float(of @ self.means), float(np.sqrt(variance))
        welch = (parts**2 / np.maximum(self.member.sum(axis=0) - 1, 1)).sum()
        return by_students_t(difference, error, max(variance**2 / welch, 1.0) if welch > 0 else np.inf, level)


def _for_all(right: np.ndarray) -> np.ndarray:
    """Return right and wrong by sample; of networks that answered some, how they vary there as if it were all.

    Their answers less their mean are weighted such that the mean over all samples varies as that over a network's own.
    """
    if is_whole(right):
        return right.astype(np.float32)
    given = ~np.isnan(right)
    weight = right.shape[1] / given.sum(axis=1, keepdims=True)
    return np.where(given, (right - rates(right, 1)[:, None]) * weight, 0).astype(np.float32)
