import numpy as np
import pandas as pd
import pytest
from handmade import make_run, sure
from matplotlib.figure import Figure
from scipy import stats

from netpick import exam
from netpick.analysis import _attempts, _judged, attempts
from netpick.analysis._judged import Marks
from netpick.core.errors import NetpickError
from netpick.exam import plant
from netpick.exam.run import Run


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
    other_half = pd.DataFrame({"judged": [0.0, 0.18, np.nan, 0.02], "p": [0.5, 0.001, np.nan, 0.02]}, list("abcd"))
    each = attempts.by_student(wide, frame, other_half, 0.8, 0.95, 0.01, None).set_index("name")
    assert each.index.tolist() == ["a", "b", "d", "c"]
    assert each.loc["a", ["first", "lowest", "highest", "last", "best_epoch"]].tolist() == [0.7, 0.6, 0.95, 0.95, 3]
    assert each["bloomer"].to_dict() == {"a": True, "b": False, "c": False, "d": False}
    assert each.loc["c", "last"] == 0.95  # it stopped after its second attempt
    # of three tests the lowest p counts three times, the next one twice
    assert each["p"].to_dict() == pytest.approx({"a": 0.5, "b": 0.003, "c": np.nan, "d": 0.04}, nan_ok=True)
    assert each["worse"].to_dict() == {"a": False, "b": True, "c": False, "d": True}
    deep = attempts.by_student(wide, frame, other_half, 0.8, 0.95, 0.1, None).set_index("name")
    assert deep["worse"].to_dict() == {"a": False, "b": True, "c": False, "d": False}  # d lost 0.02
    risen = attempts.by_student(wide, frame, other_half, 0, 0, 0.01, 0.5)
    assert (risen.attrs["low"], risen.attrs["high"]) == pytest.approx((0.75, 0.95))


def fickle(rng, networks, samples, epochs=4, right=0.95):
    """Answers of networks that are as good in every attempt as in any other, (epochs, networks, samples)."""
    return rng.random((epochs, networks, samples)) < right


def test_who_is_as_good_at_the_end_is_not_said_to_have_got_worse():
    """The best of four attempts lies above the last one by luck alone; on other samples it doesn't."""
    rng = np.random.default_rng(0)
    halves = exam.halves(360, 0)
    said, judged, dropped = 0, [], []
    for _ in range(60):
        right = fickle(rng, 60, 360)
        found = _judged.below_best(right, halves)
        said += bool((exam.holm(found["p"]) <= 0.05).any())
        judged.append(found["judged"].mean())
        marks = right.mean(axis=2)
        dropped.append((marks.max(axis=0) - marks[-1]).mean())
    assert said <= 6
    assert np.mean(judged) == pytest.approx(0, abs=0.002)
    assert np.mean(dropped) > 0.008  # a point is what luck gives


def test_the_sentence_says_both_counts_and_the_rule(tmp_path):
    right = fickle(np.random.default_rng(1), 20, 200)
    right[3, 7, :40] = False
    answers = {f"n{i}": np.stack([sure((~r).astype(int), 2) for r in right[:, i]]) for i in range(20)}
    answer = make_run(tmp_path / "run", answers, np.zeros(200, int)).ask("attempts")
    fell = (answer.table["drop"] >= 0.01 - 1e-9).sum()
    assert fell >= 10
    assert answer.table.loc[answer.table["worse"], "name"].tolist() == ["n7"]
    assert f"{fell} students ended at least 1 percentage point below the best of their own attempts" in answer.text
    judged = answer.table["judged"].median()
    assert -0.01 < judged < 0
    assert (
        f"The median student ended {exam.points(-judged)} above its best where the best is chosen on one half"
        in answer.text
    )
    rule = "McNemar's test, corrected for all attempts of 20 students"
    assert f"1 of them by more than chance ({rule}): n7." in answer.text


def test_the_other_half_by_a_plain_count(planted):
    run, truth = planted
    name, labels = truth.worse[0], run.labels()
    right = np.stack([run.predicted(e, networks=[name])[0] == labels for e in (1, 2, 3, 4)])
    first, second = exam.halves(len(labels), 0, labels)
    fell = 0
    for choosing, judging in ((first, second), (second, first)):
        best = max(range(4), key=lambda e: (right[e][choosing].sum(), e))
        fell += right[best][judging].sum() - right[3][judging].sum()
    found = Marks.of(run, "test").below.loc[name]
    assert found["judged"] == pytest.approx(fell / len(labels))
    two_sided = [exam.mcnemar(right[e], right[3]) for e in range(3) if right[e].sum() > right[3].sum()]
    assert found["p"] == pytest.approx(3 * min(two_sided) / 2)


