"""Whether the networks of a group are right more often than others that are alike in something else.

Fisher's exact test within strata: given how many networks of each stratum are right, those of the group that are follow
a hypergeometric distribution where the group makes no difference, and the sum over the strata the convolution of these
(Birch 1964, "The detection of partial association"). A stratum without members, or without others, says nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import hypergeom


class Alike(NamedTuple):
    """Of each sample the shares of members and others that are right, and the p-value of "members no more often".

    Shares are of the strata that have both; the others' as if they were spread over these as the members are.
    """

    share: np.ndarray
    others: np.ndarray
    p: np.ndarray


def strata_of(members: np.ndarray, computation: np.ndarray, activation: np.ndarray) -> tuple[str, np.ndarray]:
    """Return what a group is to be compared within, and the strata.

    That is the computation; the activation where the group is made up of whole computations. Where all are alike in
    that, or none is both a member and like another, it is empty, and one stratum has all.
    """
    whole = not _mixed(members, computation).any()
    within, strata = ("activation", activation) if whole else ("computation", computation)
    mixed = _mixed(members, strata)
    return (within, strata) if mixed.any() and len(mixed) > 1 else ("", np.zeros(len(members), int))


def _mixed(members: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Return of each stratum whether it has members and others."""
    shares = [members[strata == one].mean() for one in np.unique(strata)]
    return np.array([0 < share < 1 for share in shares])


def compare(right: np.ndarray, members: np.ndarray, strata: np.ndarray) -> Alike:
    """Compare members with others, within strata; `right` is bool (networks, samples)."""
    samples = right.shape[1]
    chance, inside = np.ones((samples, 1)), np.zeros(samples, int)
    size, expected = 0, np.zeros(samples)
    for one in np.unique(strata):
        here = strata == one
        networks, mine = int(here.sum()), int((here & members).sum())
        if not 0 < mine < networks:
            continue
        total, own = right[here].sum(axis=0), right[here & members].sum(axis=0)
        chance = _sums(chance, hypergeom.pmf(np.arange(mine + 1), networks, total[:, None], mine))
        inside, size = inside + own, size + mine
        expected += mine * (total - own) / (networks - mine)
    tails = np.cumsum(chance[:, ::-1], axis=1)[:, ::-1]
    return Alike(inside / size, expected / size, np.minimum(tails[np.arange(samples), inside], 1.0))


def _sums(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the distributions of the sums of two numbers, (samples, numbers), from those of each."""
    out = np.zeros((len(first), first.shape[1] + second.shape[1] - 1))
    for k in range(second.shape[1]):
        out[:, k : k + first.shape[1]] += second[:, [k]] * first
    return out
