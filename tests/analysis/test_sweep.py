"""The question `sweep`: lines of students that differ in one thing alone, on a run of which every answer is known."""

import json

import numpy as np
import pandas as pd
import pytest
from handmade import make_run, sure
from scipy import stats

from netpick import exam
from netpick.analysis import _lines
from netpick.core.errors import NetpickError
from netpick.exam import theme

LABELS = np.arange(100) % 2


def right(n):
    """Answers of which n are right."""
    return sure(np.where(np.arange(100) < n, LABELS, 1 - LABELS), 2)


def layers(*widths):
    return json.dumps([{"op": "Linear", "out_features": w} for w in (*widths, 2)])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    of = {"Small": (layers(8), {}), "Small.lr-0.1": (layers(8), {"lr": 0.1}), "Small.lr-1": (layers(8), {"lr": 1.0}),
          "Wide": (layers(64), {}), "Wide.lr-0.1": (layers(64), {"lr": 0.1}), "Deep": (layers(8, 8), {})}  # fmt: skip
    scores = {"Small": 60, "Small.lr-0.1": 90, "Small.lr-1": 50, "Wide": 95, "Wide.lr-0.1": 70, "Deep": 80}
    networks = {n: {"layers": one, "recipe": json.dumps(own), "depth": one.count("op")} for n, (one, own) in of.items()}
    return make_run(tmp_path_factory.mktemp("s") / "run", {n: right(k) for n, k in scores.items()}, LABELS, networks)


def test_a_line_joins_students_that_differ_in_one_value_alone(run):
    answer = run.ask("sweep", by="lr")
    found = [list(one) for one in answer.table[["line", "name", "accuracy", "best"]].itertuples(index=False)]
    assert found == [["Small.lr-0.1", "Small.lr-0.1", 0.9, True], ["Small.lr-0.1", "Small.lr-1", 0.5, False]]
    assert answer.text.startswith(
        "The best lr on test is 0.1 (Small.lr-0.1), with accuracy 90 % in 2 s, 40 percentage points from the next, 1"
    )
    assert "one replicate" in answer.text
    assert run.ask("sweep").table.equals(answer.table)  # the first that was swept


def test_what_no_two_students_differ_in_alone_is_not_asked_about_and_not_offered(tmp_path):
    sgd = {"optimizer": "SGD", "lr": 0.1}
    of = {
        "A": {**sgd, "optimizer_args": {"momentum": 0.0}}, "B": {**sgd, "optimizer_args": {"momentum": 0.9}},
        "C": {"optimizer": "Adam", "lr": 0.01, "optimizer_args": {}},
    }  # fmt: skip
    networks = {name: {"layers": layers(8), "recipe": json.dumps(own)} for name, own in of.items()}
    run = make_run(tmp_path / "run", {"A": right(60), "B": right(70), "C": right(80)}, LABELS, networks)
    assert run.ask("sweep").table[["name", "value"]].to_numpy().tolist() == [["A", 0.0], ["B", 0.9]]
    with pytest.raises(NetpickError, match="differ in optimizer alone: give momentum, "):
        run.ask("sweep", by="optimizer")


def test_properties_of_networks(run):
    width = run.ask("sweep", by="width").table
    assert [tuple(one) for one in width[["line", "name", "value"]].itertuples(index=False)] == [
        ("Small", "Small", 8), ("Small", "Wide", 64), ("Small.lr-0.1", "Small.lr-0.1", 8),
        ("Small.lr-0.1", "Wide.lr-0.1", 64),
    ]  # fmt: skip
    depth = run.ask("sweep", by="depth").table
    assert depth["name"].tolist() == ["Small", "Deep"]


def test_an_activation_with_parameters_is_compared_with_networks_of_as_many_layers(tmp_path):
    of = {"R": (layers(8), "ReLU", 2), "P": (layers(8), "PReLU", 3), "Deep": (layers(8, 8), "ReLU", 3)}
    networks = {n: {"layers": one, "activation": a, "depth": d} for n, (one, a, d) in of.items()}
    scores = {"R": right(60), "P": right(70), "Deep": right(80)}
    run = make_run(tmp_path / "run", scores, LABELS, networks)
    table = run.ask("sweep", by="activation").table
    assert sorted(table["name"]) == ["P", "R"]  # not Deep, though a PReLU makes `depth` 3 as well
    assert table["line"].nunique() == 1


