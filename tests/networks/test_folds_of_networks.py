"""Which fold each network leaves out: as many networks, of each family and of each size, for every fold."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netpick.networks.catalogue.folds import first_folds


def catalogue(*families):
    """Networks of families of these sizes, whose parameters grow from first to last."""
    return [(f"{c}-{i}", f"c{c}", "ReLU", 100 + 7 * i) for c, number in enumerate(families) for i in range(number)]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(2, 10))
@example(
    [18, 23, 1, 1, 7, 7, 1, 3, 6, 15, 30], 10
)  # families in the order of their names: dealt nearest each time, 3 apart
def test_each_fold_has_its_share_of_each_family_and_of_all(families, folds):
    networks = catalogue(*families)
    fold = first_folds(networks, folds)
    for _, members in itertools.groupby(networks, key=lambda network: network[1]):
        assert np.ptp(np.bincount([fold[m[0]] for m in members], minlength=folds)) <= 1
    assert np.ptp(np.bincount(list(fold.values()), minlength=folds)) <= 2
    assert first_folds(networks[::-1], folds) == fold


@pytest.mark.parametrize("size", [10, 20, 25])
def test_no_fold_has_the_small_networks(size):
    networks = catalogue(*(20 * [size]))
    fold = first_folds(networks, 10)
    params = [[n[3] for n in networks if fold[n[0]] == k] for k in range(10)]
    means = np.array([np.mean(p) for p in params])
    assert np.ptp(means) < 0.1 * (networks[-1][3] - 100)  # dealt out from one place in all families: nearly the whole
