import io
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from handmade import make_run, sure
from sklearn.metrics import cohen_kappa_score

from netpick import exam
from netpick.analysis import agreement
from netpick.core.errors import NetpickError
from netpick.exam import plant
from netpick.exam.run import Run

SAMPLES = 200


def families(rng, shared, groups=4, size=4):
    """Errors of networks in groups; a share of a network's errors is that of its group."""
    own = rng.random((groups * size, SAMPLES)) < 0.1
    of_group = np.repeat(rng.random((groups, SAMPLES)) < 0.1, size, axis=0)
    return np.where(rng.random((groups * size, SAMPLES)) < shared, of_group, own), np.repeat(range(groups), size)


def run_of(folder, wrong, networks):
    labels = np.arange(SAMPLES) % 3
    p = {f"N{i}": sure(np.where(w, (labels + 1) % 3, labels), 3) for i, w in enumerate(wrong)}
    return make_run(folder, p, labels, networks, keep="none")


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    wrong, codes = families(np.random.default_rng(4), 0.7)
    kinds = [("Linear", "ReLU"), ("Linear", "Tanh"), ("Conv2d", "ReLU"), ("Conv2d", "Tanh")]
    networks = {f"N{i}": dict(zip(("computation", "activation"), kinds[c], strict=True)) for i, c in enumerate(codes)}
    return run_of(tmp_path_factory.mktemp("agreement") / "run", wrong, networks), wrong, codes


def test_kappa_is_scikit_learns(grouped):
    _, wrong, _ = grouped
    kappa = agreement.kappas(agreement.both_wrong(wrong), SAMPLES)
    for i, j in combinations(range(len(wrong)), 2):
        expected = cohen_kappa_score(wrong[i], wrong[j])
        assert kappa[i, j] == pytest.approx(expected, abs=1e-12)
        assert kappa[j, i] == kappa[i, j]
    np.testing.assert_allclose(np.diag(kappa), 1)


def test_kappa_is_missing_where_nobody_errs():
    wrong = np.zeros((3, 10), bool)
    wrong[2, 0] = True
    kappa = agreement.kappas(agreement.both_wrong(wrong), 10)
    assert np.isnan(kappa[0, 1])
    assert kappa[0, 2] == 0  # one errs: no better than chance


def test_rows_are_means_over_the_pairs_of_two_groups(grouped):
    run, wrong, codes = grouped
    table = agreement.ask(run).table
    names = ["Linear ReLU", "Linear Tanh", "Conv2d ReLU", "Conv2d Tanh"]
    assert len(table) == 10
    assert table["kappa"].is_monotonic_decreasing
    splits = exam.Splits.of(run, run.labels(), times=10)
    for row in table.itertuples():
        pairs = [
            (i, j)
            for i, j in combinations(range(16), 2)
            if {names[codes[i]], names[codes[j]]} == {row.first, row.second}
        ]
        kappa = [cohen_kappa_score(wrong[i], wrong[j]) for i, j in pairs]
        assert row.pairs == len(pairs) == (6 if row.first == row.second else 16)
        assert row.kappa == pytest.approx(np.mean(kappa))
        assert (row.low, row.high) == pytest.approx(tuple(np.percentile(kappa, (25, 75))))
        assert row.both_wrong == pytest.approx(np.mean([(wrong[i] & wrong[j]).mean() for i, j in pairs]))
        a, b = int(row.network_a[1:]), int(row.network_b[1:])
        assert (min(a, b), max(a, b)) in pairs
        least = min((wrong[i] & wrong[j]).sum() for i, j in pairs)
        assert (wrong[a] & wrong[b]).sum() == least
        errors, same = [], []
        for k in range(10):
            choose, judge = splits.samples(k, 0), splits.samples(k)
            i, j = min(pairs, key=lambda ij: (wrong[ij[0]] & wrong[ij[1]])[choose].sum())
            errors.append((wrong[i] & wrong[j])[judge].mean())
            same.append({i, j} == {a, b})
        assert row.joint_error == pytest.approx(np.mean(errors))
        assert row.chosen == pytest.approx(np.mean(same))


def test_planted_families_are_told_from_chance(grouped):
    run, _, codes = grouped
    answer = agreement.ask(run)
    assert answer.text.startswith("Yes: among 16 good students")
    title = " ".join(answer.figure().get_suptitle().split())
    assert title.startswith("Networks of one family share more errors than others: kappa ")
    within = answer.table[answer.table["first"] == answer.table["second"]]
    assert set(answer.table.head(4).index) == set(within.index)  # all four families before any other pair
    by_chance = []
    for seed in range(20):
        wrong, _ = families(np.random.default_rng(seed), 0.0)
        kappa = agreement.kappas(agreement.both_wrong(wrong), SAMPLES)
        by_chance.append(agreement.within_test(kappa, codes, 99, seed)[2])
    assert np.mean(np.array(by_chance) <= 0.1) <= 0.35  # 0.1 is expected; binomial: P(more than 7 of 20) < 0.001
    assert 0.3 < np.mean(by_chance) < 0.7