def test_two_spellings_of_one_network_are_on_one_line(tmp_path):
    linear = {"op": "Linear", "in_features": 4, "out_features": 2}
    short = json.dumps([{"op": "Flatten"}, linear, {"op": "LogSoftmax"}])
    long = json.dumps([{"op": "Flatten"}, {**linear, "bias": True}, {"op": "LogSoftmax", "dim": 1}])
    networks = {"Base": {"layers": short, "recipe": "{}"}, "Base.lr-0.1": {"layers": long, "recipe": '{"lr": 0.1}'}}
    run = make_run(tmp_path / "run", {"Base": right(60), "Base.lr-0.1": right(70)}, LABELS, networks)
    run.manifest["recipe"]["lr"] = 0.5
    table = run.ask("sweep", by="lr").table
    assert table[["name", "value"]].to_numpy().tolist() == [["Base.lr-0.1", 0.1], ["Base", 0.5]]
    assert table["line"].nunique() == 1


def test_bad_options_are_one_line(run):
    with pytest.raises(NetpickError, match=r"'batch' is not swept in .*: give lr, "):
        run.ask("sweep", by="batch")
    with pytest.raises(NetpickError, match=r"metric is 'acuracy' .did you mean 'accuracy'"):
        run.ask("sweep", metric="acuracy")


def test_nothing_swept(tmp_path):
    run = make_run(tmp_path / "run", {"A": np.stack([right(50), right(70)]), "B": right(60)}, LABELS)
    answer = run.ask("sweep")
    assert answer.note.startswith("nothing of the recipe is swept in this run; --by can be ")
    assert answer.table[["line", "value", "accuracy"]].to_numpy().tolist() == [
        ["A", 1, 0.5],
        ["A", 2, 0.7],
        ["B", 1, 0.6],
    ]


def test_the_figure(run, tmp_path):
    for by in ("lr", "width", "attempt"):
        assert run.ask("sweep", by=by).save(tmp_path / f"{by}.png").stat().st_size > 10_000
    above = run.ask("sweep", by="width").figure().axes[0]
    assert sorted(one.get_text() for one in above.texts) == ["Small", "Small.lr-0.1"]
    above = run.ask("sweep", by="lr").figure().axes[0]
    assert [one.get_text() for one in above.texts] == ["Small"]  # what differs on a line stands on the axis


def test_attempts_are_whole_and_a_figure_of_nothing_swept_says_so(tmp_path):
    scores = {name: np.stack([right(50 + i), right(60), right(70 + i)]) for i, name in enumerate("ABCDEFGHIJ")}
    run = make_run(tmp_path / "run", scores, LABELS)
    fig = run.ask("sweep").figure()
    assert fig.get_suptitle() == "Nothing was swept: the best 8 of 10 students, by attempt"
    assert "2 more lines are in the table" in {t.get_text() for t in fig.texts}
    assert [t.get_text() for t in fig.axes[1].get_xticklabels()] == ["1", "2", "3"]
    assert not fig.legends
    assert {line.get_color() for line in fig.axes[0].lines} == {theme.colour("Linear")}


def line(values):
    """A line of a sweep, the best value first, from (values, replicates) of a metric."""
    frame = {"accuracy": values.mean(axis=1), "spread": values.std(axis=1, ddof=1), "replicates": values.shape[1]}
    return pd.DataFrame(frame).sort_values("accuracy", ascending=False)


def test_p_is_that_of_games_and_howell():
    values = np.random.default_rng(0).normal([[0.9], [0.88], [0.8]], [[0.01], [0.03], [0.02]], (3, 4))
    order = line(values)
    try:
        theirs = stats.tukey_hsd(*values, equal_var=False).pvalue
    except TypeError:
        pytest.skip("this SciPy has no such test")
    expected = [theirs[order.index[0], i] for i in order.index[1:]]
    assert _lines.chance(order, "accuracy") == pytest.approx(expected, abs=1e-6)


