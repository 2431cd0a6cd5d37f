import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import spearmanr
from sklearn.metrics import log_loss, roc_auc_score

from netpick import Run
from netpick.analysis import ability
from netpick.core.errors import NetpickError
from netpick.exam import item_response, plant


def exam(networks, samples, seed=0, spread=0.5):
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=networks)
    slope = np.exp(rng.normal(0, spread, samples))
    difficulty = rng.normal(0, 1, samples)
    p = 1 / (1 + np.exp(-slope * (theta[:, None] - difficulty)))
    return theta, difficulty, slope, rng.random(p.shape) < p


def test_planted_parameters_are_found():
    theta, difficulty, slope, right = exam(400, 600)
    model = item_response.fit(right)
    assert spearmanr(model.ability, theta).statistic > 0.98
    assert spearmanr(model.difficulty, difficulty, nan_policy="omit").statistic > 0.97
    assert spearmanr(model.slope, slope).statistic > 0.9
    assert model.ability.mean() == pytest.approx(0, abs=1e-9)
    assert model.ability.std() == pytest.approx(1)
    assert np.polyfit(theta, model.ability, 1)[0] == pytest.approx(1, abs=0.05)
    assert model.rounds < 50


def test_a_slow_optimiser_finds_no_better_samples_and_no_other_abilities():
    """At the end each sample is the best for the networks, and the networks, standardised, the best for the samples."""
    right = exam(30, 25, seed=1)[3]
    model = item_response.fit(right, tolerance=1e-8, most=500)

    def log_likelihood(z, x):
        return sum(-np.log1p(np.exp(-v)) if one else -np.log1p(np.exp(v)) for v, one in zip(z, x, strict=True))

    for s in range(25):

        def cost(two, s=s):
            slope, logit = two
            prior = (slope - 1) ** 2 / (2 * 0.5**2) + logit**2 / (2 * 3**2)
            return prior - log_likelihood(slope * model.ability + logit, right[:, s])

        best = minimize(cost, [1, 0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 2000}).x
        assert [model.slope[s], model.logit[s]] == pytest.approx(best, abs=1e-4)

    def best_ability(i):
        return minimize(
            lambda t: t[0] ** 2 / 2 - log_likelihood(model.slope * t[0] + model.logit, right[i]), [0.0], method="BFGS"
        ).x[0]

    free = np.array([best_ability(i) for i in range(30)])
    assert model.ability == pytest.approx((free - free.mean()) / free.std(), abs=1e-3)


def test_few_abilities_stand_for_all(monkeypatch):
    right = exam(300, 80, seed=2)[3]
    few = item_response.fit(right, tolerance=1e-7)
    monkeypatch.setattr(item_response, "EXACT", 10**6)
    exact = item_response.fit(right, tolerance=1e-7)
    assert few.ability == pytest.approx(exact.ability, abs=1e-6)
    assert few.slope == pytest.approx(exact.slope, abs=1e-6)
    assert few.logit == pytest.approx(exact.logit, abs=1e-6)


def test_nodes_sum_polynomials_exactly():
    """A Gauss rule of n nodes is exact up to degree 2 n - 1; on -1 to 1 Legendre polynomials are a good scale."""
    values = np.random.default_rng(5).uniform(-1, 1, 700) ** 3
    nodes, weights = item_response._nodes(values)
    assert len(nodes) == item_response.NODES
    assert (weights > 0).all()
    for degree in range(2 * item_response.NODES):
        p = np.polynomial.Legendre.basis(degree)
        assert weights @ p(nodes) == pytest.approx(p(values).sum(), abs=1e-9)
    nodes, weights = item_response._nodes(np.repeat([-2.0, 0.5, 1.0], [20, 30, 50]))
    assert nodes == pytest.approx([-2, 0.5, 1])
    assert weights == pytest.approx([20, 30, 50])


def test_sums_over_right_answers_are_those_of_a_plain_product():
    rng = np.random.default_rng(6)
    for share in (0.1, 0.9):
        right = rng.random((40, 70)) < share
        answers, networks, samples = item_response._Answers(right), rng.normal(size=40), rng.normal(size=70)
        assert answers.over_networks(networks) == pytest.approx(networks @ right.astype(float))
        assert answers.over_samples(samples) == pytest.approx(right.astype(float) @ samples)


def test_samples_that_all_or_none_get_right_stay_finite():
    right = exam(40, 30, seed=3)[3]
    right[:, :5], right[:, 5:8] = True, False
    model = item_response.fit(right)
    assert np.isfinite(np.concatenate([model.ability, model.slope, model.logit])).all()
    assert model.difficulty[:5].max() < np.nanmin(model.difficulty[8:])
    assert model.difficulty[5:8].min() > np.nanmax(model.difficulty[8:])


