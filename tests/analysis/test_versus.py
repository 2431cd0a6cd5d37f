import re

import numpy as np
import pytest

from netpick import Run, exam
from netpick.core.errors import NetpickError, RunError
from netpick.exam.planted.redrawn import Redrawn


def test_best_against_basic_by_hand(planted):
    run, _ = planted
    frame = exam.students(run)
    a = exam.best(frame)
    answer = run.ask("versus")
    table = answer.table.set_index("measure")
    assert list(answer.table.columns) == ["measure", "unit", a, "Basic", "ratio", "difference"]
    both = frame.set_index("name")
    for measure in ("params", "memory", "ops", "depth", "macs", "seconds", "accuracy"):
        mine, its = both.loc[a, measure], both.loc["Basic", measure]
        assert table.loc[measure, [a, "Basic"]].tolist() == [mine, its]
        assert table.loc[measure, "ratio"] == pytest.approx(mine / its)
        assert table.loc[measure, "difference"] == pytest.approx(mine - its)
    rows = run.predictions(networks=[a, "Basic"], columns=["network", "sample", "label", "predicted"])
    right = (rows["label"] == rows["predicted"]).groupby([rows["network"].astype(str), rows["sample"]]).first()
    pairs = list(zip(right[a], right["Basic"], strict=True))
    for measure, case in {
        "both right": (True, True), "only the first right": (True, False), "only the second right": (False, True),
        "neither right": (False, False),
    }.items():  # fmt: skip
        assert table.loc[measure, a] == pairs.count(case)
    points = 100 * abs(both.loc[a, "accuracy"] - both.loc["Basic", "accuracy"])
    assert f"{points:g} percentage points more" in answer.text


def test_significance_against_statsmodels(planted):
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    run, truth = planted
    answer = run.ask("versus", first=truth.bloomers[0], second=truth.worse[0])
    counts = answer.table.set_index("measure")[truth.bloomers[0]]
    square = [
        [counts["both right"], counts["only the first right"]],
        [counts["only the second right"], counts["neither right"]],
    ]
    exact = tables.mcnemar(np.array(square), exact=True).pvalue  # mid-p is the exact one or below
    assert exact < 0.01
    assert "that is real" in answer.text


def test_named_networks_and_mistakes(planted):
    run, _ = planted
    assert list(run.ask("versus", first="Basic", second="Linear_1").table.columns[2:4]) == ["Basic", "Linear_1"]
    best = exam.best(exam.students(run))
    assert list(run.ask("versus", second=best).table.columns[3:4]) == [best]
    assert run.ask("versus", second=best).table.columns[2] != best
    assert run.ask("versus", first="Basic").table.columns[3] == best
    with pytest.raises(NetpickError, match="both 'Basic'"):
        run.ask("versus", first="Basic", second="Basic")
    with pytest.raises(RunError, match="no network 'Linear_111'"):
        run.ask("versus", first="Linear_111")


def test_edges(edge):
    run, truth = edge
    answer = run.ask("versus")
    assert answer.figure().axes
    if "Basic" not in truth.names:
        assert "no Basic" in answer.note
        frame = exam.students(run)
        rest = frame[frame["name"] != answer.table.columns[2]]
        assert frame.set_index("name").loc[answer.table.columns[3], "params"] == rest["params"].min()
    if truth.failed:
        assert "first replicates" in answer.note


@pytest.fixture(scope="module")
def equals(tmp_path_factory):
    """Runs to redraw: of 80 networks with one replicate, and of 12 with 4."""
    folder = tmp_path_factory.mktemp("equals")
    exam.plant(folder / "many", 80, 300, epochs=1, scores="none")
    exam.plant(folder / "replicates", 12, 200, epochs=1, replicates=4, scores="none")
    return folder


def redrawn(folder, seed, right):
    """Draw answers: (replicates, networks, samples) right with these probabilities."""
    labels = Run(folder).labels()
    wrong = np.random.default_rng(seed).random(right.shape) >= right
    return Redrawn(folder, np.where(wrong, (labels + 1) % 10, labels))


def test_the_best_of_equals_is_not_really_better_than_basic(equals):
    as_if_named = chance = 0
    for seed in range(12):
        run = redrawn(equals / "many", seed, np.full((1, 80, 300), 0.92))
        text = run.ask("versus").text
        frame = exam.students(run)
        right = run.predicted() == run.labels()
        names = frame["name"].tolist()
        pair = [right[names.index(n)] for n in (exam.best(frame[frame["name"] != "Basic"]), "Basic")]
        as_if_named += exam.mcnemar(*pair) < 0.05
        chance += "that may be chance" in text
        assert " is the best of 80, flattered by about " in text
    assert as_if_named >= 4
    assert chance >= 11  # one in twenty may be called real


def test_the_flattery_is_by_how_much_the_best_of_equals_lies_above_the_truth(equals):
    run = redrawn(equals / "many", 3, np.full((1, 80, 300), 0.92))
    said = float(re.search(r"flattered by about ([\d.]+) points", run.ask("versus").text)[1])
    assert said == pytest.approx(100 * (exam.students(run)["accuracy"].max() - 0.92), abs=1.2)


def test_a_best_network_that_is_better_is_called_so(equals):
    right = np.full((1, 80, 300), 0.85)
    right[0, 7] = 0.97
    run = redrawn(equals / "many", 0, right)
    answer = run.ask("versus")
    assert answer.table.columns[2] == run.network_names()[7]
    assert "that is real" in answer.text
    assert int(re.search(rf"{run.network_names()[7]} in (\d+) of them", answer.text)[1]) > 90


def test_replicates_are_one_test_over_all_of_them(equals):
    """Replicate 0 of one network is lucky; over all four replicates the two are alike."""
    right = np.full((4, 12, 200), 0.85)
    right[0, 3], right[1:, 3], right[:, 7] = 1.0, 0.80, 0.98
    run = redrawn(equals / "replicates", 0, right)
    a, b = run.network_names()[3], run.network_names()[5]
    first = [run.predicted(networks=n)[0] == run.labels() for n in (a, b)]
    assert exam.mcnemar(*first) < 0.001
    answer = run.ask("versus", first=a, second=b)
    assert "that may be chance" in answer.text
    assert "the interval and p are over 4 and 4 replicates" in answer.note
    expected = exam.bootstrap_difference(*(exam.replicates(run, n) for n in (a, b))).p
    assert f"(p = {expected:.2g})" in answer.text
    assert "that is real" in run.ask("versus", second=b).text  # the best, of all replicates