def test_equal_values_are_noise():
    """Of two equal values with two replicates each, twice the standard error was passed in 1 of 7 lines."""
    rng = np.random.default_rng(0)
    lines = [line(rng.normal(0.9, 0.01, (2, 2))) for _ in range(60)]
    assert sum(_lines.chance(one, "accuracy")[0] < _lines.ALPHA for one in lines) <= 3

    def passed(one):
        best, second = one.iloc[0], one.iloc[1]
        return best["accuracy"] - second["accuracy"] > 2 * np.hypot(best["spread"], second["spread"]) / np.sqrt(2)

    assert sum(map(passed, lines)) > 3


def test_ties_are_counted():
    rows = line(np.array([[0.90, 0.91, 0.92], [0.905, 0.91, 0.915], [0.5, 0.51, 0.5]]))
    rows = rows.assign(line="A", value=["a", "b", "c"], name=["a", "b", "c"], seconds=1.0, best=[True, False, False])
    text = _lines.sentence(rows, "optimizer", "accuracy", "test")
    assert "which is no more than noise (p = " in text
    assert " 1 of the other 2 values can't be told from the best." in text
    apart = _lines.sentence(rows.assign(accuracy=[0.99, 0.91, 0.5]), "optimizer", "accuracy", "test")
    assert "which is more than noise (p = " in apart
    assert "can't be told" not in apart


def sweep_of(values, replicates=1):
    """The table of a sweep of values (lines, values), NaN where there is none, the line with the best one first."""
    rows = [(i, f"{v:g}", x) for i, line in enumerate(values) for v, x in enumerate(line) if not np.isnan(x)]
    frame = pd.DataFrame(rows, columns=["line", "value", "accuracy"])
    tops = frame.groupby("line")["accuracy"].transform("max")
    frame = frame.assign(name="N", seconds=1.0, spread=0.01, replicates=replicates, best=frame["accuracy"] == tops)
    return frame.assign(top=tops).sort_values(["top", "line"], ascending=[False, True], kind="stable")


def test_over_all_lines_each_two_values_are_compared_on_those_that_have_both():
    """Value 2 is on the five best networks alone: its mean is the highest, and on each of them it is the worst."""
    rng = np.random.default_rng(0)
    values = np.linspace(0.9, 0.5, 12)[:, None] + [0.02, 0.0, -0.03] + rng.normal(0, 0.005, (12, 3))
    values[5:, 2], values[3, 0], values[11, 1] = np.nan, np.nan, np.nan
    found = _lines.over_lines(sweep_of(values), "accuracy")
    assert (found.best, found.runner_up, found.lines) == ("0", "1", 11)  # one of the lines has one value alone
    apart = [values[:, 0] - values[:, k] for k in (1, 2)]
    apart = [one[~np.isnan(one)] for one in apart]
    assert found.gap == pytest.approx(apart[0].mean())
    t = stats.ttest_1samp(apart[0], 0).statistic
    assert found.p["1"] == pytest.approx(stats.studentized_range.sf(np.sqrt(2) * t, 3, len(apart[0]) - 1))
    assert np.isnan(found.p["2"])  # four lines have both
    text = _lines.sentence(sweep_of(values), "optimizer", "accuracy", "test")
    gap = exam.points(found.gap)
    assert f" Over all 11 lines 0 is best, {gap} from the next, 1, on average, which is more" in text
    assert text.endswith(" 1 of the other 2 values can't be told from the best.")


def test_a_network_that_takes_a_value_well_counts_once_however_many_replicates_it_has():
    rng = np.random.default_rng(1)
    told = sum(
        bool((_lines.over_lines(sweep_of(rng.normal(0.9, 0.02, (6, 3)), 50), "accuracy").p < 0.05).any())
        for _ in range(20)
    )
    assert told <= 3
    assert _lines.over_lines(sweep_of(rng.normal(size=(4, 3))), "accuracy") is None  # too few lines


def test_the_line_that_is_spoken_of_is_one_of_many():
    """Of a line named beforehand the first is told from the next; of the best of 30 that may be luck."""
    one = line(np.array([[0.95, 0.951, 0.949], [0.94, 0.9405, 0.9395]])).assign(
        line="A", value=["a", "b"], name="N", seconds=1.0, best=[True, False]
    )
    others = [one.assign(line=f"B{i}", accuracy=0.5) for i in range(29)]
    assert "which is more than noise (p = " in _lines.sentence(one, "optimizer", "accuracy", "test")
    assert "which is no more than noise" in _lines.sentence(pd.concat([one, *others]), "optimizer", "accuracy", "test")


