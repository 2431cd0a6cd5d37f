import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import spearmanr
from sklearn.metrics import log_loss, roc_auc_score

from netpick import Run
from netpick.analysis import ability
from netpick.core.errors import NetpickError
from netpick.exam import foresight, item_response, plant, response_table


def exam(networks, samples, seed=0, spread=0.5, steep=1.0):
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=networks)
    slope = steep * np.exp(rng.normal(0, spread, samples))
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
    assert (model.ability**2 + model.errors**2).mean() == pytest.approx(1)
    assert np.polyfit(theta, model.ability, 1)[0] == pytest.approx(1, abs=0.05)
    assert model.rounds < 50


@pytest.mark.parametrize(("networks", "samples"), [(150, 40), (300, 400)])
def test_samples_are_no_steeper_than_they_are(networks, samples):
    """Where abilities are fitted too, few samples seem half as steep again."""
    found = []
    for seed in range(4):
        _, _, slope, right = exam(networks, samples, seed, spread=0.3, steep=1.6)
        found.append(item_response.fit(right).slope.mean() / slope.mean())
    assert np.mean(found) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("networks", "samples"), [(40, 360), (200, 60)])
def test_errors_cover_the_truth(networks, samples):
    covered = []
    for seed in range(12):
        theta, _, _, right = exam(networks, samples, seed, steep=1.4)
        model = item_response.fit(right)
        covered.append(abs(model.ability - (theta - theta.mean()) / theta.std()) < 1.96 * model.errors)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_networks_are_placed_by_samples_that_others_calibrate():
    """Those drawn are as they would be alone, and the errors of the others cover the truth as theirs do."""
    covered, rows = [], np.arange(0, 300, 2)
    for seed in range(3):
        theta, _, _, right = exam(300, 360, seed, steep=1.4)
        model, alone = item_response.fit_some(right, rows), item_response.fit(right[rows])
        assert model.ability[rows] == pytest.approx(alone.ability, abs=1e-12)
        assert model.errors[rows] == pytest.approx(alone.errors, abs=1e-12)
        assert model.slope.tolist() == alone.slope.tolist()
        others = np.setdiff1d(np.arange(300), rows)
        truth = (theta - theta[rows].mean()) / theta[rows].std()
        covered.append(abs(model.ability - truth)[others] < 1.96 * model.errors[others])
    assert 0.92 <= np.mean(covered) <= 0.98


def test_the_ablest_in_truth_is_among_those_that_may_be():
    held, many = 0, 0
    for seed in range(40):
        theta, _, _, right = exam(40, 120, seed)
        may_be = item_response.fit(right).may_be_ablest()
        held += may_be[theta.argmax()]
        many += may_be.sum()
    assert held >= 37
    assert many < 40 * 20  # and they are not just all of them


def test_by_integration_on_a_fine_grid_abilities_are_the_same_and_no_samples_better():
    """At the end each sample is the best for what is known of the networks, and that is what the samples tell."""
    right = exam(30, 25, seed=1)[3]
    model = item_response.fit(right, tolerance=1e-8, most=2000)
    grid = np.linspace(-7, 7, 1401)

    def log_p(slope, logit, points):
        z = slope * points + logit
        return -np.log1p(np.exp(-z)), -np.log1p(np.exp(z))

    yes, no = log_p(model.slope[:, None], model.logit[:, None], grid)
    posterior = np.exp(right @ yes + ~right @ no - grid**2 / 2)
    posterior /= posterior.sum(axis=1, keepdims=True)
    means = posterior @ grid
    scale = np.sqrt((posterior @ (grid - means.mean()) ** 2).mean())
    points = (grid - means.mean()) / scale
    assert model.ability == pytest.approx((means - means.mean()) / scale, abs=2e-3)
    assert model.errors == pytest.approx(np.sqrt(posterior @ grid**2 - means**2) / scale, abs=2e-3)
    for s in range(25):
        weights = posterior[right[:, s]].sum(axis=0), posterior[~right[:, s]].sum(axis=0)

        def cost(two, weights=weights):
            yes, no = log_p(*two, points)
            away = two - model.prior.mean
            return away @ model.prior.precision @ away / 2 - weights[0] @ yes - weights[1] @ no

        best = minimize(cost, [1, 0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 2000}).x
        assert [model.slope[s], model.logit[s]] == pytest.approx(best, abs=5e-3)