def test_held_out_quality_is_scikit_learns():
    rng = np.random.default_rng(0)
    truth, p = rng.random(500) < 0.8, np.round(rng.random(500), 2)
    assert item_response._auc(p[truth], p[~truth]) == pytest.approx(roc_auc_score(truth, p))
    assert np.isnan(item_response._auc(p, p[:0]))
    right = exam(60, 300, seed=4, spread=0.8)[3]
    full, plain = item_response.held_out(right), item_response.held_out(right, discriminate=False)
    share = right.mean()
    assert full[0] > 0.7
    assert full[1] > plain[1] > -log_loss(right.ravel(), np.full(right.size, share))


def test_information_and_error():
    model = item_response.ResponseModel(np.array([-1.0, 0, 1]), np.array([2.0, 0.5]), np.array([-2.0, 0.0]), 1)
    assert model.difficulty.tolist() == [1, 0]
    p = 1 / (1 + np.exp(1.0))
    assert model.information(0.5) == pytest.approx([4 * p * (1 - p), 0.25 * (e := 1 / (1 + np.exp(-0.25))) * (1 - e)])
    surprise = model.surprise(np.array([[True, False]] * 3))
    z = 2 * model.ability - 2
    expected = (np.log1p(np.exp(-z)) + np.log1p(np.exp(0.5 * model.ability))) / 2
    assert surprise == pytest.approx(expected)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return plant(tmp_path_factory.mktemp("ability") / "run", networks=60, samples=400, epochs=1, specialist=0)


@pytest.fixture(scope="module")
def run(planted):
    return Run(planted.folder)


def test_planted_exam(planted, run):
    networks = run.ask("ability", rows="networks", everyone=True).table
    truth = dict(zip(planted.names, planted.ability, strict=True))
    theta = networks["name"].map(truth)
    known = theta.notna()
    assert spearmanr(networks["ability"][known], theta[known]).statistic > 0.85
    assert networks["ability"].is_monotonic_decreasing
    assert networks.set_index("name").loc[planted.weak, "ability"].max() < networks["ability"].median()
    assert (networks["error"] > 0).all()
    answer = run.ask("ability", everyone=True)
    samples = answer.table.set_index("sample").loc[np.arange(400)]
    ordinary = ~np.isnan(planted.difficulty) & samples["right"].between(0.05, 0.95)
    found, planted_difficulty = samples["difficulty"][ordinary], planted.difficulty[ordinary]
    agreement = spearmanr(found, planted_difficulty).statistic
    assert agreement > 0.7
    assert agreement > -spearmanr(samples["right"][ordinary], planted_difficulty).statistic  # more than counting tells
    assert samples["difficulty"][planted.easy].max() < samples["difficulty"].median()
    assert answer.table["information"].is_monotonic_decreasing
    right = run.predicted() == run.labels()
    assert samples["right"].tolist() == pytest.approx(right.mean(axis=0).tolist())
    assert "area under the ROC curve" in answer.text


def test_good_networks_by_default(run):
    everyone = len(run.ask("ability", rows="networks", everyone=True).table)
    assert 0 < len(run.ask("ability", rows="networks").table) < everyone


def test_figure(run):
    fig = run.ask("ability").figure()
    assert len(fig.axes) == 3
    half, samples = (int(word) for word in fig.get_suptitle().split()[:3:2])
    assert (half, samples) == (ability._half(run.ask("ability").table), 400)
    assert "good from excellent" in " ".join(fig.get_suptitle().split())


def test_the_figure_counts_what_lies_outside(run):
    left = run.ask("ability").figure().axes[0]
    low, high = left.get_xlim()
    x = left.collections[0].get_offsets()[:, 0]
    outside = int(((x < low) | (x > high)).sum())
    assert 0 < outside < 0.1 * len(x)
    assert left.get_title() == f"All samples but {outside}, which lie outside"
    assert left.get_ylim()[0] < left.collections[0].get_offsets()[:, 1].min()


def test_bad_input(run):
    with pytest.raises(NetpickError, match="rows is 'cells'"):
        run.ask("ability", rows="cells")
    with pytest.raises(NetpickError, match="at is 2"):
        run.ask("ability", at=2)
    with pytest.raises(NetpickError, match="at least 4 networks"):
        run.ask("ability", good=float(np.sort(run.epochs["accuracy"])[-2]))