def test_one_replicate_says_nothing_of_noise():
    rows = line(np.array([[0.9, 0.8], [0.7, 0.6]])).assign(replicates=1, spread=np.nan)
    assert np.isnan(_lines.chance(rows, "accuracy")).all()


def test_a_swept_loss_is_not_taken_for_the_metric_of_that_name(tmp_path):
    networks = {name: {"layers": layers(8), "recipe": json.dumps({"loss": name})} for name in ("mse", "nll")}
    run = make_run(tmp_path / "run", {"mse": right(60), "nll": right(90)}, LABELS, networks)
    for metric, best in (("accuracy", "nll"), ("loss", "nll")):
        table = run.ask("sweep", by="loss", metric=metric).table
        assert table[["name", "value"]].to_numpy().tolist() == [["mse", "mse"], ["nll", "nll"]]
        assert table.loc[table["best"], "name"].tolist() == [best]
        assert run.ask("sweep", metric=metric).table.equals(table)


OWN = {  # accuracy in % on validation and on test
    "A.lr-0.1": (90, 88), "A.lr-0.01": (60, 60), "B.lr-0.1": (70, 70), "B.lr-0.01": (95, 93), "C.lr-0.1": (80, 79),
    "C.lr-0.01": (75, 97),
}  # fmt: skip


def swept_run(folder, scores, validation=True):
    networks = {
        name: {"layers": layers(8 + ord(name[0])), "recipe": json.dumps({"lr": float(name[5:])})} for name in scores
    }
    known = ({name: right(score[0]) for name, score in scores.items()}, LABELS) if validation else None
    return make_run(folder, {n: right(s[1]) for n, s in scores.items()}, LABELS, networks, validation=known)


def test_who_is_best_at_its_own_best_value_is_chosen_on_validation_and_judged_on_test(tmp_path):
    """B wins at its own, A at the common one; C with the highest score on test is not looked at."""
    run = swept_run(tmp_path / "run", OWN)
    said = (
        "With each of 3 lines at its own best lr, chosen on validation, the best is B.lr-0.01: 93 % right on test. "
        "The best lr for all of them, by their mean, is 0.1; 1 of 3 do better with another. There the best is "
        "A.lr-0.1: 88 %, 5 percentage points less, and that is real (p = 0.031)."  # 5 samples of 5: 2 / 32 less half
    )
    for split in (None, "test"):
        assert run.ask("sweep", by="lr", split=split).text.endswith(said)
    assert "own best" not in run.ask("sweep", by="lr", metric="loss").text
    assert "own best" not in run.ask("sweep", by="params").text


def test_the_best_at_its_own_value_may_be_the_best_at_the_common_one(tmp_path):
    run = swept_run(tmp_path / "run", {**OWN, "A.lr-0.1": (96, 88)})
    assert run.ask("sweep").text.endswith("1 of 3 do better with another. The best is the same there.")
    apart = {"A.lr-0.1": (90, 88), "A.lr-0.2": (60, 60), "B.lr-0.3": (70, 70), "B.lr-0.4": (95, 93)}
    text = swept_run(tmp_path / "apart", apart).ask("sweep").text
    assert text.endswith("the best is B.lr-0.4: 93 % right on test. No lr was given to all of them.")


def test_without_validation_it_is_said_what_to_add(tmp_path):
    answer = swept_run(tmp_path / "run", OWN, validation=False).ask("sweep")
    assert "at its own best lr is chosen on other samples" in answer.note
    assert "--set recipe.validation=0.1" in answer.note
    assert "own best" not in answer.text


def test_tables_of_augmentation_can_be_compared(tmp_path):
    networks = {
        name: {"layers": layers(8), "recipe": json.dumps({"augment": how})}
        for name, how in {"Plain": {}, "Moved": {"shift": 2, "flip": True}}.items()
    }
    run = make_run(tmp_path / "run", {"Plain": right(60), "Moved": right(90)}, LABELS, networks)
    answer = run.ask("sweep", by="augment")
    assert answer.table[["name", "value"]].to_numpy().tolist() == [["Plain", "none"], ["Moved", "shift 2, flip"]]
    assert answer.text.startswith("The best augment on test is shift 2, flip (Moved)")
