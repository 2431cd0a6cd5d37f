"""A planted run with holes: every question of samples that networks left out, by another way from the predictions."""

from math import log2

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from netpick import exam
from netpick.analysis import ability
from netpick.core.errors import NetpickError
from netpick.exam import foresight, item_response, plant, questions
from netpick.exam.across_folds import AcrossFolds
from netpick.exam.run import Run

HOLES = ("left_out", "all")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("holes") / "run"
    truth = plant(folder, 60, 240, folds=3, epochs=3)
    return Run(folder), truth


@pytest.fixture(scope="module")
def rows(planted):
    """Last answers to the samples that were left out, a row a network and sample."""
    run, _ = planted
    out = run.predictions(split="left_out").astype({"network": str})
    return out.assign(right=out["predicted"] == out["label"])


@pytest.fixture(scope="module")
def good(planted):
    return exam.selected(planted[0], split="left_out")["name"].tolist()


@pytest.mark.parametrize("split", HOLES)
def test_scores_of_the_true_classes_have_holes_too(planted, split):
    run, _ = planted
    whole = run.scores(split=split)
    own = np.take_along_axis(whole, run.labels(split)[None, :, None].astype(int), axis=2)[:, :, 0]
    assert 0 < np.isnan(own).sum() < own.size
    assert np.array_equal(run.label_scores(split=split), own, equal_nan=True)


def test_votes_are_of_those_who_answered(planted, rows, good):
    run, _ = planted
    table = run.ask("easy", at_least=0, split="left_out").table.set_index("sample")
    asked = rows[rows["network"].isin(good)].groupby("sample")
    assert table["right"].to_dict() == pytest.approx(asked["right"].mean().to_dict())
    votes = table.filter(like="votes_").to_numpy()
    assert votes.sum(axis=1).tolist() == asked.size().tolist()
    shares = votes / votes.sum(axis=1, keepdims=True)
    entropy = [-sum(p * log2(p) for p in row if p) for row in shares]
    assert table["entropy"].to_numpy() == pytest.approx(entropy)
    counts = asked.size()
    note = f"each training sample was answered by {counts.min()} to {counts.max()} of {len(good)} networks"
    easy = run.ask("easy", split="left_out")
    assert note in easy.note
    assert "all of the networks that answered each, of " in easy.text
    assert "answered" not in run.ask("easy").text


@pytest.mark.parametrize(("split", "first"), [("left_out", 0), ("all", 240)])
def test_planted_samples_are_found(planted, split, first):
    """In the two splits together, left_out comes after test."""
    run, truth = planted
    own = truth.left_out
    for name, samples in (("easy", own.easy), ("weird", [*own.weird, *own.mislabelled])):
        found = run.ask(name, split=split).table["sample"]
        assert set(found[found >= first] - first) == set(samples)
    table = run.ask("suspects", split=split).table
    suspects = table.loc[table["suspect"], "sample"]
    assert set(suspects[suspects >= first] - first) == set(own.mislabelled)


def test_fixes_are_of_the_samples_that_were_left_out(planted, tmp_path):
    run, truth = planted
    run.ask("suspects", split="left_out", to=str(tmp_path / "fixes.csv"))
    table = pd.read_csv(tmp_path / "fixes.csv", dtype=str)
    assert table["split"].tolist() == ["left_out"] * len(truth.left_out.mislabelled)
    suggested = dict(zip(table["sample"].astype(int), table["suggested"].astype(int), strict=True))
    assert suggested == {s: truth.left_out.true_label[s] for s in truth.left_out.mislabelled}
    with pytest.raises(NetpickError, match="fixes are of one split"):
        run.ask("suspects", split="all", to=str(tmp_path / "other.csv"))


def test_opinions_are_means_over_those_who_answered(planted, rows, good):
    run, _ = planted
    asked = rows[rows["network"].isin(good)]
    scores = np.exp(asked.filter(like="score_")).groupby(asked["sample"]).mean().to_numpy()
    table = run.ask("suspects", split="left_out", all_samples=True).table.set_index("sample").sort_index()
    place = np.arange(len(table))
    margin = scores[place, table["answer"]] - scores[place, table["label"]]
    assert table["margin"].to_numpy() == pytest.approx(margin, abs=1e-6)
    voted = asked["predicted"].to_numpy() == table["answer"].loc[asked["sample"]].to_numpy()
    assert table["votes"].to_numpy() == pytest.approx(pd.Series(voted).groupby(asked["sample"].to_numpy()).mean())


