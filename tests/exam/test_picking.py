import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from netpick import Run, exam
from netpick.core.errors import NetpickError, RunError
from netpick.exam import Splits, pick, plant
from netpick.exam.picking.areas import class_auc
from netpick.exam.picking.columns import NUMBERS
from netpick.exam.picking.constraints import bounds
from netpick.exam.picking.objectives import pareto
from netpick.exam.planted.redrawn import Redrawn


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return plant(tmp_path_factory.mktemp("pick") / "run", networks=60, samples=600, epochs=2, failed=1)


@pytest.fixture(scope="module")
def run(truth):
    return Run(truth.folder)


@pytest.fixture(scope="module")
def right(run):
    """Whether each network is right on each test sample, by a route of its own."""
    rows = run.predictions()
    rows["right"] = rows["predicted"] == rows["label"]
    return rows.astype({"network": str}).pivot(index="network", columns="sample", values="right")


@pytest.fixture(scope="module")
def halves(run, right):
    """Accuracy of each network on both halves of each split."""
    splits = Splits.of(run, run.labels(), times=50)
    return [tuple(right[splits.samples(k, part)].mean(axis=1) for part in (0, 1)) for k in range(50)]


def cheapest(accuracy, costs, give_up):
    """The network with fewest macs of those that are nearly as accurate as the best; of equals the more accurate."""
    near = [n for n in accuracy.index if accuracy[n] >= accuracy.max() - give_up - 1e-12]
    return min(near, key=lambda n: (costs[n], -accuracy[n]))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20))
def test_pareto_is_its_definition(points):
    frame = pd.DataFrame(points, columns=["macs", "accuracy"])
    expected = [not any(m <= macs and a >= acc and (m, a) != (macs, acc) for m, a in points) for macs, acc in points]
    assert pareto(frame, ["macs"], ["accuracy"]).tolist() == expected


def test_default_is_low_macs_and_high_accuracy(run, right):
    found = pick(run, give_up=0.01)
    accuracy, costs = right.mean(axis=1), run.networks.set_index("name")["macs"]
    cheap = cheapest(accuracy, costs, 0.01)
    assert found.name == cheap
    table = found.table.set_index("name")
    assert table["accuracy"].to_dict() == pytest.approx(accuracy[table.index].to_dict())
    assert table.index[table["suggested"]].tolist() == [cheap]
    for name in table.index[~table["runner_up"]]:  # nobody beats a network of the front
        beaten = (costs[accuracy.index] <= costs[name]) & (accuracy > accuracy[name] + 1e-12)
        assert not beaten.any()
    assert found.candidates == len(accuracy)


def test_it_is_judged_by_making_the_choice_again_on_halves(run, halves):
    found = pick(run, give_up=0.01)
    costs = run.networks.set_index("name")["macs"]
    won = [cheapest(choose, costs, 0.01) for choose, _ in halves]
    judged = [judge[name] for name, (_, judge) in zip(won, halves, strict=True)]
    assert found.judged.mean == pytest.approx(np.mean(judged))
    room = stats.t.ppf(0.975, 49) * np.std(judged, ddof=1) * np.sqrt(1 / 50 + 1)  # Nadeau and Bengio
    assert found.judged.high - found.judged.mean == pytest.approx(room)
    assert (
        f"Take {found.name}: {exam.percent(np.mean(judged))} (95 % interval {exam.percent(found.judged.low)} to "
        f"{exam.percent(found.judged.high)}) on samples that played no part in the choice"
    ) in found.text
    table = found.table.set_index("name")
    assert table["chosen"].to_dict() == pytest.approx({n: won.count(n) / 50 for n in table.index})
    assert f"On half of the samples it is chosen in {won.count(found.name)} of 50 draws" in found.text
    assert table.loc[found.name, "judged"] == pytest.approx(found.judged.mean)


def test_the_seed_is_not_what_is_picked(run):
    names = {pick(run, seed=seed).name for seed in range(4)}
    assert len(names) == 1
    assert pick(run, seed=1).judged.mean != pick(run).judged.mean


def test_the_best_overall_and_the_runner_up_are_rows(run, right):
    found = pick(run)
    assert exam.best(exam.students(run)) in set(found.table["name"])
    assert found.table.loc[found.table["runner_up"], "name"].tolist() == [found.runner_up]
    assert f"picked from {found.candidates}, flattered by about " in found.text


def test_what_is_chosen_of_equals_is_as_good_as_any(truth):
    """All networks are right on 92 %: on all samples the best has more, and is not reported with it."""
    labels = Run(truth.folder).labels()
    seeming, judged, covered = [], [], 0
    for seed in range(12):
        wrong = np.random.default_rng(seed).random((len(truth.names), len(labels))) >= 0.92
        found = pick(
            Redrawn(truth.folder, np.where(wrong, (labels + 1) % 10, labels)), maximize=["accuracy"], give_up=0
        )
        seeming.append(found.table["accuracy"].max())
        judged.append(found.judged.mean)
        covered += found.judged.low <= 0.92 <= found.judged.high
    assert np.mean(seeming) > 0.938
    assert np.mean(judged) == pytest.approx(0.92, abs=0.005)
    assert covered >= 10