def test_the_early_pick_is_judged_on_samples_that_did_not_choose_it(planted):
    """By plain loops: whoever leads on one half after an attempt, beside whoever leads there at the end."""
    run, _ = planted
    labels, names = run.labels(), exam.preferred(exam.students(run))
    rows = [run.network_names().index(name) for name in names]
    right = [(run.predicted(e) == labels)[rows] for e in (1, 2, 3, 4)]
    splits = exam.Splits.of(run, labels, times=exam.FEW_TIMES)
    table = run.ask("attempts", by="attempt").table
    for row, now in zip(table.itertuples(), right, strict=True):
        ends, loss = [], []
        for k in range(len(splits)):
            choose, judge = splits.samples(k, 0), splits.samples(k)
            pick, best = (max(range(len(names)), key=lambda i, a=a: (a[i, choose].sum(), -i)) for a in (now, right[-1]))
            ends.append(right[-1][pick, judge].mean())
            loss.append(right[-1][best, judge].mean() - ends[-1])
        assert row.pick_last == pytest.approx(np.mean(ends))
        assert row.pick_loss == pytest.approx(np.mean(loss))
    assert (table["pick_loss"].iloc[-1], table["pick_p"].iloc[-1]) == (0, 1)
    first, text = table.iloc[0], run.ask("attempts").text
    where = f"{exam.points(abs(first['pick_loss']))} {'below' if first['pick_loss'] > 0 else 'above'}"
    assert f"({first['pick']} on all samples) ends {where} the best of the last one" in text
    assert f"and {exam.verdict(first['pick_p'])}." in text


def test_of_equal_networks_the_early_pick_is_as_good_as_the_late_one():
    """On all samples the best of 60 equals at the end is ahead of the early pick by more than a point, by luck."""
    rng = np.random.default_rng(0)
    flattered, judged, real = [], [], 0
    for _ in range(40):
        right = fickle(rng, 60, 360)
        splits = exam.Splits(np.stack([rng.permutation(360) % 2 for _ in range(10)]), 2, [])
        choosing = np.stack([splits.means(one, 0) for one in right])
        found = _judged.early(choosing, np.stack([choosing[-1], splits.means(right[-1])]), splits)
        judged.append(found["pick_loss"][0])
        real += found["pick_p"][0] < 0.05
        marks = right.mean(axis=2)
        flattered.append(marks[-1].max() - marks[-1, marks[0].argmax()])
    assert np.mean(flattered) > 0.01
    assert np.mean(judged) == pytest.approx(0, abs=0.003)
    assert real <= 4


def test_by_attempt_by_hand():
    wide = pd.DataFrame({1: [0.5, 0.7, 0.6], 2: [0.9, 0.8, 0.7]}, index=list("abc"))
    picks = pd.DataFrame({"pick_last": [0.8, 0.9], "pick_loss": [0.1, 0.0]}, index=[1, 2])
    rows = attempts.by_attempt(wide, pd.Series({1: 3.0, 2: 1.0}), picks)
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
        "name": list("abcd"), "computation": "Linear", "first": first,
        "last": [0.95, 0.97, 0.98, 1.0], "bloomer": False, "worse": False,
    })  # fmt: skip
    ax = Figure().subplots()
    _attempts.students(ax, each, ["Linear"])
    assert ax.get_xscale() == ax.get_yscale() == scale
    assert ax.get_xlim()[0] < lowest
    assert 0.98 < np.ma.getdata(ax.collections[0].get_offsets())[3, 1] < ax.get_ylim()[1]


def test_a_box_for_each_computation_at_each_attempt_and_late_bloomers_by_name(planted):
    run, _ = planted
    answer = run.ask("attempts", quantile=0.3)
    boxes, students, _ = answer.figure().axes
    families = run.ask("attempts", by="family").table
    enough = families[families["students"] >= 5]
    drawn = [patch for patch in boxes.patches if len(patch.get_path().vertices) > 4]
    assert len(drawn) == len(enough)
    quartiles = sorted(
        (patch.get_path().vertices[:4, 1].min(), patch.get_path().vertices[:4, 1].max()) for patch in drawn
    )
    np.testing.assert_allclose(quartiles, sorted(zip(enough["q25"], enough["q75"], strict=True)))
    few = families[families["students"] < 5]
    points = [line for line in boxes.lines if line.get_linestyle() == "None" and line.get_markersize() == 5]
    assert sum(len(line.get_xdata()) for line in points) == len(enough) + few["students"].sum()
    bloomers = answer.table.loc[answer.table["bloomer"], "name"].tolist()
    (named,) = (text.get_text() for text in students.texts)
    assert named.splitlines()[1:7] == bloomers[:6]
    low, high = (exam.percent(answer.table.attrs[end]) for end in ("low", "high"))
    assert any(f"below {low} at the first attempt, at least {high}" in t.get_text() for t in answer.figure().texts)


def test_of_many_attempts_some_evenly_between_have_boxes(tmp_path):
    run = Run(plant(tmp_path / "run", 12, 60, epochs=20).folder)
    ticks = [int(tick.get_text()) for tick in run.ask("attempts").figure().axes[0].get_xticklabels()]
    assert len(ticks) == 8
    assert (ticks[0], ticks[-1]) == (1, 20)


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
