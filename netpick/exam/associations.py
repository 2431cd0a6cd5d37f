"""Whether two numbers of the networks go together: over all, and within groups that differ in both of them.

What is so over all networks may be the other way round within each group, where groups differ (Simpson's paradox).
Arrays in, numbers out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

LEAST = 5
"""Members of a group that say anything about how two numbers go together."""


class Association(NamedTuple):
    """A rank correlation, its 95 % interval, the p-value of "there is none"; and how many groups it is a mean of."""

    correlation: float
    low: float
    high: float
    p: float
    groups: int

    @property
    def real(self) -> bool:
        """Whether the interval leaves no doubt about the direction."""
        return self.low > 0 or self.high < 0


NONE = Association(np.nan, np.nan, np.nan, np.nan, 0)


def association(x: pd.Series, y: pd.Series, groups: pd.Series | None = None) -> Association:
    """Return Spearman's rank correlation within groups, on average: networks are compared with those of their group.

    Each group counts by its degrees of freedom, n - 1. The interval is that of Fisher's z, with the variance of rank
    correlations (Bonett and Wright 2000, "Sample size requirements for estimating Pearson, Kendall and Spearman
    correlations"). Groups of fewer than `LEAST`, and those in which either number is the same for all, are left out.
    """
    from scipy.stats import norm

    of = pd.Series("all", x.index) if groups is None else groups
    found = []
    for _, members in x.groupby(of, observed=True).groups.items():
        mine, theirs = x[members].rank(), y[members].rank()
        if len(members) >= LEAST and mine.nunique() > 1 and theirs.nunique() > 1:
            found.append((len(members) - 1, mine.corr(theirs)))
    freedom = sum(n for n, _ in found)
    if not found:
        return NONE
    mean = sum(n * rho for n, rho in found) / freedom
    z = np.arctanh(np.clip(mean, -1 + 1e-9, 1 - 1e-9))
    error = np.sqrt((1 + mean**2 / 2) / (freedom - 2))
    low, high = np.tanh([z - 1.959964 * error, z + 1.959964 * error])
    return Association(float(mean), float(low), float(high), float(2 * norm.sf(abs(z) / error)), len(found))