def test_able_networks_agree_with_able_ones_whatever_their_design():
    """Families differ in ability alone: their networks get the same samples wrong, since these are the hard ones."""
    found, plain = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        codes, ability = np.arange(60) % 3, rng.normal(0, 0.5, 60) + np.array([0, 1, 2])[np.arange(60) % 3]
        wrong = rng.random((60, 300)) > 1 / (1 + np.exp(-2 * (ability[:, None] - rng.normal(-1, 1.3, 300))))
        joint = agreement.both_wrong(wrong)
        kappa = agreement.kappas(joint, 300)
        found.append(agreement.within_test(kappa, codes, 99, seed, np.diag(joint) / 300)[2])
        plain.append(agreement.within_test(kappa, codes, 99, seed)[2])
    assert np.mean(np.array(plain) <= 0.05) > 0.8
    assert np.mean(np.array(found) <= 0.05) <= 0.2  # binomial: P(more than 4 of 20 at 0.05) < 0.003


@pytest.mark.parametrize("seed", range(4))
def test_the_test_counts_shuffles(grouped, seed):
    """The same by plain loops, with groups that mean little and one pair without kappa."""
    _, wrong, _ = grouped
    kappa = agreement.kappas(agreement.both_wrong(wrong[:, :60]), 60)
    codes = np.random.default_rng(seed).permutation(np.arange(16) % 3)
    pairs = [(i, j) for i, j in combinations(range(16), 2) if (i, j) != (0, 3)]
    average = np.mean([kappa[i, j] for i, j in pairs])
    kappa[0, 3] = kappa[3, 0] = np.nan

    def means(codes):
        inside = [kappa[i, j] for i, j in pairs if codes[i] == codes[j]]
        outside = [kappa[i, j] for i, j in pairs if codes[i] != codes[j]]
        return np.mean(inside), np.mean(outside)

    def above_average(codes):
        return sum(kappa[i, j] - average for i, j in pairs if codes[i] == codes[j])

    inside, outside, p = agreement.within_test(kappa.copy(), codes, 99, seed)
    assert (inside, outside) == pytest.approx(means(codes))
    rng = np.random.default_rng(seed)
    shuffled = [above_average(rng.permutation(codes)) for _ in range(99)]
    assert p == pytest.approx((1 + sum(s >= above_average(codes) - 1e-6 for s in shuffled)) / 100)


def test_finds_the_pair_that_complements_each_other(tmp_path):
    """N2 and N5 share no error and are not the two best; all others share some with each."""
    rng = np.random.default_rng(0)
    wrong = np.zeros((7, SAMPLES), bool)
    wrong[:, :10] = True
    wrong[2] = wrong[5] = False
    wrong[2, :20] = True
    wrong[5, 20:40] = True
    wrong[[0, 1, 3, 4, 6], 20:30] = True
    wrong = wrong[:, rng.permutation(SAMPLES)]
    run = run_of(tmp_path / "run", wrong, {})
    answer = agreement.ask(run)
    assert "N2 and N5 complement each other best. Chosen on " in answer.text
    assert "(N2 and N5 in all 10 splits), the two are both wrong on 0 % (95 % interval 0 % to 0 %)" in answer.text
    assert "where the most accurate of these networks (N0 on all samples) is wrong on" in answer.text
    assert "that is real" in answer.text
    i, j = agreement.complement(agreement.both_wrong(wrong))
    assert (i, j) == (2, 5)


def test_of_equal_pairs_the_better_ones_are_taken():
    wrong = np.zeros((4, 50), bool)
    wrong[0, :9], wrong[1, 10:15], wrong[2, 20:29], wrong[3, 30:36] = True, True, True, True
    assert agreement.complement(agreement.both_wrong(wrong)) == (1, 3)


def test_the_best_pair_of_equals_is_as_wrong_as_any(grouped):
    """Errors are drawn alike and independently: whichever pair is chosen, both are wrong on 4 % of other samples."""
    splits = exam.Splits.of(grouped[0], grouped[0].labels(), times=10)
    seeming, judged = [], []
    for seed in range(30):
        wrong = np.random.default_rng(seed).random((30, SAMPLES)) < 0.2
        joint = agreement.both_wrong(wrong)
        found = agreement.chosen(splits, wrong, joint, [], list(range(30)))
        seeming.append(joint[found.pair] / SAMPLES)
        judged.append(found.error.mean)
    assert np.mean(seeming) < 0.015
    assert np.mean(judged) == pytest.approx(0.04, abs=0.004)


@pytest.mark.parametrize(("by", "groups"), [("computation", 2), ("activation", 2)])
def test_other_groups(grouped, by, groups):
    answer = agreement.ask(grouped[0], by=by)
    assert len(answer.table) == groups * (groups + 1) / 2
    assert answer.figure().axes


def test_groups_in_the_figure_are_clustered(grouped):
    names = list("abcd")
    square = pd.DataFrame(
        [[1, 0.1, 0.9, 0.1], [0.1, 1, 0.1, 0.9], [0.9, 0.1, 1, 0.1], [0.1, 0.9, 0.1, 1]], names, names
    )
    order = agreement.ordered(square).index.tolist()
    assert abs(order.index("a") - order.index("c")) == 1
    assert abs(order.index("b") - order.index("d")) == 1