def test_accuracies_are_equated_by_the_samples_that_all_answered(planted, rows):
    run, truth = planted
    errors = 1 - rows.groupby("network")["right"].mean()
    fold = pd.Series(truth.first_fold, truth.names)[errors.index]
    tested = 1 - exam.students(run).set_index("name")["accuracy"][errors.index]

    def harder(values, by):
        return (odds := values / (1 - values) * np.exp(by)) / (1 + odds)

    expected = errors.copy()
    for _, names in fold.groupby(fold).groups.items():
        goal = errors.sum() / tested.sum() * tested[names].sum()
        by = brentq(lambda by, names=names, goal=goal: harder(errors[names], by).sum() - goal, -5, 5)
        expected[names] = harder(errors[names], by)
    found = exam.students(run, split="left_out").set_index("name")["accuracy"][errors.index]
    assert found.to_numpy() == pytest.approx(1 - expected.to_numpy(), abs=1e-9)
    ratio = (1 - found).groupby(fold).sum() / tested.groupby(fold).sum()
    assert ratio.to_numpy() == pytest.approx(np.full(3, ratio.mean()))
    marks = exam.accuracies(run, "left_out")
    assert marks.judged.mean(axis=1) == pytest.approx(found[marks.names].to_numpy(), abs=0.02)
    assert exam.students(run, split="all")["accuracy"].equals(exam.students(run)["accuracy"])


def test_a_network_has_wrong_what_it_answered(planted, rows):
    run, _ = planted
    mine = rows[(rows["network"] == "Basic") & ~rows["right"]]
    answer = run.ask("mistakes", network="Basic", split="left_out")
    assert set(answer.table["sample"]) == set(mine["sample"])
    assert f"{len(mine)} of 80 samples wrong" in answer.text
    assert "Basic answered 80 of 240 samples" in answer.note
    learned = next(s for s in range(240) if s not in set(rows.loc[rows["network"] == "Basic", "sample"]))
    with pytest.raises(NetpickError, match="from which it learned"):
        run.predict("Basic", learned, split="left_out")


def test_abilities_and_difficulties_are_recovered(planted, monkeypatch):
    run, truth = planted
    monkeypatch.setattr(ability, "quality", lambda right: "")
    for split, difficulty in (("left_out", truth.left_out.difficulty), ("all", None)):
        difficulty = np.concatenate([truth.difficulty, truth.left_out.difficulty]) if difficulty is None else difficulty
        table = run.ask("ability", split=split).table.set_index("sample")["right"]
        known = ~np.isnan(difficulty[table.index])
        assert spearmanr(table[known], -difficulty[table.index][known]).statistic > 0.5
    ranked = run.ask("ability", split="all", rows="networks", everyone=True).table.set_index("name")["ability"]
    assert spearmanr(ranked[truth.names], truth.ability, nan_policy="omit").statistic > 0.6


def test_answers_that_were_not_given_are_in_no_likelihood():
    """Folds of unequal difficulty, linked by samples that all answered: abilities come out as if all had been."""
    rng = np.random.default_rng(0)
    theta, fold = rng.normal(size=240), np.arange(240) % 3
    hard = np.concatenate([rng.normal(0, 1, 120), *(rng.normal(d, 1, 120) for d in (-1.5, 0, 1.5))])
    of = np.repeat([-1, 0, 1, 2], 120)
    full = rng.random((240, 480)) < 1 / (1 + np.exp(-1.5 * (theta[:, None] - hard)))
    right = np.where((of < 0) | (of == fold[:, None]), full, np.nan).astype(np.float32)
    model = item_response.fit(right)
    truth = (theta - theta.mean()) / theta.std()
    assert (np.abs(model.ability - truth) < 1.96 * model.errors).mean() == pytest.approx(0.95, abs=0.04)
    assert [(model.ability - truth)[fold == k].mean() for k in range(3)] == pytest.approx([0, 0, 0], abs=0.12)
    assert spearmanr(model.difficulty, hard, nan_policy="omit").statistic > 0.95
    found = foresight.foresight(right[:, ::2])
    assert found.auc > found.difficulty_auc + 0.05
    assert found.likelihood > found.difficulty_likelihood + 0.02
    apart = item_response.fit(right[:, 120:])  # nothing links the folds: each has its own mean
    assert [apart.ability[fold == k].mean() for k in range(3)] == pytest.approx([0, 0, 0], abs=1e-9)
    assert (apart.errors > 1 / np.sqrt(80)).all()
    drawn = np.arange(0, 240, 2)
    some = item_response.fit_some(right[:, 120:], drawn)
    assert [some.ability[drawn][fold[drawn] == k].mean() for k in range(3)] == pytest.approx([0, 0, 0], abs=1e-9)
    assert some.ability[drawn] == pytest.approx(item_response.fit(right[drawn, 120:]).ability, abs=1e-9)
    assert (some.errors > 1 / np.sqrt(40)).all()


