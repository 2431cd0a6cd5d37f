import numpy as np
import pytest
from handmade import make_run, sure
from scipy import stats
from sklearn.metrics import roc_auc_score

from netpick import exam
from netpick.analysis import best
from netpick.core.errors import RunError
from netpick.exam import plant
from netpick.exam.planted.redrawn import Redrawn
from netpick.exam.run import Run


def test_percentiles_agree_with_scipy_and_accuracies_with_the_answers(planted):
    run, _ = planted
    for options in ({}, {"network": "Basic"}, {"network": "Basic", "everyone": True}):
        table = run.ask("best", **options).table
        frame = exam.students(run)
        who = frame["name"] if options.get("everyone") else frame.loc[frame["good"], "name"]
        name = options.get("network") or exam.best(frame[frame["good"]])
        assert name in set(who)
        right = {n: run.predicted(networks=[n])[0] == run.labels() for n in who}
        for row in table.to_dict("records"):
            mine = run.labels() == row["label"] if row["label"] >= 0 else np.ones(500, bool)
            values = np.array([right[n][mine].mean() for n in who])
            own = right[name][mine].mean()
            assert row["samples"] == mine.sum()
            assert row["accuracy"] == pytest.approx(own)
            assert row["percentile"] == pytest.approx(stats.percentileofscore(values, own, kind="rank"))
            assert row["rank"] == 1 + (values > own + 1e-12).sum()
            assert row["top"] == pytest.approx(values.max())
            assert row["median"] == pytest.approx(np.median(values))
            assert row["equals"] == (abs(values - own) < 1e-12).sum() - 1


def test_best_overall_is_not_best_everywhere(tmp_path):
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    right, wrong = labels, 1 - labels
    answers = {"a": right.copy(), "b": right.copy(), "c": right.copy()}
    answers["a"][7] = wrong[7]  # 100 % and 75 %
    answers["b"][:2] = wrong[:2]  # 50 % and 100 %
    answers["c"][[0, 4]] = wrong[[0, 4]]  # 75 % and 75 %
    run = make_run(tmp_path / "run", {n: sure(a, 2) for n, a in answers.items()}, labels)
    answer = run.ask("best", good=0.5)
    table = answer.table.set_index("class_name")
    assert answer.text.startswith("a has 87.5 % (best of 3, flattered by about ")
    assert "points; rank 1 of 3) and is the most accurate in 1 of 2 classes (c0)" in answer.text
    assert table["rank"].tolist() == [1, 2, 1]
    assert table["percentile"].tolist() == pytest.approx([100, 50, 100])
    assert table.loc["c1", "top_name"] == "b"
    assert answer.text.endswith("Asked were 3 good students of 3 (at least 50 % in every attempt).")


def test_a_named_student_that_is_not_good_is_placed_beside_the_good_ones(planted):
    run, truth = planted
    answer = run.ask("best", network=truth.weak[0])
    assert f"{truth.weak[0]} is not good itself" in answer.note
    assert answer.table["rank"].iloc[-1] == exam.students(run)["good"].sum() + 1


def test_by_areas_a_student_is_placed_by_what_scikit_learn_makes_of_its_scores(planted):
    run, _ = planted
    table = run.ask("best", by="auc", everyone=True).table
    labels, names = run.labels(), run.network_names()
    areas = np.array([[roc_auc_score(labels == c, one[:, c]) for c in range(10)] for one in run.scores()])
    areas = np.column_stack([areas, areas.mean(axis=1)])
    own = areas[names.index(exam.best(exam.students(run)))]
    assert table["auc"].tolist() == pytest.approx(own.tolist())
    assert table["top"].tolist() == pytest.approx(areas.max(axis=0).tolist())
    assert table["rank"].tolist() == (1 + (areas > own + 1e-9).sum(axis=0)).tolist()
    assert "of the area under the ROC curve, mean over the classes" in run.ask("best", by="auc").text
    assert "ROC" in run.ask("best", by="auc").figure().axes[0].get_ylabel()


def test_the_best_of_equals_is_in_the_middle_on_samples_that_played_no_part(tmp_path):
    """All networks are equally good: who is best on all samples is no better than the others on new ones."""
    plant(tmp_path / "run", 30, 240, classes=2, epochs=1, scores="none")
    labels, rng, judged = Run(tmp_path / "run").labels(), np.random.default_rng(0), []
    for _ in range(12):
        given = np.where(rng.random((30, 240)) < 0.9, labels, 1 - labels)
        run = Redrawn(tmp_path / "run", given)
        answer = run.ask("best", everyone=True)
        whole = answer.table.iloc[-1]
        assert whole["percentile"] > 90
        assert f"the best is at percentile {whole['judged']:.0f} over all (95 % interval " in answer.text
        judged.append(whole["judged"])
    assert np.mean(judged) == pytest.approx(50, abs=15)
    worst = run.network_names()[int((given == labels).mean(axis=1).argmin())]
    other = run.ask("best", network=worst, everyone=True)
    assert other.table["judged"].isna().all()
    assert "flattered" not in other.text


def test_the_best_of_all_is_named_where_it_is_not_good(tmp_path):
    """b is the best in the end, and was too low in the first attempt."""
    labels = np.arange(20) % 2
    late = np.stack([1 - labels, labels])
    steady = np.stack([np.where(np.arange(20) < 2, 1 - labels, labels)] * 2)
    answers = {"b": late, **{f"a{i}": steady for i in range(5)}}
    run = make_run(tmp_path / "run", {n: np.stack([sure(e, 2) for e in a]) for n, a in answers.items()}, labels)
    answer = run.ask("best")
    assert answer.text.startswith("a0 has 90 % (best of 5 good ones, flattered by about ")
    assert "b, the best of all, is not good" in answer.note
    assert run.ask("versus", second="a0").text.startswith("b has 100 % right")


def test_unknown_network(planted):
    with pytest.raises(RunError, match="did you mean 'Basic'"):
        planted[0].ask("best", network="Basics")


def test_figure_shows_the_lowest_student_too(planted):
    run, _ = planted
    marks = best.by_class(run, "test")
    assert run.ask("best", everyone=True).figure().axes[0].get_ylim()[0] < marks.min(axis=None)


def test_a_class_without_samples_has_no_place(tmp_path):
    labels = np.array([0, 0, 1, 1])
    run = make_run(tmp_path / "run", {n: sure(labels, 3) for n in "abc"}, labels)
    answer = run.ask("best")
    assert np.isnan(answer.table.loc[2, "accuracy"])
    assert "classes without samples" in answer.note
    assert "in 2 of 2 classes" in answer.text
    assert answer.figure().axes


def test_edges(edge):
    answer = edge[0].ask("best")
    assert len(answer.table) == len(edge[0].classes) + 1
    assert answer.figure().axes
