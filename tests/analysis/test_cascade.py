import numpy as np
import pytest
from handmade import make_run, sure

from netpick import exam
from netpick.analysis import cascade
from netpick.core.errors import NetpickError
from netpick.exam import plant
from netpick.exam.run import Run

N = 400


def plain_sweep(sure, small, large):
    """Accuracy and share passed on at every threshold, by counting."""
    out = []
    for threshold in [np.inf, *sorted(set(sure), reverse=True)]:
        right = [s if c >= threshold else b for c, s, b in zip(sure, small, large, strict=True)]
        out.append((np.mean(right), np.mean(sure < threshold)))
    return out


@pytest.mark.parametrize("seed", range(5))
def test_the_sweep_is_a_count_at_each_threshold(seed):
    rng = np.random.default_rng(seed)
    confidence = rng.integers(0, 12, 60) / 12  # many equal ones
    small, large = rng.random(60) < 0.7, rng.random(60) < 0.9
    level, accuracy, passed = cascade.sweep(confidence, small, large)
    expected = plain_sweep(confidence, small, large)
    np.testing.assert_allclose(np.column_stack([accuracy, passed]), expected, atol=1e-12)
    for t, a, p in zip(level, accuracy, passed, strict=True):
        answers = confidence >= t
        assert np.where(answers, small, large).mean() == pytest.approx(a)
        assert 1 - answers.mean() == pytest.approx(p)


def test_the_front_is_what_no_other_beats():
    import pandas as pd

    rng = np.random.default_rng(1)
    cards = pd.DataFrame({"macs": rng.integers(1, 30, 80), "accuracy": rng.integers(1, 40, 80) / 40})
    cards.index = [f"N{i}" for i in range(80)]
    front = cascade.pareto(cards)
    values = cards.to_numpy()
    beaten = [any((o[0] <= v[0] and o[1] > v[1]) or (o[0] < v[0] and o[1] >= v[1]) for o in values) for v in values]
    assert {tuple(cards.loc[name]) for name in front} == {
        tuple(v) for v, b in zip(values, beaten, strict=True) if not b
    }
    assert cards.loc[front, "macs"].is_monotonic_increasing
    assert cards.loc[front, "macs"].is_unique