def test_groups_are_compared_where_they_answered(planted, rows, good):
    run, _ = planted
    table = run.ask("why_hard", split="left_out", alpha=1, least=2, hard=0.9).table
    table = table[table["way"] == "computation"]
    assert len(table)
    computation = run.networks.set_index("name")["computation"]
    asked = rows[rows["network"].isin(good)]
    asked = asked.assign(computation=asked["network"].map(computation))
    for row in table.head(20).itertuples():
        here = asked[asked["sample"] == row.sample]
        mine = here["computation"] == row.group
        assert (row.networks, row.share) == (mine.sum(), pytest.approx(here.loc[mine, "right"].mean()))
        assert row.others == pytest.approx(here.loc[~mine, "right"].mean())


def test_errors_agree_on_shared_samples(planted, rows, good):
    run, _ = planted
    table = run.ask("agreement", split="left_out", by="computation", shuffles=1).table.set_index(["first", "second"])
    wide = rows[rows["network"].isin(good)].pivot(index="sample", columns="network", values="right")
    computation = run.networks.set_index("name")["computation"]
    kappa = {}
    few = [name for name in good if computation[name] in ("Conv2d", "ResNetStyle")]
    for i, a in enumerate(few):
        for b in few[:i]:
            both = wide[[a, b]].dropna().astype(bool)
            if len(both):
                kappa.setdefault(frozenset((computation[a], computation[b])), []).append(
                    cohen_kappa_score(*both.T.values)
                )
    assert len(kappa) == 3
    for pair, row in table[table.index.map(lambda pair: frozenset(pair) in kappa)].iterrows():
        assert (row["pairs"], row["kappa"]) == (
            len(kappa[frozenset(pair)]),
            pytest.approx(np.nanmean(kappa[frozenset(pair)])),
        )
    assert "chosen" not in table


def test_what_is_forgotten_is_counted_by_those_who_learn_it(planted, good):
    run, _ = planted
    rows = run.predictions(epoch=None, split="left_out", columns=["network", "sample", "epoch", "label", "predicted"])
    rows = rows[rows["network"].isin(good)]
    right = (
        (rows["predicted"] == rows["label"])
        .groupby([rows["sample"], rows["network"].astype(str), rows["epoch"]])
        .first()
    )
    course = right.unstack().dropna().astype(int)
    forgot = (course.diff(axis=1) < 0).sum(axis=1).groupby("sample").mean()
    table = run.ask("learning", split="left_out").table.set_index("sample").sort_index()
    assert table["forgetting"].to_numpy() == pytest.approx(forgot.to_numpy())
    assert table["never"].to_numpy() == pytest.approx((course.sum(axis=1) == 0).groupby("sample").mean().to_numpy())
    changed = run.ask("changes", split="left_out").table.set_index("name")
    gained = ((course[3] > course[2]).groupby("network").sum(), (course[3] < course[2]).groupby("network").sum())
    for column, counts in zip(("gained", "lost"), gained, strict=True):
        assert changed.loc[good, column].tolist() == counts[good].tolist()


OF_SAMPLES = {"easy", "weird", "confusing", "suspects", "ability", "why_hard", "learning", "mistakes"}