def test_runner_up_and_whether_the_difference_is_real(run):
    found = pick(run, {"max_macs": 2e5}, give_up=0.01)
    second = pick(run, {"max_macs": 2e5, "name": [n for n in run.network_names() if n != found.name]}, give_up=0.01)
    assert found.runner_up == second.name
    assert found.runner_up in found.text
    assert "that is real (p" in found.text or "that may be chance (p" in found.text


def test_constraints(run):
    students = exam.students(run).set_index("name")
    found = pick(run, {"max_params": 50_000, "min_depth": 3, "computation": ["Conv2d", "Conv3d"], "activation": "None"})
    mine = students.loc[found.table["name"]]
    assert (mine["params"] <= 50_000).all()
    assert (mine["depth"] >= 3).all()
    assert set(mine["computation"]) <= {"Conv2d", "Conv3d"}
    assert set(mine["activation"]) == {"None"}
    meets = (students["params"] <= 50_000) & (students["depth"] >= 3) & (students["activation"] == "None")
    assert found.candidates == (meets & students["computation"].isin(["Conv2d", "Conv3d"])).sum()
    one = pick(run, {"min_class_accuracy": 0.9, "min_accuracy": 0.9})
    assert (one.table["class_accuracy"] >= 0.9).all()


def test_class_accuracy_is_that_of_the_worst_class(run):
    found = pick(run)
    labels = run.labels()
    right = run.predicted(networks=found.name)[0] == labels
    row = found.table.set_index("name").loc[found.name]
    assert row["class_accuracy"] == min(right[labels == c].mean() for c in range(10))
    assert 0 < row["judged_class"] < 1


def worst_area(probabilities, labels):
    return min(roc_auc_score(labels == c, probabilities[:, c]) for c in range(probabilities.shape[1]))


def test_the_area_of_the_worst_class_bounds_and_is_an_objective(run):
    labels, scores, names = run.labels(), run.scores(), run.network_names()
    areas = pd.Series([worst_area(one, labels) for one in scores], names)
    bound = float(areas.quantile(0.7))
    found = pick(run, {"min_class_auc": bound})
    assert found.candidates == (areas >= bound).sum()
    assert found.table.set_index("name")["class_auc"].to_dict() == pytest.approx(areas[found.table["name"]].to_dict())
    assert pick(run, maximize=["class_auc"]).name == areas.idxmax()
    assert "class_auc" not in pick(run).table


def test_the_area_is_that_of_the_part_that_chooses(run):
    """In each draw the network is taken whose area on the chosen half is largest."""
    labels, scores, names = run.labels(), run.scores(), run.network_names()
    splits = Splits.of(run, labels, times=50)
    few = names[:4]
    costs = run.networks.set_index("name")["macs"]
    won = []
    for k in range(50):
        part = splits.samples(k, 0)
        areas = {n: round(worst_area(one[part], labels[part]), 12) for n, one in zip(few, scores, strict=False)}
        won.append(max(few, key=lambda n: (areas[n], -costs[n])))
    found = pick(run, {"name": few}, maximize=["class_auc"])
    assert found.table.set_index("name")["chosen"].to_dict() == pytest.approx(
        {name: won.count(name) / 50 for name in found.table["name"]}
    )


def test_equal_scores_count_by_half_and_an_empty_class_is_left_out():
    scores = np.array([[[3, 1], [2, 1], [2, 1], [1, 1]]], float)  # the second class: all equal
    labels = np.array([0, 0, 1, 1])
    parts = np.array([[True] * 4, [True, True, False, False]])
    found = class_auc(scores, labels, parts)
    assert found[0, 0] == 0.5
    assert np.isnan(found[0, 1])
    assert class_auc(scores[:, :, [0, 0]] * [1, -1], labels, parts)[0, 0] == (2 + 1 + 0.5) / 4


def test_several_objectives(run):
    found = pick(run, minimize=["params", "seconds"], maximize=["class_accuracy"])
    frame = exam.students(run).set_index("name")
    assert len(found.table) >= len(pick(run, minimize=["params"], maximize=["class_accuracy"]).table)
    assert (frame.loc[found.table["name"], "params"].to_numpy() == found.table["params"].to_numpy()).all()
    only = pick(run, maximize=["accuracy"])
    assert only.table.loc[~only.table["runner_up"], "accuracy"].nunique() == 1


