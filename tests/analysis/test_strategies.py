import numpy as np
import pytest
from scipy import stats

from netpick import exam
from netpick.analysis import strategies


def test_medians_and_counts_by_hand(planted):
    run, _ = planted
    answer = run.ask("strategies", good=0.9, gold=0.93)
    frame = exam.students(run, good=0.9, gold=0.93)
    assert len(answer.table) == frame["computation"].nunique() + len(frame.groupby(["computation", "activation"]))
    for row in answer.table.to_dict("records"):
        mine = frame[frame["computation"] == row["computation"]]
        if row["activation"] != "all":
            mine = mine[mine["activation"] == row["activation"]]
        good = mine[mine["good"]]
        assert (row["trained"], row["good"], row["stars"]) == (len(mine), len(good), int(mine["star"].sum()))
        assert row["asked"] == len(good)
        if len(good):
            assert [row["least"], row["median"], row["most"]] == [
                good["accuracy"].min(), np.median(good["accuracy"]), good["accuracy"].max(),
            ]  # fmt: skip
            assert [row["q25"], row["q75"]] == pytest.approx(np.percentile(good["accuracy"], [25, 75]).tolist())
        else:
            assert np.isnan(row["median"])


def test_the_planted_best_family_is_found(planted):
    run, truth = planted
    answer = run.ask("strategies", everyone=True)
    table = answer.table[answer.table["activation"] == "all"].set_index("computation")
    ability = exam.students(run).assign(ability=truth.ability).groupby("computation")["ability"].median()
    assert table["median"].idxmax() == ability.idxmax()
    assert answer.text.startswith(f"Of 60 students, {ability.idxmax()} has the highest median score")


def test_interval_against_scipy():
    values = np.random.default_rng(0).normal(0.9, 0.02, 40)
    low, high = strategies.interval(values, np.random.default_rng(1))
    theirs = stats.bootstrap((values,), np.median, n_resamples=4000, method="percentile", rng=2).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.002)
    assert np.isnan(strategies.interval(values[:2], np.random.default_rng(0))).all()


def test_figure_says_median_and_number_in_each_cell(planted):
    answer = planted[0].ask("strategies", gold=0.93)
    cells = answer.table[(answer.table["activation"] != "all") & (answer.table["asked"] > 0)]
    words = {(t.get_text(), t.get_color()) for t in answer.figure().axes[1].texts}
    for row in cells.to_dict("records"):
        stars = f", {row['stars']}★" if row["stars"] else ""
        text = f"{round(100 * row['median'], 1):g} %  ({row['asked']}{stars})"
        assert words & {(text, "black"), (text, "white")}
    top = cells.loc[cells["median"].idxmax(), "median"], cells.loc[cells["median"].idxmin(), "median"]
    assert [any(t.startswith(f"{round(100 * m, 1):g} %") and c == k for t, c in words)
            for m, k in zip(top, ("black", "white"), strict=True)] == [True, True]  # fmt: skip


def test_edges(edge):
    run, _ = edge
    for options in ({}, {"everyone": True}, {"quantile": 0.5}):
        answer = run.ask("strategies", **options)
        assert answer.text
        assert len(answer.table)
    assert answer.figure().axes
