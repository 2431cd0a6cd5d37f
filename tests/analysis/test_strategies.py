import numpy as np
import pytest
from handmade import make_run, sure
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


@pytest.mark.parametrize("n", [6, 7, 9, 20, 41, 150])
def test_interval_against_scipy(n):
    values = np.random.default_rng(n).normal(0.9, 0.02, n)
    theirs = stats.quantile_test(values, q=np.median(values), p=0.5).confidence_interval(0.95)
    assert strategies.interval(values) == (theirs.low, theirs.high)
    assert np.isnan(strategies.interval(values[:4])).all()


@pytest.mark.parametrize("n", [5, 6, 8, 12, 30])
def test_interval_covers_the_median_of_few_networks_of_a_skewed_kind(n):
    """A bootstrap of the median of three covers it 74 times of 100."""
    rng = np.random.default_rng(n)
    held = [low <= 0.5**0.1 <= high for low, high in (strategies.interval(rng.random(n) ** 0.1) for _ in range(600))]
    assert np.mean(held) >= 0.92


def ranked(folder, families, **options):
    """Ask a run with these families: (computation, activation) to the number wrong of 40 of each network."""
    rights = {f"{c}-{a}-{i}": wrong for (c, a), each in families.items() for i, wrong in enumerate(each)}
    answers = {name: sure((np.arange(40) < wrong).astype(int), 2) for name, wrong in rights.items()}
    networks = {name: dict(zip(("computation", "activation"), name.split("-")[:2], strict=True)) for name in answers}
    return make_run(folder, answers, np.zeros(40, int), networks).ask("strategies", **options)


def test_few_networks_are_not_ranked(tmp_path):
    answer = ranked(tmp_path / "run", {("few", "ReLU"): [0] * 4, ("many", "ReLU"): [1, 2, 3, 4, 5]})
    assert "many has the highest median score (92.5 %, 95 % interval 87.5 % to 97.5 %)." in answer.text
    assert "9 of 9" not in " ".join(answer.figure().get_suptitle().split())
    nobody = ranked(tmp_path / "other", {("few", "ReLU"): [0] * 4, ("small", "ReLU"): [1] * 4})
    assert "no computation has the 5 that a ranking needs" in nobody.text


def test_what_comes_with_one_activation_is_compared_with_others_that_have_it(tmp_path):
    families = {("top", "ReLU"): [0] * 6, ("next", "ReLU"): [0, 1] * 4, ("next", "Tanh"): [6] * 9}
    answer = ranked(tmp_path / "run", families)
    assert "top has the highest median score" in answer.text
    assert "their intervals do not overlap" in answer.text
    assert (
        "All students of top have the activation ReLU: of the others with it next comes first (98.75 %" in answer.text
    )
    assert "and the intervals overlap" in answer.text
    alone = ranked(tmp_path / "other", {("top", "ReLU"): [0] * 6, ("next", "Tanh"): [6] * 9})
    assert "which of both it is can't be told" in alone.text


def test_those_who_failed_are_counted(tmp_path):
    families = {("weak", "ReLU"): [0] * 6 + [20] * 3, ("able", "ReLU"): [1] * 9}
    answer = ranked(tmp_path / "run", families)
    assert "weak failed most: 6 of 9 passed." in answer.text
    assert "(15 of 18 students)" in " ".join(answer.figure().get_suptitle().split())
    ticks = [" ".join(t.get_text().split()) for t in answer.figure().axes[0].get_xticklabels()]
    assert ticks == ["able 9 of 9 passed", "weak 6 of 9 passed"]


def test_those_of_whom_nobody_passed_are_in_the_figure(tmp_path):
    answer = ranked(tmp_path / "run", {("lost", "ReLU"): [40] * 6, ("able", "ReLU"): [1] * 9}, good=0.7)
    above, below = answer.figure().axes[:2]
    ticks = [" ".join(t.get_text().split()) for t in above.get_xticklabels()]
    assert ticks == ["able 9 of 9 passed", "lost 0 of 6 passed"]
    assert [t.get_text() for t in below.get_yticklabels()] == ["able"]


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
