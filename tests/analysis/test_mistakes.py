"""The question `mistakes`: against plain counts, on a handmade and on a planted run."""

from collections import Counter

import numpy as np
import pytest
from handmade import make_run, sure

from netpick.core.errors import NetpickError, RunError

LABELS = [0, 0, 0, 1, 1, 2, 2, 2]
ANSWERS = {"Good": [0, 0, 0, 1, 1, 2, 2, 2], "Bad": [0, 1, 1, 1, 0, 2, 0, 1]}
SURE = [0.9, 0.6, 0.95, 0.9, 0.8, 0.9, 0.5, 0.92]


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", {n: sure(a, 3, SURE) for n, a in ANSWERS.items()}, LABELS)


def test_each_mistake_with_what_was_said_and_how_sure_most_sure_first(run):
    answer = run.ask("mistakes", network="Bad")
    found = answer.table[["sample", "class_name", "answer_name"]].to_numpy().tolist()
    assert found == [[2, "c0", "c1"], [7, "c2", "c1"], [4, "c1", "c0"], [1, "c0", "c1"], [6, "c2", "c0"]]
    assert answer.table["sure"].tolist() == pytest.approx([0.95, 0.92, 0.8, 0.6, 0.5], rel=1e-5)
    # the rest of the probability is shared by the two other classes
    assert answer.table["truth"].tolist() == pytest.approx([0.025, 0.04, 0.1, 0.2, 0.25], rel=1e-5)
    assert answer.text == (
        "Bad has 5 of 8 samples wrong (62.5 %). Most frequent are: 'c0' taken for 'c1', 2 times; 'c1' taken for 'c0', "
        "once; 'c2' taken for 'c0', once. It was at least 90 % sure of 2 of these answers."
    )


def test_the_best_student_unless_another_is_named(run, tmp_path):
    answer = run.ask("mistakes")
    assert answer.text == "Good (best of 2, flattered by about 0 points) has 0 of 8 samples wrong (0 %)."
    assert len(answer.table) == 0
    assert answer.save(tmp_path / "none.png").stat().st_size > 1000
    with pytest.raises(RunError, match=r"no network 'Bda' .did you mean 'Bad'"):
        run.ask("mistakes", network="Bda")
    with pytest.raises(NetpickError, match="limit is 0: give a whole number from 1"):
        run.ask("mistakes", limit=0)


def test_without_scores_it_is_said_that_nothing_is_known_of_them(tmp_path):
    run = make_run(tmp_path / "run", {n: sure(a, 3) for n, a in ANSWERS.items()}, LABELS, keep="none")
    answer = run.ask("mistakes", network="Bad")
    assert answer.table["sample"].tolist() == [1, 2, 4, 6, 7]
    assert answer.table[["sure", "truth"]].isna().all(axis=None)
    assert "scores were not kept" in answer.note
    assert "sure" not in answer.text


def test_against_a_plain_loop(planted, tmp_path):
    run, _ = planted
    name = run.networks["name"].iloc[5]
    labels, predicted = run.labels(), run.predicted(networks=[name])[0]
    probability = np.exp(run.scores(networks=[name])[0].astype(float))
    answer = run.ask("mistakes", network=name)
    counts = Counter()
    found = answer.table.set_index("sample")
    for j, (true, said) in enumerate(zip(labels, predicted, strict=True)):
        if true != said:
            counts[f"'{run.classes[true]}' taken for '{run.classes[said]}'"] += 1
            assert found.loc[j, "sure"] == pytest.approx(max(probability[j]))
            assert found.loc[j, "truth"] == pytest.approx(probability[j, true])
    assert len(found) == sum(counts.values())
    assert found["sure"].is_monotonic_decreasing
    most = max(counts.values())
    named = answer.text.partition("Most frequent are: ")[2].partition(";")[0].partition(", ")
    assert (counts[named[0]], named[2]) == (most, f"{most} times")
    assert answer.save(tmp_path / "grid.png").stat().st_size > 10_000
