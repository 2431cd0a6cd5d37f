import numpy as np
import pytest
from handmade import make_run, sure
from matplotlib.text import Text
from scipy import stats

from netpick import exam
from netpick.analysis import sets
from netpick.core.errors import NetpickError
from netpick.exam import plant
from netpick.exam.run import Run

RNG = np.random.default_rng(5)


def plain_set(p, u, method, lam, k_reg, threshold):
    """The paper's definition of one sample's set, class by class."""
    order = sorted(range(len(p)), key=lambda c: (-p[c], c))
    out = []
    for c in order:
        rank = order.index(c) + 1
        if method == "LAC":
            score = -np.log(p[c])
        else:
            score = sum(p[d] for d in order[: rank - 1]) + u * p[c]
            if method == "RAPS":
                score += lam * max(0, rank - k_reg)
        if score <= threshold:
            out.append(c)
    return out


def plain_score(p, label, u, method, lam, k_reg):
    order = sorted(range(len(p)), key=lambda c: (-p[c], c))
    rank = order.index(label) + 1
    if method == "LAC":
        return -np.log(p[label])
    extra = lam * max(0, rank - k_reg) if method == "RAPS" else 0
    return sum(p[d] for d in order[: rank - 1]) + u * p[label] + extra


@pytest.fixture(scope="module")
def exam_run(tmp_path_factory):
    labels = RNG.integers(0, 5, 160)
    p = {}
    for i, strength in enumerate((1.0, 2.0, 4.0)):
        logits = RNG.normal(size=(160, 5)) + strength * np.eye(5)[labels]
        p[f"N{i}"] = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return make_run(tmp_path_factory.mktemp("sets") / "run", p, labels), p, labels


@pytest.mark.parametrize("method", ["RAPS", "APS", "LAC"])
@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("randomised", [False, True])
def test_each_number_is_that_of_the_papers_definition(exam_run, method, empty, randomised):
    run, probabilities, labels = exam_run
    lam, k_reg, promised = 0.2, 2, 0.8
    options = {"method": method, "lam": lam, "k_reg": k_reg, "coverage": promised, "seed": 3, "everyone": True}
    table = sets.ask(run, empty=empty, randomised=randomised, **options).table.set_index("network")
    splits = exam.Splits.of(run, labels, parts=3, times=10, seed=3)
    u = np.random.default_rng(3).random(160, dtype=np.float32) if randomised else np.ones(160)
    for name, p in probabilities.items():
        scores = np.array([plain_score(p[j], labels[j], u[j], method, lam, k_reg) for j in range(160)])

        def threshold_of(samples, scores=scores):
            return np.sort(scores[samples])[int(np.ceil((len(samples) + 1) * promised)) - 1]

        assert table.loc[name, "threshold"] == pytest.approx(threshold_of(np.arange(160)), abs=1e-5)
        kinds = dict.fromkeys(sets.KINDS, 0.0)
        covered = size = 0.0
        for k in range(10):
            threshold, judge = threshold_of(splits.samples(k, 0)), splits.samples(k, 2)
            share = 1 / len(judge) / 10
            for j in judge:
                found = plain_set(p[j], u[j], method, lam, k_reg, threshold + 1e-5)
                first = int(p[j].argmax())
                found = found or ([] if empty else [first])
                covered += share * (labels[j] in found)
                size += share * len(found)
                if first == labels[j]:
                    kinds["right_sure" if len(found) == 1 else "right_unsure"] += share
                elif labels[j] in found:
                    kinds["wrong_in_set"] += share
                else:
                    kinds["wrong_sure" if len(found) == 1 else "wrong_unsure"] += share
        assert table.loc[name, "coverage"] == pytest.approx(covered)
        assert table.loc[name, "size"] == pytest.approx(size)
        assert {k: table.loc[name, k] for k in kinds} == pytest.approx(kinds)


def test_the_first_is_chosen_on_one_part_and_judged_on_another(exam_run):
    """By plain loops, from what each network comes to in each split; no part is used by both."""
    run, probabilities, labels = exam_run
    answer = sets.ask(run, method="LAC", coverage=0.8, everyone=True)
    splits = exam.Splits.of(run, labels, parts=3, times=10)
    weights = dict(zip(sets.KINDS, (1.0, 0.5, 0.25, 0.0, -1.0), strict=True))

    def score(p, threshold, samples):
        total = 0.0
        for j in samples:
            found = [c for c in range(5) if p[j, c] >= threshold] or [int(p[j].argmax())]
            right, inside, sure = p[j].argmax() == labels[j], labels[j] in found, len(found) == 1
            kind = ("right_sure" if sure else "right_unsure") if right else "wrong_in_set" if inside else "wrong_unsure"
            total += weights["wrong_sure" if kind == "wrong_unsure" and sure else kind]
        return total / len(samples)

    won, judged = [], []
    for k in range(10):
        calibrate, choose, judge = (splits.samples(k, i) for i in range(3))

        def level(p, part):
            own = np.sort(p[part, labels[part]])[::-1]
            return own[int(np.ceil((len(part) + 1) * 0.8)) - 1] - 1e-6

        on_choose = {name: score(p, level(p, choose), choose) for name, p in probabilities.items()}
        won.append(max(on_choose, key=on_choose.get))
        judged.append(score(probabilities[won[-1]], level(probabilities[won[-1]], calibrate), judge))
    assert f"the first has {np.mean(judged):.3f} (95 % interval " in answer.text
    chosen = answer.table.set_index("network")["chosen"]
    assert {n: won.count(n) / 10 for n in probabilities} == pytest.approx(chosen.to_dict())


