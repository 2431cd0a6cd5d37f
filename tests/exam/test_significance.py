from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from netpick.exam.significance import Bootstrap, bootstrap_difference, holm, mcnemar, mcnemar_counts, paired, verdict

COUNT = st.integers(0, 60)


def test_exact_mcnemar_is_statsmodels():
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    for only_a, only_b in [(0, 0), (0, 1), (0, 9), (3, 12), (12, 3), (20, 20), (40, 61)]:
        theirs = tables.mcnemar([[3, only_a], [only_b, 4]], exact=True).pvalue
        assert mcnemar_counts(only_a, only_b, exact=True) == pytest.approx(min(theirs, 1), abs=1e-12)


@given(COUNT, COUNT)
def test_mid_p_counts_half_of_what_was_seen(only_a, only_b):
    n, k = only_a + only_b, min(only_a, only_b)
    tail = sum(comb(n, i) for i in range(k)) + comb(n, k) / 2
    assert float(mcnemar_counts(only_a, only_b)) == pytest.approx(2 * tail / 2**n)


def test_mcnemar_from_answers():
    a = np.array([1, 1, 1, 1, 1, 1, 0, 0, 1], bool)
    b = np.array([0, 0, 0, 0, 0, 1, 1, 0, 1], bool)
    assert mcnemar(a, b) == mcnemar(b, a) == pytest.approx(float(mcnemar_counts(5, 1)))
    assert mcnemar(a, b, exact=True) == pytest.approx(2 * 7 / 64)
    assert mcnemar(a, a) == 1
    with pytest.raises(ValueError, match="same samples"):
        mcnemar(a, b[:-1])


def test_the_interval_of_a_paired_difference_covers_what_it_promises():
    """Few samples change, as where a network is rounded; and where none has, an interval has a width."""
    rng, counts = np.random.default_rng(0), []
    for lost, won in ((0.01, 0.0), (0.02, 0.01), (0.1, 0.05)):
        draws = rng.choice(4, size=(600, 300), p=[lost, won, 0.9 - lost - won, 0.1])
        found = [paired((d == 0) | (d == 2), (d == 1) | (d == 2)) for d in draws]
        counts.append(np.mean([f.low <= won - lost <= f.high for f in found]))
        assert np.mean([f.difference for f in found]) == pytest.approx(won - lost, abs=0.003)
    assert min(counts) > 0.93
    assert np.mean(counts) < 0.99
    same = paired(np.ones(300, bool), np.ones(300, bool))
    assert (same.difference, same.p) == (0, 1)
    assert -0.02 < same.low < 0 < same.high < 0.02


@pytest.mark.parametrize("p", [[0.03], [0.5, 0.01, 0.02, 0.01], [0.9, 0.8, 1], np.linspace(0, 0.1, 30) ** 2])
def test_holm_is_statsmodels(p):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    assert holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])


def test_holm_leaves_unknown_ones_out():
    assert holm([0.04, np.nan, 0.01]) == pytest.approx([0.04, np.nan, 0.02], nan_ok=True)


def answers(rng, networks, skill, hard, spread):
    """Right or wrong, of networks and samples that both vary."""
    logit = skill + rng.normal(0, spread, (networks, 1)) - hard
    return rng.random(logit.shape) < 1 / (1 + np.exp(-logit))


def test_bootstrap_finds_a_difference_and_its_size():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 1.5, 400)
    a, b = answers(rng, 30, 2.0, hard, 0.2), answers(rng, 25, 1.5, hard, 0.2)
    found = bootstrap_difference(a, b)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.low < found.difference < found.high
    assert found.low > 0
    assert found.p < 0.001
    assert bootstrap_difference(b, a).difference == -found.difference
    assert bootstrap_difference(a, a) == (0, 0, 0, 1) or bootstrap_difference(a, a).p > 0.9


def test_bootstrap_keeps_the_promised_error_rate():
    """No difference in truth, networks and samples both vary: at most about 5 % false alarms, and not none at all."""
    rng = np.random.default_rng(1)
    p, inside = [], 0
    for seed in range(200):
        right = answers(rng, 12, 1.0, rng.normal(0, 1.5, 80), 0.5)
        found = bootstrap_difference(right[:5], right[5:], rounds=200, seed=seed)
        p.append(found.p)
        inside += found.low <= 0 <= found.high
    assert stats.binomtest(int((np.array(p) < 0.05).sum()), 200, 0.05, alternative="greater").pvalue > 0.01
    assert np.mean(np.array(p) < 0.2) > 0.05
    assert inside / 200 > 0.88


def test_bootstrap_error_is_that_of_welch_where_samples_do_not_vary():
    """With samples that all say the same of a network only the networks vary: Welch's t-test."""
    rng = np.random.default_rng(2)
    a, b = rng.random((9, 1)) * np.ones((1, 50)), 0.3 + rng.random((14, 1)) * np.ones((1, 50))
    theirs = stats.ttest_ind(a[:, 0], b[:, 0], equal_var=False).pvalue
    assert np.log(bootstrap_difference(a, b, rounds=20_000).p) == pytest.approx(np.log(theirs), rel=0.05)


def test_one_network_alone_varies_by_its_samples_only():
    rng = np.random.default_rng(3)
    right = rng.random((1, 500)) < 0.8
    draws = Bootstrap([right], rounds=4000).draws[0]
    assert draws.std() == pytest.approx(np.sqrt(right.mean() * (1 - right.mean()) / 500), rel=0.05)


def test_bootstrap_is_repeatable_and_paired():
    rng = np.random.default_rng(4)
    right = rng.random((6, 40)) < 0.7
    first, again, other = (Bootstrap([right[:3], right[3:]], 50, seed).draws for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_interval_says_what_p_says():
    rng = np.random.default_rng(5)
    for _ in range(40):
        right = rng.random((10, 60)) < 0.8 + 0.1 * (np.arange(10) < 5)[:, None]
        found = bootstrap_difference(right[:5], right[5:], rounds=100)
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_verdict():
    assert verdict(0.00001) == "that is real (p < 0.0001)"
    assert verdict(0.012) == "that is real (p = 0.012)"
    assert verdict(0.2) == "that may be chance (p = 0.2)"