def test_a_tiny_difference_is_called_tiny(grouped):
    judged = exam.Judged(0.1, 0.05, 0.15, 0.01)
    best = agreement.Best((0, 1), 0, 3, 0.5, judged, judged, judged, [])
    text = agreement.sentence(0.52, 0.5, 0.005, "family", best, ["A", "B"], "9 students")
    assert "A and B complement each other best, as 3 other pairs would" in text
    assert text.startswith("Hardly: among 9 students, errors agree with a kappa of 0.52 in pairs of the same family")
    assert "a difference that is tiny, though more than chance (p = 0.005, against shuffling" in text
    for p, words in ((0.005, "share hardly more errors"), (0.3, "share no more errors")):
        assert words in agreement.headline(0.52, 0.5, p, "family")


def test_the_figure_has_within_beside_between_of_eight_computations_at_most(planted):
    run = planted[0]
    answer = run.ask("agreement", everyone=True)
    left, right = answer.figure().axes
    assert len(left.get_yticklabels()) == len(right.get_yticklabels()) <= 8
    square = right.images[0].get_array()
    assert square.shape[0] == square.shape[1] <= 8
    within = answer.table[answer.table["first"] == answer.table["second"]]
    one = within[within["first"].str.startswith("Linear ")].dropna(subset="kappa")
    known = one["kappa"] @ one["pairs"] / one["pairs"].sum()  # no pair of these is without kappa
    place = [t.get_text() for t in left.get_yticklabels()].index("Linear")
    assert dict(zip(left.lines[0].get_ydata().round(), left.lines[0].get_xdata(), strict=True))[place] == pytest.approx(
        known, abs=0.01
    )


def test_of_too_many_networks_a_share_of_each_family_is_drawn(grouped):
    run, wrong, codes = grouped
    answer = run.ask("agreement", networks=8, everyone=True)
    assert "among 8 networks drawn from 16 students" in answer.text
    within = answer.table[answer.table["first"] == answer.table["second"]]
    assert within["pairs"].tolist() == [1, 1, 1, 1]  # two of the four of each family
    every = {cohen_kappa_score(wrong[i], wrong[j]) for i, j in combinations(range(16), 2) if codes[i] == codes[j]}
    assert all(min(abs(kappa - one) for one in every) < 1e-9 for kappa in within["kappa"])
    assert "drawn" not in run.ask("agreement", networks=16, everyone=True).text
    other = run.ask("agreement", networks=8, everyone=True, seed=5)
    assert not np.allclose(other.table["kappa"], answer.table["kappa"])


def test_as_many_are_drawn_as_were_wanted_of_each_family_its_share():
    frame = pd.DataFrame({"computation": [f"C{n % 7}" for n in range(100)], "activation": [str(n) for n in range(100)]})
    assert len(exam.some_of(frame, 30)) == 30  # where each family is one network
    frame["activation"] = "ReLU"
    some = exam.some_of(frame, 30, 1)
    assert some.index.is_monotonic_increasing
    assert some["computation"].value_counts().between(4, 5).all()
    often = np.bincount(np.concatenate([exam.some_of(frame, 30, seed).index for seed in range(400)]))
    assert abs(often - 120).max() < 45  # five standard deviations


def test_a_figure_stays_as_it_is_when_saved_again(grouped):
    fig = agreement.ask(grouped[0]).figure()
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["pairs of the same family", "pairs of another"]
    before = [ax.get_position().bounds for ax in fig.axes]
    for suffix in ("png", "svg"):
        fig.savefig(io.BytesIO(), format=suffix)
        assert [ax.get_position().bounds for ax in fig.axes] == before


def test_bad_options_are_refused(grouped, tmp_path):
    with pytest.raises(NetpickError, match=r"by is 'famly' \(did you mean 'family'\?\)"):
        agreement.ask(grouped[0], by="famly")
    with pytest.raises(NetpickError, match="shuffles is 0"):
        agreement.ask(grouped[0], shuffles=0)
    with pytest.raises(NetpickError, match="needs two networks and there is one"):
        agreement.ask(run_of(tmp_path / "one", np.zeros((1, SAMPLES), bool), {}))


def test_perfect_networks_have_no_kappa_and_a_figure(tmp_path):
    answer = agreement.ask(run_of(tmp_path / "run", np.zeros((3, SAMPLES), bool), {}))
    assert answer.table["kappa"].isna().all()
    assert "no pairs of the same family" in answer.text
    assert answer.figure().axes


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 1, "basic": False, "scores": "none"},
        {"classes": 2, "epochs": 2},
        {"epochs": 2, "replicates": 2, "validation": 50, "failed": 1, "diverged": 1, "pending": 1},
    ],
)
def test_runs_of_all_kinds_are_answered(tmp_path, options):
    plant(tmp_path / "run", 12, 60, **options)
    answer = agreement.ask(Run(tmp_path / "run"), everyone=True)
    assert len(answer.table)
    assert answer.figure().axes