def test_equal_networks_are_tied_and_one_that_is_better_is_not(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(900) % 4
    p = {}
    for i in range(9):
        wrong = rng.random(900) < (0.01 if i == 8 else 0.3)
        p[f"N{i}"] = sure(np.where(wrong, (labels + 1) % 4, labels), 4, np.where(wrong, 0.6, 0.9))
    both = make_run(tmp_path / "run", p, labels)
    table = sets.ask(both, method="LAC", everyone=True).table
    assert table["network"].iloc[0] == "N8"
    assert not table["tied"].iloc[1:].any()
    equal = {n: one for n, one in p.items() if n != "N8"}
    answer = sets.ask(make_run(tmp_path / "equal", equal, labels), method="LAC", everyone=True)
    assert answer.table["tied"].all()
    assert "none of the other 7 can be told from it" in answer.text
    assert "(first of 8, flattered by about " in answer.text


@pytest.mark.parametrize("method", ["RAPS", "APS", "LAC"])
@pytest.mark.parametrize("randomised", [True, False])
def test_coverage_is_what_was_promised_within_its_binomial_interval(method, randomised):
    """300 unrelated exams: covered samples follow the beta-binomial law, and the mean is exact."""
    nets, n, classes, promised = 300, 400, 6, 0.9
    rng = np.random.default_rng(8)
    logits = 2 * rng.normal(size=(nets, n, classes))
    p = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    truth = (rng.random((nets, n, 1)) > np.cumsum(p**0.5 / (p**0.5).sum(2, keepdims=True), axis=2)).sum(2)
    truth = np.minimum(truth, classes - 1)  # drawn from other probabilities than are said: miscalibrated
    scores = np.log(p).astype(np.float32)
    inside = np.empty((nets, n // 2), bool)
    for i in range(nets):
        u = rng.random(n).astype(np.float32) if randomised else np.ones(n, np.float32)
        level = sets.nonconformity(scores[i : i + 1], method, u, 0.1 if method == "RAPS" else 0, 1)
        rank = sets.ranks(scores[i : i + 1], truth[i])
        own = np.take_along_axis(level, rank[:, :, None], axis=2)[:, :, 0]
        threshold = sets.thresholds(own[:, : n // 2], promised)
        size = (level[:, n // 2 :] <= threshold[:, None, None]).sum(axis=2)
        inside[i] = (rank[:, n // 2 :] < size)[0]
    low, high = sets.interval(n // 2, n // 2, promised)
    coverage = inside.mean(axis=1)
    outside = int(((coverage < low - 1e-9) | (coverage > high + 1e-9)).sum())
    assert stats.binomtest(outside, nets, 0.05, alternative="greater").pvalue > 0.001
    k = int(np.ceil((n // 2 + 1) * promised))
    expected = k / (n // 2 + 1)
    spread = stats.betabinom(n // 2, k, n // 2 + 1 - k).std() / (n // 2) / np.sqrt(nets)
    assert abs(coverage.mean() - expected) < 4 * spread


def test_the_interval_is_that_of_calibrated_and_judged_on_so_many():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(4000):
        threshold = np.sort(rng.random(50))[int(np.ceil(51 * 0.9)) - 1]
        covered.append((rng.random(80) <= threshold).mean())
    low, high = sets.interval(50, 80, 0.9)
    assert 0.95 <= np.mean((np.array(covered) >= low) & (np.array(covered) <= high)) < 0.98
    assert sets.interval(8, 80, 0.9) == (1.0, 1.0)


def test_who_is_unsure_where_it_is_wrong_comes_before_who_is_sure(tmp_path):
    """Both are wrong on the same tenth of the samples, with the truth as second answer."""
    labels = np.arange(400) % 4
    wrong = (np.arange(400) // 4) % 10 == 0
    answers = np.where(wrong, (labels + 1) % 4, labels)
    humble = sure(answers, 4, np.where(wrong, 0.5, 0.97))
    proud = sure(answers, 4, np.where(wrong, 0.97, 0.91))
    for p, top in ((humble, 0.49), (proud, 0.02)):
        p[wrong] = 0.005
        p[wrong, answers[wrong]] = 1 - top - 0.01
        p[wrong, labels[wrong]] = top
    run = make_run(tmp_path / "run", {"Proud": proud, "Humble": humble}, labels)
    answer = sets.ask(run, method="LAC")
    table = answer.table.set_index("network")
    assert answer.table["network"].tolist() == ["Humble", "Proud"]
    assert table["accuracy"].tolist() == pytest.approx([0.9, 0.9], abs=0.06)  # of the half that judges
    assert table.loc["Humble", "right_sure"] + table.loc["Humble", "wrong_in_set"] == pytest.approx(1)
    assert table.loc["Humble", "right_sure"] == table.loc["Humble", "accuracy"]
    assert table.loc["Proud", "right_sure"] == 0.0  # to cover 95 %, it has to let in what it holds for impossible
    assert answer.text.startswith("Humble comes first of 2 good students")
    turned = sets.ask(run, method="lac", right_sure=0, right_unsure=1).table
    assert turned["network"].tolist() == ["Proud", "Humble"]


def test_the_figure_says_where_its_axis_starts_and_moves_dots_by_less_than_half_a_sample(tmp_path):
    labels = np.arange(400) % 4
    rng = np.random.default_rng(0)
    answers = np.where(rng.random((20, 400)) < 0.02, (labels + 1) % 4, labels)
    answer = sets.ask(make_run(tmp_path / "run", {f"N{i}": sure(a, 4) for i, a in enumerate(answers)}, labels))
    fig = answer.figure()
    left, right = fig.axes
    assert left.get_xlim()[0] > 0
    assert f"the axis starts at {100 * left.get_xlim()[0]:g} %" in left.get_xlabel()
    moved = np.abs(right.collections[0].get_offsets()[:, 1] - answer.table["coverage"].to_numpy())
    assert 0 < moved.max() < 0.5 / 133
    assert "within chance of it (95 %; wide, as only\n134 samples calibrate)" in right.get_legend_handles_labels()[1]
    words = " ".join(t.get_text() for t in fig.findobj(Text))
    assert not any(jargon in words for jargon in ("coverage", "judged third", "set ", "sets"))


def test_shares_add_up_and_the_score_is_their_weighted_sum(exam_run):
    run, *_ = exam_run
    weights = dict(zip(sets.KINDS, (3.0, 2.0, 1.0, -1.0, -5.0), strict=True))
    table = sets.ask(run, everyone=True, **weights).table
    np.testing.assert_allclose(table[list(sets.KINDS)].sum(axis=1), 1)
    np.testing.assert_allclose(table["score"], sum(w * table[k] for k, w in weights.items()))
    np.testing.assert_allclose(table["accuracy"] + table["wrong_in_set"], table["coverage"])
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["score"].is_monotonic_decreasing


def test_of_too_many_networks_some_are_drawn_and_come_out_as_alone(exam_run):
    run = exam_run[0]
    every = run.ask("sets", everyone=True).table.set_index("network")
    answer = run.ask("sets", everyone=True, networks=2)
    assert "2 networks drawn from 3 students" in answer.text
    assert len(answer.table) == 2
    alone = ["score", "accuracy", "coverage", "size", "threshold"]
    beside = answer.table.set_index("network")[alone]
    assert beside.equals(every.loc[beside.index, alone])
    assert "drawn" not in run.ask("sets", everyone=True, networks=3).text


def test_too_few_samples_to_calibrate_give_full_sets_and_a_note(exam_run):
    answer = sets.ask(exam_run[0], coverage=0.999, everyone=True)
    assert (answer.table["size"] == 5).all()
    assert (answer.table["coverage"] == 1).all()
    assert "too few to calibrate 0.999, which takes 999" in answer.note


def test_equal_scores_rank_the_first_class_first():
    scores = np.log(np.array([[[0.25, 0.25, 0.5], [0.4, 0.2, 0.4]]], dtype=np.float32))
    assert sets.ranks(scores, np.array([0, 2])).tolist() == [[1, 1]]
    assert sets.ranks(scores, np.array([1, 0])).tolist() == [[2, 0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "RAP"}, r"method is 'RAP' \(did you mean 'RAPS'\?\): give RAPS, APS or LAC"),
        ({"coverage": 1.0}, "coverage is 1.0: give a number above 0 and below 1"),
        ({"coverage": 1.5}, "coverage is 1.5"),
        ({"lam": -1}, "lam is -1"),
        ({"k_reg": -1}, "k_reg is -1"),
    ],
)
def test_impossible_options_are_refused(exam_run, options, message):
    with pytest.raises(NetpickError, match=message):
        sets.ask(exam_run[0], **options)


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 1, "basic": False},
        {"classes": 2, "epochs": 2},
        {"epochs": 2, "replicates": 2, "validation": 50, "failed": 1, "diverged": 1, "pending": 1},
    ],
)
def test_runs_of_all_kinds_are_answered(tmp_path, options):
    truth = plant(tmp_path / "run", 12, 60, **options)
    run = Run(tmp_path / "run")
    answer = sets.ask(run, everyone=True)
    lost = {*truth.failed, *truth.diverged, *truth.pending}
    assert set(answer.table["network"]) == set(truth.names) - lost
    other = answer.note.replace(exam.said_of_luck(run), "")
    assert (other != "") == bool(lost or options["epochs"] == 1 or options.get("replicates", 1) > 1)
    assert answer.figure().axes


def test_a_run_without_scores_is_refused(tmp_path):
    plant(tmp_path / "run", 12, 50, epochs=1, scores="none")
    with pytest.raises(NetpickError, match="keeps no scores"):
        sets.ask(Run(tmp_path / "run"), everyone=True)
