import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpick import Run, exam
from netpick.core.errors import NetpickError
from netpick.exam import pick, plant
from netpick.exam.picking.columns import NUMBERS
from netpick.exam.picking.constraints import bounds
from netpick.exam.picking.objectives import pareto
from netpick.exam.significance import mcnemar


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return plant(tmp_path_factory.mktemp("pick") / "run", networks=60, samples=600, epochs=2, failed=1)


@pytest.fixture(scope="module")
def run(truth):
    return Run(truth.folder)


@pytest.fixture(scope="module")
def halves(run):
    """Accuracy of each network on the half that is chosen by, and on the other, by a route of its own."""
    rows = run.predictions()
    rows["right"] = rows["predicted"] == rows["label"]
    labels = run.labels()
    parts = exam.halves(len(labels), 0, labels)
    return [rows[rows["sample"].isin(p)].groupby("network", observed=True)["right"].mean() for p in parts]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20))
def test_pareto_is_its_definition(points):
    frame = pd.DataFrame(points, columns=["macs", "accuracy"])
    expected = [not any(m <= macs and a >= acc and (m, a) != (macs, acc) for m, a in points) for macs, acc in points]
    assert pareto(frame, ["macs"], ["accuracy"]).tolist() == expected


def test_default_is_low_macs_and_high_accuracy(run, halves):
    found = pick(run, give_up=0.01)
    best = halves[0].max()
    costs = run.networks.set_index("name")["macs"]
    cheap = min((n for n in halves[0].index if halves[0][n] >= best - 0.01), key=lambda n: (costs[n], -halves[0][n]))
    assert found.name == cheap
    table = found.table.set_index("name")
    assert table["accuracy"].to_dict() == pytest.approx(halves[0][table.index].to_dict())
    assert table["judged"].to_dict() == pytest.approx(halves[1][table.index].to_dict())
    assert table.index[table["suggested"]].tolist() == [cheap]
    assert f"Take {cheap}: {exam.percent(halves[1][cheap])} on samples that played no part in the choice" in found.text
    for name in table.index:  # nobody beats a network of the front
        beaten = (costs[halves[0].index] <= costs[name]) & (halves[0] > halves[0][name] + 1e-12)
        assert not beaten.any()
    assert found.candidates == len(halves[0])


def test_the_choice_sees_nothing_of_the_half_that_judges(run, halves):
    """The most accurate on the chosen half is taken even where another is better on the rest."""
    found = pick(run, maximize=["accuracy"], give_up=0)
    assert found.name == halves[0].idxmax()
    assert halves[1].max() > halves[1][found.name] or halves[1].idxmax() == found.name
    other = pick(run, maximize=["accuracy"], give_up=0, seed=1)
    assert other.table["accuracy"].iloc[0] != found.table["accuracy"].iloc[0]


def test_runner_up_and_whether_the_difference_is_real(run):
    found = pick(run, {"max_macs": 2e5}, give_up=0.01)
    second = pick(run, {"max_macs": 2e5, "name": [n for n in run.network_names() if n != found.name]}, give_up=0.01)
    assert found.runner_up == second.name
    assert found.runner_up in found.text
    labels = run.labels()
    judge = exam.halves(len(labels), 0, labels)[1]
    right = {n: (run.predicted(networks=n)[0] == labels)[judge] for n in (found.name, found.runner_up)}
    p = mcnemar(right[found.name], right[found.runner_up])
    if right[found.name].mean() != right[found.runner_up].mean():
        assert f"(p = {p:.2g})" in found.text or "p < 0.0001" in found.text


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
    choose, judge = exam.halves(len(labels), 0, labels)
    right = run.predicted(networks=found.name)[0] == labels
    row = found.table.set_index("name").loc[found.name]
    for column, part in (("class_accuracy", choose), ("judged_class", judge)):
        assert row[column] == min(right[part][labels[part] == c].mean() for c in range(10))


def test_several_objectives(run):
    found = pick(run, minimize=["params", "seconds"], maximize=["class_accuracy"])
    frame = exam.students(run).set_index("name")
    assert len(found.table) >= len(pick(run, minimize=["params"], maximize=["class_accuracy"]).table)
    assert (frame.loc[found.table["name"], "params"].to_numpy() == found.table["params"].to_numpy()).all()
    only = pick(run, maximize=["accuracy"])
    assert only.table["accuracy"].nunique() == 1


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


def test_the_constraint_to_blame_and_the_nearest_network(run, halves):
    costs = run.networks.set_index("name")["params"]
    with pytest.raises(NetpickError) as caught:
        pick(run, {"max_params": 700, "min_accuracy": 0.95, "max_macs": 1e9})
    without = int((halves[0] >= 0.95).sum())
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
    assert set(NUMBERS) - set(exam.TIMED) <= set(found.table.columns)  # nothing was timed


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
    assert (
        f"{exam.percent(scores['test'][found.name])} on the test set, which played no part in the choice" in found.text
    )
    assert "chosen on 200 validation samples, judged on all 300 test samples" in found.note