@pytest.mark.parametrize("split", HOLES)
def test_every_question_answers_or_says_why_not(planted, split, monkeypatch):
    run, _ = planted
    monkeypatch.setattr(ability, "quality", lambda right: "")  # asked elsewhere, and slow
    refused = {}
    for name, question in questions.questions().items():
        if "split" not in question.options or (split == "all" and name not in {*OF_SAMPLES, "best", "compare"}):
            continue  # by all, networks are compared as by test
        try:
            answer = run.ask(name, split=split)
        except NetpickError as error:
            refused[name] = str(error)
            continue
        said = f" {answer.text} {answer.note}".lower()
        assert " nan" not in said
        assert "answered" in answer.note
        for column in set(answer.table) & {"answer", "label", "predicted"}:
            assert (answer.table[column].dropna() >= 0).all() or name == "best"
    assert set(refused) == ({"committee", "cascade", "short"} if split == "left_out" else set())
    assert all("left out different folds share none" in why for why in refused.values())
    assert {"pareto", "layer_times", "representative"} == {
        name for name, question in questions.questions().items() if "split" not in question.options
    }


def test_a_run_without_folds_has_no_such_split(planted, tmp_path):
    plant(tmp_path / "run", 12, 50, epochs=1, scores="none")
    for split in HOLES:
        with pytest.raises(NetpickError, match=f"no split '{split}'"):
            Run(tmp_path / "run").ask("easy", split=split)
    with pytest.raises(NetpickError, match="has left_out, test, all"):
        planted[0].ask("best", split="left out")


def answers(rng, theta, folds, each=100, tested=300):
    """Right and wrong of networks, each of a fold, and their accuracy on other samples."""
    fold = rng.permutation(np.arange(len(theta)) % len(folds))
    hard, of = np.concatenate([rng.normal(d, 1.2, each) for d in folds]), np.repeat(np.arange(len(folds)), each)
    right = rng.random((len(theta), len(hard))) < 1 / (1 + np.exp(-(theta[:, None] - hard)))
    test = rng.random((len(theta), tested)) < 1 / (1 + np.exp(-(theta[:, None] - rng.normal(0, 1.2, tested))))
    return np.where(fold[:, None] == of, right, np.nan).astype(np.float32), fold, test.mean(axis=1)


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_equal_networks_of_unequal_folds_are_not_told_apart(spread):
    """Six are equally able, the others as able or not, and folds are of unequal difficulty: 5 % false alarms."""
    rng, p, families, raw = np.random.default_rng(1), [], [], []
    for _ in range(60):
        theta = 2 + spread * rng.normal(size=60)
        theta[:6] = 2.5
        right, fold, test = answers(rng, theta, (-0.5, 0, 0.8))
        known = AcrossFolds.of_answers([str(i) for i in range(60)], right, fold, test)
        pairs = [(i, j) for i in range(6) for j in range(i) if fold[i] != fold[j]]
        p += [known.difference(i, j).p for i, j in pairs]
        plain = exam.rates(right, 1)
        error = np.sqrt(plain * (1 - plain) / 100)
        raw += [abs(plain[i] - plain[j]) > 1.96 * np.hypot(error[i], error[j]) for i, j in pairs]
        drawn = pd.Series(rng.integers(0, 5, 60))
        strata = exam.Strata.of(right, drawn, pd.Series("", drawn.index), known.accuracy)
        families += [strata.difference(i, j).p for i in range(5) for j in range(i)]
    assert (np.array(p) < 0.05).mean() <= 0.07
    assert (np.array(p) < 0.2).mean() > 0.1  # and not for being blind
    assert (np.array(families) < 0.05).mean() <= 0.07
    assert np.mean(raw) > 0.12  # as they stand, folds would be taken for merit


def test_unequal_networks_are_told_apart_across_folds():
    rng = np.random.default_rng(2)
    theta = np.where(np.arange(60) < 6, 3.5, 2.0)
    right, fold, test = answers(rng, theta, (-0.5, 0, 0.8), 400, 1000)
    known = AcrossFolds.of_answers([str(i) for i in range(60)], right, fold, test)
    found = [known.difference(i, j) for i in range(6) for j in range(6, 60) if fold[i] != fold[j]]
    assert np.mean([one.p < 0.05 and one.low > 0 for one in found]) > 0.8