@pytest.mark.parametrize(
    ("constraints", "says"),
    [
        ({"max_params": 10}, r"max_params = 10 is to blame, which none of \d+ networks meets .params goes down to \d+"),
        ({"min_accuracy": 1.0}, r"min_accuracy = 1 is to blame"),
        ({"max_prams": 10}, r"no column 'prams' .did you mean 'params'.* for max_prams"),
        ({"params": 10}, r"no constraint 'params' .did you mean 'm.._params'"),
        ({"colour": "red"}, r"no constraint 'colour'"),
        ({"max_params": "many"}, r"max_params is 'many': give a number"),
        ({"min_accuracy": 97}, r"min_accuracy is 97.*: give a number from 0 to 1"),
        ({"computation": "Conv2"}, r"no computation 'Conv2' .did you mean 'Conv2d'"),
    ],
)
def test_bad_constraints(run, constraints, says):
    with pytest.raises(NetpickError, match=says):
        pick(run, constraints)


def test_constraints_in_the_words_of_a_command_line():
    words = ["--max-params", "20_000", "--min-class-accuracy=0.9"]
    assert bounds(words) == {"max_params": 20_000.0, "min_class_accuracy": 0.9}
    for words, says in (
        (["--params", "3"], "netpick pick has no option '--params'"),
        (["--max-params"], "--max-params: wants a number, got None"),
        (["--max-params=few"], "--max-params: wants a number, got 'few'"),
    ):
        with pytest.raises(NetpickError, match=says):
            bounds(words)


def test_the_constraint_to_blame_and_the_nearest_network(run, right):
    costs = run.networks.set_index("name")["params"]
    with pytest.raises(NetpickError) as caught:
        pick(run, {"max_params": 700, "min_accuracy": 0.95, "max_macs": 1e9})
    without = int((right.mean(axis=1) >= 0.95).sum())
    assert f"max_params = 700 is to blame, without which {without} would" in str(caught.value)
    assert "the nearest is Basic (params 650" in str(caught.value)
    assert costs["Basic"] == 650
    with pytest.raises(NetpickError, match=r"to blame|exclude each other"):
        pick(run, {"computation": "ResNetStyle", "activation": "Tanh"})


def test_bad_objectives(run):
    with pytest.raises(NetpickError, match=r"no column 'mac' .did you mean 'macs'"):
        pick(run, minimize=["mac"])
    with pytest.raises(NetpickError, match="macs is to be minimized and maximized"):
        pick(run, minimize=["macs"], maximize=["macs"])
    with pytest.raises(NetpickError, match="give_up is 2"):
        pick(run, give_up=2)


@pytest.mark.parametrize(
    "objectives", [(["macs"], ["accuracy"]), (["params", "seconds"], ["class_accuracy"]), ([], ["accuracy"])]
)
def test_figure(run, objectives, tmp_path):
    found = pick(run, {"max_params": 100_000}, *objectives)
    fig = found.figure()
    assert found.name in fig.get_suptitle()
    assert found.save(tmp_path / "pick.svg").stat().st_size > 1000


def test_one_network_and_no_scores(tmp_path):
    plant(tmp_path / "run", networks=12, samples=60, classes=2, epochs=1, scores="none", basic=False)
    run = Run(tmp_path / "run")
    name = run.network_names()[0]
    found = pick(run, {"name": name})
    assert (found.name, found.runner_up) == (name, None)
    assert "There is no runner-up." in found.text
    assert set(NUMBERS) - {*exam.TIMED, "class_auc"} <= set(found.table.columns)  # not timed, and no scores to ask for
    with pytest.raises(RunError, match="scores"):
        pick(run, {"min_class_auc": 0.9})


def test_with_a_validation_split_the_choice_is_made_on_it_and_the_test_set_judges(tmp_path):
    run = Run(plant(tmp_path / "run", networks=20, samples=300, epochs=2, validation=200).folder)
    rows = run.predictions(split=None)
    rows["right"] = rows["predicted"] == rows["label"]
    scores = rows.astype({"network": str, "split": str}).groupby(["split", "network"])["right"].mean()
    found = pick(run, maximize=["accuracy"], give_up=0)
    assert found.name == scores["validation"].idxmax()
    table = found.table.set_index("name")
    assert table["accuracy"].to_dict() == pytest.approx(scores["validation"][table.index].to_dict())
    assert table["judged"].to_dict() == pytest.approx(scores["test"][table.index].to_dict())
    interval = stats.binomtest(round(300 * scores["test"][found.name]), 300).proportion_ci(0.95, "wilson")
    assert (found.judged.low, found.judged.high) == pytest.approx((interval.low, interval.high))
    accuracy = exam.percent(scores["validation"][found.name])
    said = f"({accuracy} on the validation set, which it was chosen by: picked from 20,"
    assert f"Take {found.name}: {exam.percent(scores['test'][found.name])} (95 % interval " in found.text
    assert said in found.text
    assert "chosen on 200 validation samples, judged on all 300 test samples" in found.note


def test_a_word_that_is_not_unicode_is_refused_like_any_other(run):
    with pytest.raises(NetpickError, match="among the networks"):
        pick(run, {"computation": "\udcff"})
