"""The short exam: which samples it takes, where it places classifiers, and what its intervals cover."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm, spearmanr

from netpick.cli import main
from netpick.core.errors import NetpickError
from netpick.exam import examination, examine, item_response, plant, short_exam
from netpick.exam.run import Run


@pytest.fixture(scope="module")
def drawn():
    """Answers by the model itself: 60 networks of six families, 300 samples; and the model that they are of."""
    rng = np.random.default_rng(3)
    ability = rng.normal(size=60)
    ability = (ability - ability.mean()) / ability.std()
    slope, logit = np.exp(rng.normal(0.2, 0.4, 300)), rng.normal(1.0, 1.5, 300)
    right = rng.random((60, 300)) < expit(ability[:, None] * slope + logit)
    prior = item_response.Prior(np.zeros(2), np.eye(2))
    model = item_response.ResponseModel(ability, np.zeros(60), slope, logit, np.zeros(300), prior, 0)
    return model, right, [f"family {i % 6}" for i in range(60)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("short") / "run"
    plant(folder, 40, 120, epochs=1, scores="none")
    return Run(folder)


def test_what_answers_tell_of_an_ability_is_bayes_rule(drawn):
    model, right, _ = drawn
    items = np.array([4, 17, 250])
    (found,) = (short_exam.placed(model, items, right[:1, items]),)

    def density(t):
        p = expit(t * model.slope[items] + model.logit[items])
        return norm.pdf(t) * np.where(right[0, items], p, 1 - p).prod()

    whole = quad(density, -8, 8)[0]
    mean = quad(lambda t: t * density(t), -8, 8)[0] / whole
    assert found.ability[0] == pytest.approx(mean, abs=1e-3)
    rest = np.setdiff1d(np.arange(300), items)
    expected = quad(lambda t: expit(t * model.slope[rest] + model.logit[rest]).sum() * density(t), -8, 8)[0] / whole
    assert found.accuracy[0] == pytest.approx((right[0, items].sum() + expected) / 300, abs=1e-4)


def test_each_sample_that_it_takes_leaves_least_doubt(drawn):
    """Of all samples, looked at one by one; 17 is as good as 4, and comes after it."""
    model = drawn[0]
    slope, logit = model.slope.copy(), model.logit.copy()
    slope[[4, 17]], logit[[4, 17]], slope[8] = 4.0, 0.0, -3.0
    model = replace(model, slope=slope, logit=logit)
    prior = norm.pdf(np.linspace(-5, 5, 101))
    p = expit(np.linspace(-5, 5, 101) * slope[:, None] + logit[:, None])
    tells, known, taken = slope[:, None] ** 2 * p * (1 - p), 1.0, []
    for _ in range(25):
        doubt = {i: np.average(1 / (known + tells[i]), weights=prior) for i in range(300) if i not in taken and i != 8}
        taken.append(min(doubt, key=lambda i: (round(doubt[i], 12), i)))
        known += tells[taken[-1]]
    assert short_exam.chosen(model, 25).tolist() == taken
    assert taken.index(17) > taken.index(4)


def test_the_samples_that_it_takes_beat_those_drawn_at_random(drawn):
    model, right, _ = drawn
    taken = short_exam.chosen(model, 20)
    assert len(set(taken.tolist())) == 20
    assert short_exam.chosen(model, 7).tolist() == taken[:7].tolist()
    truth = right.mean(axis=1)
    rng = np.random.default_rng(0)
    errors = [
        np.abs(short_exam.placed(model, items, right[:, items]).accuracy - truth).mean()
        for items in (taken, *(rng.choice(300, 20, replace=False) for _ in range(10)))
    ]
    assert errors[0] < 0.8 * np.mean(errors[1:])
    assert spearmanr(short_exam.placed(model, taken, right[:, taken]).accuracy, truth).statistic > 0.85


def test_the_next_sample_suits_what_is_known_so_far(drawn):
    model, _, _ = drawn
    none = np.empty(0, int)
    items = short_exam.chosen(model, 12)
    able = short_exam.next_item(model, items, np.ones(12, bool))
    unable = short_exam.next_item(model, items, np.zeros(12, bool))
    difficulty = -model.logit / model.slope
    assert difficulty[able] > difficulty[unable]
    assert short_exam.next_item(model, none, np.ones(0, bool)) is not None
    assert short_exam.next_item(model, np.arange(300), np.ones(300, bool)) is None


def test_a_label_that_the_abler_get_wrong_is_never_taken(drawn):
    model, *_ = drawn
    flipped = item_response.ResponseModel(
        model.ability, model.errors, np.where(np.arange(300) < 290, -model.slope, model.slope), model.logit,
        model.slope_errors, model.prior, 0,
    )  # fmt: skip
    assert short_exam.chosen(flipped, 10).min() >= 290


def test_families_stay_together_where_there_are_enough(drawn):
    *_, families = drawn
    folds, apart = short_exam.dealt(families)
    assert apart
    assert set(folds) == set(range(5))
    assert all(len(set(folds[np.array(families) == family])) == 1 for family in set(families))
    folds, apart = short_exam.dealt(["one"] * 23)
    assert not apart
    assert set(np.bincount(folds)) == {4, 5}


def test_the_reach_covers_nine_tenths_of_each_fold_alike(drawn):
    _, right, families = drawn
    left = short_exam.LeftOut(right, short_exam.dealt(families)[0], [])
    off = np.arange(1.0, 61.0)
    assert 54 <= left.factor(off) <= 57
    assert left.coverage(off) == pytest.approx(0.9, abs=0.02)
    few = short_exam.LeftOut(right[:11], np.array([0] * 10 + [1]), [])
    assert few.factor(np.array([1.0] * 10 + [9.0])) == 9.0  # the one of its fold counts as the ten together


def test_the_question_says_what_the_samples_are_worth(run):
    answer = run.ask("short", items=15, everyone=True)
    assert answer.table["place"].tolist() == list(range(1, 16))
    assert answer.table["doubt"].is_monotonic_decreasing
    right = (run.predicted() == run.labels()).mean(axis=0)
    assert answer.table["right"].tolist() == pytest.approx(right[answer.table["sample"]].tolist())
    assert "15 of 120 samples" in answer.text
    answer.figure()
    with pytest.raises(NetpickError, match="wants 20 networks"):
        run.ask("short", good=0.96)


def test_of_too_many_networks_some_calibrate_and_all_have_places(run, monkeypatch):
    answer = run.ask("short", items=15, networks=24, everyone=True)
    assert "Asked were 24 networks drawn from 40 students" in answer.text
    with pytest.raises(NetpickError, match="networks is 19: give a whole number from 20"):
        run.ask("short", networks=19)
    accuracy = (run.predicted() == run.labels()).mean(axis=1)
    items, one = answer.table["sample"].to_numpy(), int(accuracy.argmax())
    assert "drawn" not in examine(Run(run.path), ["one"], items, run.predicted()[[one]][:, items], everyone=True).text
    monkeypatch.setattr(examination, "MANY", 24)
    found = examine(Run(run.path), ["one"], items, run.predicted()[[one]][:, items], everyone=True)
    assert "among 40 networks" in found.text
    assert "Samples are calibrated by 24 of these, drawn" in found.text
    row = found.table.iloc[0]
    assert row["rank"] == (accuracy > row["accuracy"]).sum() + 1


def test_examine_places_a_classifier_that_answered_a_few(run, tmp_path, monkeypatch, capsys):
    labels, predicted = run.labels(), run.predicted()
    items = run.ask("short", items=15, everyone=True).table["sample"].to_numpy()
    accuracy = (predicted == labels).mean(axis=1)
    best, worst = int(accuracy.argmax()), int(accuracy.argmin())
    table = examine(run, ["best", "worst"], items, predicted[np.ix_([best, worst], items)], everyone=True).table
    assert table["accuracy"][0] > table["accuracy"][1]
    assert table["rank"][0] < table["rank"][1]
    for row, truth in zip(table.to_dict("records"), accuracy[[best, worst]], strict=True):
        assert row["low"] <= row["accuracy"] <= row["high"]
        assert row["low"] - 0.02 <= truth <= row["high"] + 0.02
        assert row["rank_low"] <= row["rank"] <= row["rank_high"]
        assert row["next"] not in items
    frame = pd.DataFrame({"sample": items, "mine": predicted[best, items]})
    frame.to_csv(tmp_path / "mine.csv", index=False)
    for arguments, code, said in (
        (["mine.csv", "--next"], 0, "next for mine: sample"),
        ([], 2, "a file of answers, or --next"),
        (["odd.csv"], 2, "has no sample 120"),
    ):
        frame.replace({"sample": {int(items[0]): 120}}).to_csv(tmp_path / "odd.csv", index=False)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["netpick", "examine", str(run.path), *arguments, "--everyone"])
        with pytest.raises(SystemExit) as end:
            main()
        out = capsys.readouterr()
        assert end.value.code == code, out
        assert said in " ".join((out.out + out.err).split())
