import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats

from netpick import exam
from netpick.analysis import attempts
from netpick.core.errors import NetpickError


def test_planted_bloomers_and_those_that_got_worse_and_nobody_else(planted):
    run, truth = planted
    each = run.ask("attempts", high=0.9).table
    assert sorted(each.loc[each["bloomer"], "name"]) == sorted(truth.bloomers)
    assert sorted(each.loc[each["worse"], "name"]) == sorted(truth.worse)
    assert each["change"].is_monotonic_decreasing


def test_by_student_by_hand():
    wide = pd.DataFrame(
        {1: [0.7, 0.5, 0.9, 0.8], 2: [0.6, 0.9, 0.95, 0.99], 3: [0.95, 0.7, np.nan, 0.97]}, index=list("abcd")
    )
    frame = pd.DataFrame({"name": list("abcd"), "computation": "L", "activation": "None"})
    each = attempts.by_student(wide, frame, 1000, 0.8, 0.95, 0.01, None).set_index("name")
    assert each.index.tolist() == ["a", "b", "d", "c"]
    assert each.loc["a", ["first", "lowest", "highest", "last", "best_epoch"]].tolist() == [0.7, 0.6, 0.95, 0.95, 3]
    assert each["bloomer"].to_dict() == {"a": True, "b": False, "c": False, "d": False}
    assert each.loc["c", "last"] == 0.95  # it stopped after its second attempt
    # b lost 0.2, twice the standard error is 0.11 with 100 samples; d lost 0.02, where it is 0.0125 with 1000 samples
    # and 0.04 with 100
    assert each["worse"].to_dict() == {"a": False, "b": True, "c": False, "d": True}
    few = attempts.by_student(wide, frame, 100, 0.8, 0.95, 0.01, None).set_index("name")
    assert few["worse"].to_dict() == {"a": False, "b": True, "c": False, "d": False}
    risen = attempts.by_student(wide, frame, 100, 0, 0, 0.01, 0.5)
    assert (risen.attrs["low"], risen.attrs["high"]) == pytest.approx((0.75, 0.95))


def test_by_attempt_by_hand():
    wide = pd.DataFrame({1: [0.5, 0.7, 0.6], 2: [0.9, 0.8, 0.7]}, index=list("abc"))
    rows = attempts.by_attempt(wide, pd.Series({1: 3.0, 2: 1.0}))
    first, last = rows.iloc[0], rows.iloc[1]
    assert (first["pick"], first["pick_last"], last["pick"]) == ("b", 0.8, "a")
    assert first["pick_loss"] == pytest.approx(0.1)
    assert first["median_loss"] == pytest.approx(0.1)
    assert (first["seconds"], last["seconds"]) == (0.75, 1.0)
    assert (first["peaked"], last["peaked"]) == (0, 1)
    assert first["correlation"] == pytest.approx(stats.spearmanr([0.5, 0.7, 0.6], [0.9, 0.8, 0.7]).statistic)
    assert last["median_loss"] == 0


def test_families_by_hand(planted):
    run, _ = planted
    table = run.ask("attempts", by="family").table
    wide = exam.attempts(run)
    computation = run.networks.set_index("name")["computation"]
    for row in table.to_dict("records"):
        values = wide.loc[computation[wide.index] == row["computation"], row["epoch"]]
        assert row["students"] == len(values)
        assert [row["q25"], row["median"], row["q75"]] == pytest.approx(np.percentile(values, [25, 50, 75]).tolist())


@pytest.mark.parametrize(("lowest", "scale"), [(0.1, "logit"), (0.93, "linear")])
def test_figure_shows_all_students_and_gives_the_many_high_ones_room(lowest, scale):
    first = np.array([lowest, 0.95, 0.96, 0.97])
    each = pd.DataFrame({
        "computation": "Linear", "first": first, "last": [0.95, 0.97, 0.98, 1.0], "bloomer": False, "worse": False,
    })  # fmt: skip
    ax = Figure().subplots()
    attempts._students(ax, each, ["Linear"])
    assert ax.get_xscale() == ax.get_yscale() == scale
    assert ax.get_xlim()[0] < lowest
    assert 0.98 < np.ma.getdata(ax.collections[0].get_offsets())[3, 1] < ax.get_ylim()[1]


def test_unknown_table(planted):
    with pytest.raises(NetpickError, match=r"by is 'familly' .did you mean 'family'"):
        planted[0].ask("attempts", by="familly")


def test_edges(edge):
    run, _ = edge
    for by in attempts.TABLES:
        answer = run.ask("attempts", by=by, quantile=0.3)
        assert len(answer.table)
    assert ("one attempt" in answer.text) == (run.epochs["epoch"].max() == 1)
    assert answer.figure().axes