def test_many_samples_leave_little_doubt_and_are_not_beyond_it():
    """What is known of an ability is narrower than any grid of some dozen points."""
    theta, _, _, right = exam(120, 6000, seed=3)
    model = item_response.fit(right)
    assert 0.01 < model.errors.mean() < 0.06
    assert np.abs(model.ability - (theta - theta.mean()) / theta.std()).max() < 6 * model.errors.max()


def test_nodes_sum_polynomials_exactly():
    """A Gauss rule of n nodes is exact up to degree 2 n - 1; on -1 to 1 Legendre polynomials are a good scale."""
    rng = np.random.default_rng(5)
    values, times = rng.uniform(-1, 1, 700) ** 3, rng.random(700)
    nodes, weights = item_response._nodes(values, times)
    assert len(nodes) == item_response.NODES
    assert (weights > 0).all()
    for degree in range(2 * item_response.NODES):
        p = np.polynomial.Legendre.basis(degree)
        assert weights @ p(nodes) == pytest.approx(times @ p(values), abs=1e-8)
    nodes, weights = item_response._nodes(np.repeat([-2.0, 0.5, 1.0], [20, 30, 50]), np.ones(100))
    assert nodes == pytest.approx([-2, 0.5, 1])
    assert weights == pytest.approx([20, 30, 50])


def test_sums_over_right_answers_are_those_of_a_plain_product():
    rng = np.random.default_rng(6)
    for share in (0.1, 0.9):
        right = rng.random((40, 70)) < share
        answers, networks, samples = response_table.Answers(right), rng.normal(size=40), rng.normal(size=70)
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
    assert foresight._auc(p[truth], p[~truth]) == pytest.approx(roc_auc_score(truth, p))
    assert np.isnan(foresight._auc(p, p[:0]))
    right = exam(60, 300, seed=4, spread=0.8)[3]
    found = foresight.foresight(right)
    assert found.auc > found.difficulty_auc > 0.6
    share = right.mean()
    chance = -log_loss(right.ravel(), np.full(right.size, share))
    assert found.likelihood > found.alike_likelihood > found.difficulty_likelihood > chance


def test_difficulty_alone_foresees_as_much_where_all_networks_are_equally_able():
    rng = np.random.default_rng(0)
    found = foresight.foresight(rng.random((80, 400)) < rng.uniform(0.3, 1, 400))
    assert found.difficulty_auc == pytest.approx(found.auc, abs=0.02)


def test_information():
    spread = np.full(3, 0.1)
    model = item_response.ResponseModel(
        np.array([-1.0, 0, 1]), spread, np.array([2.0, 0.5]), np.array([-2.0, 0.0]), spread[:2], None, 1
    )
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
    assert "difficulty alone" in answer.text
    top = networks.iloc[0]
    assert f"{top['name']} is the ablest, {top['ability']:.1f} ± {1.96 * top['error']:.1f} standard" in answer.text
    assert f"{networks['may_be_ablest'].sum() - 1} others can't be told from it" in answer.text


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


def test_of_too_many_networks_some_say_what_samples_are_like_and_all_have_abilities(run):
    every, some = (run.ask("ability", rows="networks", everyone=True, networks=n) for n in (60, 24))
    assert "drawn" not in every.text
    assert "taken from 24 of the networks, drawn, a share of each family" in some.text
    assert sorted(some.table["name"]) == sorted(every.table["name"])
    beside = some.table.set_index("name")["ability"].loc[every.table["name"]]
    assert spearmanr(beside, every.table["ability"]).statistic > 0.95
    other = run.ask("ability", rows="networks", everyone=True, networks=24, seed=1)
    assert not np.allclose(other.table["error"], some.table["error"])
    samples = run.ask("ability", everyone=True, networks=24).table.set_index("sample").sort_index()
    assert samples["right"].tolist() == pytest.approx((run.predicted() == run.labels()).mean(axis=0).tolist())
