import numpy as np
import pytest
from handmade import make_run, sure

from netpick import Run
from netpick.analysis import compare
from netpick.core.errors import NetpickError
from netpick.exam import plant
from netpick.exam.significance import bootstrap_difference, holm, mcnemar, mcnemar_counts


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return plant(tmp_path_factory.mktemp("compare") / "run", networks=70, samples=500, epochs=1)


@pytest.fixture(scope="module")
def run(planted):
    return Run(planted.folder)


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    plant(tmp_path_factory.mktemp("twice") / "run", networks=12, samples=300, epochs=1, replicates=3, scores="none")
    return Run(tmp_path_factory.getbasetemp() / "twice0" / "run")


def test_families_of_planted_skill(run):
    answer = run.ask("compare", rounds=300)
    table = answer.table.set_index(["a", "b"])
    assert table.loc[("ResNetStyle", "Linear"), "real"]
    assert table.loc[("ResNetStyle", "Linear"), "low"] > 0
    means = {}
    networks = run.networks.set_index("name")
    epochs = run.epochs[run.epochs["accuracy"] >= 0.8]
    accuracy = epochs.groupby(epochs["network"].astype(str).map(networks["computation"]))["accuracy"].mean()
    for (a, b), row in table.iterrows():
        means |= {a: row["accuracy_a"], b: row["accuracy_b"]}
        assert row["difference"] >= 0
        assert row["low"] <= row["difference"] <= row["high"]
    assert means == pytest.approx(accuracy.to_dict())
    assert len(table) == len(means) * (len(means) - 1) / 2
    assert answer.text.count("ResNetStyle is the most accurate") == 1


def test_by_activation_and_family(run):
    assert set(run.ask("compare", by="activation", rounds=100).table["a"]) <= {
        "None",
        "ReLU",
        "SELU",
        "Sigmoid",
        "Tanh",
    }
    answer = run.ask("compare", by="family", rounds=100, everyone=True)
    assert "Conv2d ReLU" in set(answer.table["a"]) | set(answer.table["b"])
    assert answer.figure().get_suptitle().startswith("Which families are really better?")


def test_the_grid_has_the_rows_of_the_means_and_no_empty_ones(run):
    answer = run.ask("compare", rounds=100)
    left, grid, _ = answer.figure().axes
    points = grid.images[0].get_array()
    names = [t.get_text() for t in left.get_yticklabels()]
    assert names == [t.get_text() for t in grid.get_xticklabels()]
    assert left.get_ylim() == grid.get_ylim() == (len(names) - 0.5, -0.5)
    assert (points.mask == np.eye(len(names), dtype=bool)).all()
    assert (points == -points.T).all()
    for row in answer.table.itertuples():
        assert points[names.index(row.a), names.index(row.b)] == pytest.approx(100 * row.difference)
    assert grid.images[0].norm(0.0) == 0.5  # white


def test_no_difference_is_found_where_there_is_none():
    """Networks of one skill, dealt out to families at random."""
    rng = np.random.default_rng(0)
    right = (rng.random((60, 300)) < 0.9).astype(float)
    p = [bootstrap_difference(right[i : i + 10], right[i + 10 : i + 20], 200).p for i in range(0, 60, 20)]
    assert holm(p).min() > 0.05


def test_two_networks(run):
    names = run.network_names()
    best = run.epochs.sort_values("accuracy")["network"].iloc[-1]
    a, b = str(best), "Basic"
    row = run.ask("compare", a=a, b=b).table.iloc[0]
    labels = run.labels()
    right = {n: run.predicted(networks=n)[0] == labels for n in names}
    assert row["only_a"] == sum(x and not y for x, y in zip(right[a], right[b], strict=True))
    assert row["only_b"] == sum(y and not x for x, y in zip(right[a], right[b], strict=True))
    assert row[["only_a", "only_b", "both", "neither"]].sum() == len(labels)
    assert row["p"] == mcnemar(right[a], right[b])
    assert row["p_exact"] == mcnemar(right[a], right[b], exact=True)
    assert row["difference"] == pytest.approx(right[a].mean() - right[b].mean())
    assert row["low"] < row["difference"] < row["high"]
    assert row["real"]
    answer = run.ask("compare", a=b, b=a)
    assert f"{b} is {100 * row['difference']:.2f} points less accurate than {a}" in answer.text
    assert answer.figure().get_suptitle() == f"{a} is really better than {b}"


def test_interval_of_two_networks_is_that_of_paired_samples(run):
    row = run.ask("compare", a=run.network_names()[3], b="Basic", rounds=2000).table.iloc[0]
    n = row[["only_a", "only_b", "both", "neither"]].sum()
    d = (row["only_a"] - row["only_b"]) / n
    error = np.sqrt((row["only_a"] + row["only_b"]) / n - d**2) / np.sqrt(n)
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_one_with_all(run):
    answer = run.ask("compare", a="Basic")
    table = answer.table
    assert "Basic" not in set(table["b"])
    raw = mcnemar_counts(table["only_a"], table["only_b"])
    assert table["p"].to_numpy() == pytest.approx(holm(raw))
    assert table["difference"].is_monotonic_decreasing
    worse = (table["real"] & (table["difference"] < 0)).sum()
    assert worse > 0
    assert f"really worse than {worse}," in answer.text
    answer.figure()


def test_replicates_are_averaged_for_families(twice):
    names, right = compare.mean_right(twice, twice.network_names())
    rows = twice.predictions(replicate=None)
    rows["right"] = rows["predicted"] == rows["label"]
    by_hand = rows.groupby(["network", "sample"], observed=True)["right"].mean().unstack().loc[names]
    assert right == pytest.approx(by_hand.to_numpy(), abs=1e-6)
    assert set(np.unique(np.round(right * 3, 4))) == {0, 1, 2, 3}


def test_replicates_of_two_networks(twice):
    answer = twice.ask("compare", a="Basic", b=twice.network_names()[-1])
    accuracy = twice.epochs.groupby("network", observed=True)["accuracy"].mean()
    assert answer.table["accuracy_a"][0] == pytest.approx(accuracy["Basic"])
    assert "over 3 and 3 replicates" in answer.note
    labels = twice.labels()
    parts = [
        np.concatenate([twice.predicted(networks=n, replicate=r) == labels for r in range(3)]).astype("f4")
        for n in ("Basic", twice.network_names()[-1])
    ]
    assert answer.table["p"][0] == pytest.approx(bootstrap_difference(*parts).p)
    assert "first replicate" in twice.ask("compare", a="Basic").note


def test_bad_input(run):
    with pytest.raises(NetpickError, match="did you mean 'Basic'"):
        run.ask("compare", a="Basix")
    with pytest.raises(NetpickError, match="there is no a"):
        run.ask("compare", b="Basic")
    with pytest.raises(NetpickError, match="two different networks"):
        run.ask("compare", a="Basic", b="Basic")
    with pytest.raises(NetpickError, match=r"by is 'activations' .did you mean 'activation'"):
        run.ask("compare", by="activations")
    with pytest.raises(NetpickError, match="rounds is 5"):
        run.ask("compare", rounds=5)


def test_one_family_alone(tmp_path):
    run = make_run(tmp_path / "run", {n: sure([0, 1, 1, 0], 2) for n in "AB"}, [0, 1, 1, 1])
    with pytest.raises(NetpickError, match="all 2 networks are Linear: there is nothing to compare by computation"):
        run.ask("compare", everyone=True)
    answer = run.ask("compare", a="A", b="B")
    assert answer.table["p"][0] == 1
    assert "A and B are equally accurate (75 %)" in answer.text
    answer.figure()
