"""easy, weird, confusing: the planted samples and nothing else, and a plain count as the oracle."""

from collections import Counter
from math import log2

import numpy as np
import pytest
from handmade import make_run, sure

from netpick import exam
from netpick.core.errors import NetpickError


def test_planted_samples_and_nothing_else(planted):
    run, truth = planted
    assert set(run.ask("easy").table["sample"]) == set(truth.easy)
    assert set(run.ask("weird").table["sample"]) == {*truth.weird, *truth.mislabelled}
    assert set(run.ask("confusing").table["sample"]) == set(truth.confusing)


@pytest.mark.parametrize("everyone", [False, True])
def test_definitions_by_a_plain_count(planted, everyone):
    run, _ = planted
    frame = exam.students(run, good=0.9)
    who = [n for n, good in zip(frame["name"], frame["good"], strict=True) if good or everyone]
    rows = run.predictions(networks=who, columns=["sample", "label", "predicted"])
    found = {"easy": set(), "weird": set(), "confusing": set()}
    for sample, part in rows.groupby("sample"):
        label, votes = part["label"].iloc[0], Counter(part["predicted"])
        n, right = len(part), votes[label]
        mistakes = {c: v for c, v in votes.items() if c != label}
        if right >= 0.95 * n:
            found["easy"].add(sample)
        if n - right > 0.4 * n and max(mistakes.values()) >= 0.8 * (n - right):
            found["weird"].add(sample)
        entropy = -sum(v / n * log2(v / n) for v in votes.values())
        if max(votes.values()) < 0.6 * n and entropy >= 0.9:
            found["confusing"].add(sample)
    common = {"everyone": everyone, "good": 0.9}
    assert set(run.ask("easy", at_least=0.95, **common).table["sample"]) == found["easy"]
    assert set(run.ask("weird", wrong=0.4, same=0.8, **common).table["sample"]) == found["weird"]
    assert set(run.ask("confusing", top=0.6, entropy=0.9, **common).table["sample"]) == found["confusing"]
    assert all(found.values())


def test_limits_belong_to_one_side(tmp_path):
    """Of 10 networks: exactly 9 wrong is not more than 90 %; 5 of 10 votes are half."""
    labels = np.zeros(5, int)
    answers = np.zeros((10, 5), int)
    answers[:9, 0] = 1  # 9 of 10 wrong
    answers[:, 1] = 1  # all wrong, all the same
    answers[:, 2] = [1] * 9 + [2]  # all wrong, 9 of 10 the same: at least 90 %
    answers[:, 3] = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]  # 1.57 bits, no half
    answers[:, 4] = [0, 0, 0, 0, 0, 1, 1, 2, 2, 3]  # 1.76 bits, half
    run = make_run(tmp_path / "run", {f"n{i}": sure(a, 4) for i, a in enumerate(answers)}, labels)
    assert run.ask("weird", everyone=True, same=0.9).table["sample"].tolist() == [1, 2]
    assert run.ask("confusing", everyone=True, top=0.5).table["sample"].tolist() == [3]
    assert run.ask("easy", everyone=True).table.empty


def test_by_default_no_answer_has_a_third_of_the_votes_or_nearly_all_mistakes_are_one(tmp_path):
    """Of 102 networks: 34 votes are a third, 33 are not; one of 101 that err may differ, two are too many."""
    labels = np.zeros(4, int)
    answers = np.ones((102, 4), int)
    answers[:, 0] = np.repeat([0, 1, 2, 3], [34, 33, 33, 2])
    answers[:, 1] = np.repeat([0, 1, 2, 3], [33, 33, 33, 3])
    answers[:2, 2] = [0, 2]
    answers[:3, 3] = [0, 2, 2]
    run = make_run(tmp_path / "run", {f"n{i}": sure(a, 4) for i, a in enumerate(answers)}, labels)
    assert run.ask("confusing", everyone=True).table["sample"].tolist() == [1]
    assert run.ask("weird", everyone=True).table["sample"].tolist() == [2]


def test_of_three_classes_one_always_has_a_third_of_the_votes(tmp_path):
    answers = np.repeat([0, 1, 2], 4)
    run = make_run(tmp_path / "run", {f"n{i}": sure([a], 3) for i, a in enumerate(answers)}, np.zeros(1, int))
    answer = run.ask("confusing", everyone=True)
    assert answer.table.empty
    assert "one of 3 classes always has 33.33 % of the votes" in answer.note
    assert "always has" not in run.ask("confusing", everyone=True, top=0.5).note


def test_words_and_images_where_there_is_something_and_where_there_is_nothing(planted):
    run, _ = planted
    weird = run.ask("weird", limit=3)
    assert weird.text.startswith(f"{len(weird.table)} of 500 samples")
    assert weird.table["wrong"].is_monotonic_decreasing
    assert len(weird.figure().axes[0].images) == 3
    none = run.ask("weird", wrong=1.0)
    assert none.table.empty
    assert "The nearest is no." in none.text
    assert len(none.figure().axes[0].images) == 6
    assert "No sample is weird" in none.figure().get_suptitle()


def test_images_say_how_many_are_right_where_that_differs(planted):
    run, _ = planted

    def said(**options):
        return [t.get_text() for t in run.ask("easy", **options).figure().axes[0].texts if "% right" in t.get_text()]

    assert said() == []
    assert len(said(at_least=0.9, limit=5)) == 5


def test_two_classes_are_never_confusing_and_the_note_says_why(edge):
    run, truth = edge
    for name in ("easy", "weird", "confusing"):
        answer = run.ask(name, everyone=True)
        assert answer.figure().axes
    if len(run.classes) == 2:
        assert answer.table.empty
        assert "at most 1 bit of" in answer.note
    if truth.failed:
        assert "answers are those of the first replicate of each network" in answer.note
        assert "numbers are means" not in answer.note
        assert run.ask("easy", split="validation").text


def test_class_with_most_easy_samples(planted):
    run, truth = planted
    labels = run.labels()
    share = {c: np.isin(np.flatnonzero(labels == c), truth.easy).mean() for c in range(10)}
    most = max(share, key=share.get)
    assert f"({100 * share[most]:.3g} % of its own)" in run.ask("easy").text


@pytest.mark.parametrize(
    ("name", "option"),
    [("easy", {"at_least": 2}), ("weird", {"wrong": -1}), ("weird", {"same": 1.5}), ("confusing", {"top": 3}),
     ("confusing", {"entropy": -1}), ("easy", {"limit": 0}), ("weird", {"good": 2})],
)  # fmt: skip
def test_thresholds_out_of_range(planted, name, option):
    with pytest.raises(NetpickError, match=f"{next(iter(option))} is "):
        planted[0].ask(name, **option)
