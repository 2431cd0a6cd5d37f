import numpy as np
import pytest

from netpick import exam
from netpick.core.errors import NetpickError, RunError


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
