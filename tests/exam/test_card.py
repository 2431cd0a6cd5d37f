import numpy as np
import pandas as pd
import pytest
from scipy.stats import percentileofscore
from sklearn.metrics import confusion_matrix

from netpick import Run, exam
from netpick.core.errors import RunError
from netpick.exam import plant
from netpick.exam.network_card import card, percentile
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.networks.paper.written import layer_table, written


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card") / "run"
    plant(folder, networks=24, samples=200, classes=4, epochs=2, failed=1, pending=1, confusing=0)
    return Run(folder)


@pytest.fixture(scope="module")
def name(run):
    return run.network_names()[5]


def test_confusions_are_those_of_scikit_learn(run, name):
    one = card(run, name, most=100)
    rows = run.predictions(networks=name)
    table = confusion_matrix(rows["label"], rows["predicted"], labels=range(4))
    expected = {(str(i), str(j)): table[i, j] for i in range(4) for j in range(4) if i != j and table[i, j]}
    found = one.confusions
    assert {(r.true, r.taken_for): r.times for r in found.itertuples()} == expected
    assert found["times"].is_monotonic_decreasing
    first = found.iloc[0]
    assert first["share"] == first["times"] / table[int(first["true"])].sum()
    samples = [int(s) for s in first["samples"].split(", ")]
    picked = rows.set_index("sample").loc[samples]
    assert (picked["label"] == int(first["true"])).all()
    assert (picked["predicted"] == int(first["taken_for"])).all()
    assert one.classes["accuracy"].tolist() == pytest.approx((table.diagonal() / table.sum(axis=1)).tolist())
    assert one.classes["precision"].tolist() == pytest.approx((table.diagonal() / table.sum(axis=0)).tolist())
    np.fill_diagonal(table, 0)
    assert one.classes["mostly_taken_for"].tolist() == [str(c) for c in table.argmax(axis=1)]
    assert len(card(run, name, most=2).confusions) == 2


def test_epochs_ranks_and_costs(run, name):
    one = card(run, name)
    rows = run.epochs[run.epochs["network"] == name]
    assert one.epochs["accuracy"].tolist() == rows["accuracy"].tolist()
    last = run.epochs[run.epochs["epoch"] == 2].set_index("network")
    rank = int((last["accuracy"] > last.loc[name, "accuracy"]).sum()) + 1
    assert f"rank {rank} of {len(last)} (percentile" in one.summary
    for c in range(4):
        better = (last[f"accuracy_{c}"] > last.loc[name, f"accuracy_{c}"] + 1e-12).sum()
        assert one.classes["rank"][c] == better + 1
    best = card(run, exam.best(exam.students(run)))
    assert f", {exam.labelled(run, exam.students(run))}" in best.summary
    assert "flattered" not in card(run, last["accuracy"].astype(float).idxmin()).summary
    costs = one.costs.set_index("cost")
    row = run.networks.set_index("name").loc[name]
    assert costs.loc["macs", "value"] == row["macs"]
    assert costs.loc["params", "basic"] == run.networks.set_index("name").loc["Basic", "params"]
    assert costs.loc["seconds", "value"] == pytest.approx(rows["train_seconds"].sum())


def test_percentile_is_scipys():
    values = np.array([1.0, 2, 2, 2, 5])
    for value in (0, 1, 2, 3, 5):
        assert percentile(values, value) == pytest.approx(percentileofscore(values, value, kind="mean"))


def test_layers_with_shapes():
    layers = [
        layer("Reshape", shape=[1, 8, 8]),
        layer("Conv2d", in_channels=1, out_channels=6, kernel_size=[3, 2], bias=False),
        layer("BasicBlock", inplanes=6, planes=6, stride=2, activation="Tanh"),
        layer("MaxPool2d", kernel_size=[2, 2]),
        layer("Reshape", shape=[12]),
        layer("Linear", in_features=12, out_features=3),
        layer("LogSoftmax"),
    ]
    table = layer_table(layers, (1, 8, 8))
    assert table["layer"].tolist() == [
        "Reshape(1, 8, 8)",
        "Conv2d(1, 6, kernel_size=(3, 2), bias=False)",
        "BasicBlock(6, 6, stride=2, activation='Tanh')",
        "MaxPool2d(kernel_size=2)",
        "Reshape(12)",
        "Linear(12, 3)",
        "LogSoftmax(dim=1)",
    ]
    assert table["shape"].tolist() == ["1×8×8", "6×6×7", "6×3×4", "6×1×2", "12", "3", "3"]
    block = (
        2 * (9 * 6 * 6 + 2 * 6) + 6 * 6 + 2 * 6
    )  # two convolutions with batch norm, and the 1×1 shortcut with its own
    assert table["params"].tolist() == [0, 6 * 3 * 2, block, 0, 0, 12 * 3 + 3, 0]
    assert written(layer("Dropout", p=0.25)) == "Dropout(p=0.25)"


def test_layers_of_a_run_add_up(run, name):
    row = run.networks.set_index("name").loc[name]
    one = card(run, name)
    assert one.layers["params"].sum() == row["params"]
    assert one.layers["macs"].sum() == row["macs"]
    assert len(one.layers) == len(NetworkSpec.from_dict({"name": name, **row}).layers)


def test_text_has_every_section(run, name):
    one = card(run, name)
    assert str(one) == one.text
    assert one.text.startswith(f"{name}\n")
    for heading in ("Layers", "Cost", "Epochs", "Classes", "What it confuses", "Trainings", "Note: "):
        assert f"\n{heading}" in one.text
    assert all(isinstance(frame, pd.DataFrame) for frame in one.sections.values())


def test_network_without_answers(run):
    failed = run.trainings.loc[run.trainings["status"] == "failed", "network"].iloc[0]
    one = card(run, failed)
    assert "it has no answers (failed)" in one.summary
    assert one.classes.empty
    assert list(one.sections) == ["Layers", "Cost", "Trainings", "Recipe"]
    assert one.trainings["error"].tolist() == ["planted: failed"]
    pending = set(run.networks["name"]) - set(run.trainings["network"])
    assert "not trained yet" in card(run, pending.pop()).summary


def test_unknown_network(run):
    with pytest.raises(RunError, match=r"no network 'Basix' .did you mean 'Basic'"):
        card(run, "Basix")


def test_scores_are_not_needed_and_replicates_are_averaged(tmp_path):
    plant(tmp_path / "run", networks=12, samples=60, epochs=1, replicates=2, scores="none")
    run = Run(tmp_path / "run")
    one = card(run, "Basic")
    assert len(one.trainings) == 2
    assert one.epochs["accuracy"][0] == run.epochs.loc[run.epochs["network"] == "Basic", "accuracy"].mean()
