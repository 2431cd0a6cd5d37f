"""Two samples compared by rank, within strata."""

from __future__ import annotations

import numpy as np

from netpick import exam


def stratified(groups: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return Van Elteren's statistic of pairs of groups, each a stratum: below 0 where the first ones are lower.

    It is standard normal where there is no difference (Van Elteren 1960, "On the combination of independent two-sample
    tests of Wilcoxon").
    """
    from scipy.stats import rankdata

    total = variance = 0.0
    for one, other in groups:
        n, m, both = len(one), len(other), len(one) + len(other)
        ranks = rankdata(np.concatenate([one, other]).round(exam.DIGITS)) - (both + 1) / 2
        total += ranks[:n].sum() / (both + 1)
        variance += n * m / (both * (both - 1)) * (ranks**2).sum() / (both + 1) ** 2
    return float(total / np.sqrt(variance)) if variance > 0 else 0.0