@pytest.fixture(scope="module")
def sorted_out(tmp_path_factory):
    """Small is right on 80 %, and sure there; Large is right on all but 2 %; Dear is worse than both, and dear."""
    labels = np.arange(N) % 4
    rng = np.random.default_rng(0)
    small_wrong = np.zeros(N, bool)
    for c in range(4):
        small_wrong[rng.permutation(np.flatnonzero(labels == c))[: N // 20]] = True
    large_wrong = np.zeros(N, bool)
    large_wrong[rng.permutation(np.flatnonzero(~small_wrong))[: N // 50]] = True
    confidence = np.where(small_wrong, rng.uniform(0.4, 0.6, N), rng.uniform(0.8, 0.99, N))
    probabilities = {
        "Small": sure(np.where(small_wrong, (labels + 1) % 4, labels), 4, confidence),
        "Large": sure(np.where(large_wrong, (labels + 1) % 4, labels), 4),
        "Dear": sure(np.where(small_wrong | large_wrong, (labels + 1) % 4, labels), 4),
    }
    networks = {"Small": {"macs": 10}, "Large": {"macs": 1000}, "Dear": {"macs": 5000}}
    return make_run(tmp_path_factory.mktemp("cascade") / "run", probabilities, labels, networks)


def test_finds_the_planted_threshold_and_cost(sorted_out):
    run = sorted_out
    answer = cascade.ask(run, keep=1.0, good=0.5)
    assert answer.table[["small", "large"]].to_numpy().tolist() == [["Small", "Large"]]
    row = answer.table.iloc[0]
    right, sure = run.predicted() == run.labels(), np.exp(run.scores()[0].max(axis=1))
    found = []
    splits = exam.Splits.of(run, run.labels(), times=10)
    for k in range(10):
        choose, judge = splits.samples(k, 0), splits.samples(k)
        goal = right[1, choose].mean()
        fits = [
            t for t in [np.inf, *sure[choose], 0.0] if np.where(sure[choose] >= t, *right[:2, choose]).mean() >= goal
        ]
        answers = sure[judge] >= min(fits)
        accuracy, alone = np.where(answers, *right[:2, judge]).mean(), right[1, judge].mean()
        found.append((1 - answers.mean(), accuracy, accuracy / alone, right[0, judge].mean(), alone))
    passed, accuracy, kept, small, large = np.mean(found, axis=0)
    assert (row["small_accuracy"], row["large_accuracy"]) == pytest.approx((small, large))
    assert (row["passed"], row["accuracy"], row["kept"]) == pytest.approx((passed, accuracy, kept))
    assert row["macs"] == pytest.approx(10 + passed * 1000)
    assert row["share"] == pytest.approx((10 + passed * 1000) / 1000)
    # Small and Large are never wrong on the same sample, so that the cascade can be as good with a bit less than 20 %
    assert 0.1 < row["threshold"] < 0.8
    assert 0.12 < row["passed"] <= 0.23
    assert row["chosen"] == 1
    assert f"a cascade keeps {exam.percent(kept)} (95 % interval " in answer.text
    assert row["single"] == "Large"
    assert answer.text.startswith("Small, which passes on ")
    assert "No cheaper network alone does as well." in answer.text
    assert answer.figure().axes


def test_who_wants_less_passes_on_less(sorted_out):
    shares = [cascade.ask(sorted_out, keep=k, good=0.5).table["passed"].iloc[0] for k in (1, 0.95, 0.9, 0.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0
    assert len(set(shares)) == 4
    alone = cascade.ask(sorted_out, keep=0.5, good=0.5)
    assert "Small needs no help: alone it has" in alone.text
    assert alone.table["threshold"].iloc[0] == 0
    assert alone.table["single"].iloc[0] == "Small"


def test_a_lucky_threshold_is_judged_on_other_samples(tmp_path):
    """How sure Small is says nothing: thresholds that seem to keep all of the accuracy lose some elsewhere."""
    rng = np.random.default_rng(0)
    labels = np.arange(N) % 4
    wrong = rng.random((2, N)) < np.array([[0.12], [0.1]])
    small, large = (np.where(w, (labels + 1) % 4, labels) for w in wrong)
    probabilities = {"Small": sure(small, 4, rng.uniform(0.5, 0.9, N)), "Large": sure(large, 4)}
    run = make_run(tmp_path / "run", probabilities, labels, {"Small": {"macs": 1}, "Large": {"macs": 100}})
    answer = cascade.ask(run, small="Small", large="Large", keep=1, everyone=True)
    row = answer.table.iloc[0]
    level, accuracy, _ = cascade.sweep(np.exp(run.scores()[0].max(axis=1)), ~wrong[0], ~wrong[1])
    seeming = accuracy[np.flatnonzero(accuracy >= (~wrong[1]).mean() - 1e-12)[-1]]
    assert row["accuracy"] < seeming
    assert row["kept"] < 1
    assert level[np.flatnonzero(accuracy >= (~wrong[1]).mean() - 1e-12)[-1]] == row["threshold"]


def test_who_is_as_sure_as_the_threshold_answers(tmp_path):
    """Small is 0.9 sure where it is right, 0.5 sure where it is wrong: the threshold is 0.9, and met in both halves."""
    labels = np.arange(N) % 4
    wrong = np.arange(N) // 4 % 5 == 0
    small = sure(np.where(wrong, (labels + 1) % 4, labels), 4, np.where(wrong, 0.5, 0.9))
    run = make_run(tmp_path / "run", {"Small": small, "Large": sure(labels, 4)}, labels, {"Large": {"macs": 100}})
    row = cascade.ask(run, keep=1, everyone=True).table.iloc[0]
    splits = exam.Splits.of(run, labels, times=10)
    passed = np.mean([wrong[splits.samples(k)].mean() for k in range(10)])
    assert row["threshold"] == pytest.approx(0.9)
    assert row["passed"] == pytest.approx(passed)
    assert row["accuracy"] == 1
    assert row["macs"] == pytest.approx(10 + passed * 100)


def test_a_cascade_that_beats_its_large_network_is_called_better(tmp_path):
    """Large is wrong on a tenth of the samples, and Small is sure of them and right."""
    labels = np.arange(N) % 4
    small_wrong, large_wrong = np.arange(N) // 4 % 5 == 0, np.arange(N) // 4 % 10 == 1
    probabilities = {
        "Small": sure(np.where(small_wrong, (labels + 1) % 4, labels), 4, np.where(small_wrong, 0.5, 0.9)),
        "Large": sure(np.where(large_wrong, (labels + 1) % 4, labels), 4),
    }
    answer = cascade.ask(make_run(tmp_path / "run", probabilities, labels, {"Large": {"macs": 100}}), everyone=True)
    assert answer.table["kept"].iloc[0] > 1
    assert "is even more accurate than that one alone (100 % against " in answer.text
    fig = answer.figure()
    assert fig.get_suptitle().startswith("Small before Large is even better than Large alone, at ")
    lines = {line.get_label(): line for line in fig.axes[0].lines}
    chosen = [line for line in fig.axes[0].lines if line.get_marker() == "D" and len(line.get_xdata())]
    assert min(line.get_zorder() for line in chosen) > lines["one network alone (Pareto front)"].get_zorder()


def test_networks_can_be_named(sorted_out):
    run = sorted_out
    table = cascade.ask(run, large="Dear", good=0.5).table
    assert set(table["large"]) == {"Dear"}
    assert set(table["small"]) == {"Small", "Large"}
    with pytest.raises(NetpickError, match="no network of the front makes a cascade with Large and Small"):
        cascade.ask(run, small="Large", large="Small", good=0.5)
    with pytest.raises(NetpickError, match=r"no network 'Lrge' \(did you mean 'Large'\?\)"):
        cascade.ask(run, large="Lrge", good=0.5)
    with pytest.raises(NetpickError, match=r"keep is 1\.1"):
        cascade.ask(run, keep=1.1)


def test_where_the_cheapest_is_the_best_no_cascade_helps(tmp_path):
    labels = np.arange(40) % 4
    wrong = np.where(np.arange(40) < 4, (labels + 1) % 4, labels)
    run = make_run(tmp_path / "run", {"A": sure(labels, 4), "B": sure(wrong, 4)}, labels)
    answer = cascade.ask(run)
    assert len(answer.table) == 0
    assert list(answer.table) == cascade.COLUMNS
    assert answer.text.startswith("No cascade can help: A is the most accurate")
    assert answer.figure().axes


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 1, "basic": False},
        {"classes": 2, "epochs": 2},
        {"epochs": 2, "replicates": 2, "validation": 50, "failed": 1, "diverged": 1, "pending": 1},
    ],
)
def test_runs_of_all_kinds_are_answered(tmp_path, options):
    plant(tmp_path / "run", 12, 60, **options)
    answer = cascade.ask(Run(tmp_path / "run"), everyone=True)
    assert list(answer.table) == cascade.COLUMNS
    assert answer.figure().axes


def test_a_run_without_scores_is_refused(tmp_path):
    plant(tmp_path / "run", 12, 50, epochs=1, scores="none")
    with pytest.raises(NetpickError, match="keeps no scores"):
        cascade.ask(Run(tmp_path / "run"), everyone=True)
