import numpy as np
import pandas as pd
import pytest
from handmade import make_run, sure

from netpick import Run
from netpick.analysis import compare
from netpick.core.errors import NetpickError
from netpick.exam import Strata, plant
from netpick.exam.planted.redrawn import Redrawn
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
    assert table.loc[("ResNetStyle", "Conv1d"), "real"]
    assert table.loc[("ResNetStyle", "Conv1d"), "low"] > 0
    means = {}
    networks = run.networks.set_index("name")
    epochs = run.epochs[run.epochs["accuracy"] >= 0.8]
    accuracy = epochs.groupby(epochs["network"].astype(str).map(networks["computation"]))["accuracy"].mean()
    for (a, b), row in table.iterrows():
        means |= {a: row["accuracy_a"], b: row["accuracy_b"]}
        assert row["difference"] >= 0
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["real"] == (row["p"] < 0.05) == (row["low"] > 0)
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
    accuracy = run.epochs.astype({"network": str}).set_index("network")["accuracy"].sort_values()
    a, b = accuracy.index[accuracy < accuracy.max()][-1], "Basic"
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
    answers = {"A": [0, 1, 1, 0], "B": [0, 1, 1, 0], "Best": [0, 1, 1, 1]}
    run = make_run(tmp_path / "run", {n: sure(a, 2) for n, a in answers.items()}, [0, 1, 1, 1])
    with pytest.raises(NetpickError, match="all 3 networks are Linear: there is nothing to compare by computation"):
        run.ask("compare", everyone=True)
    answer = run.ask("compare", a="A", b="B")
    assert answer.table["p"][0] == 1
    assert "A and B are equally accurate (75 %)" in answer.text
    answer.figure()


def confounded(folder, computations, activations, accuracy, samples=400):
    """A run of networks of these families, each with about the accuracy of its computation and activation."""
    rng = np.random.default_rng(1)
    labels = np.arange(samples) % 4
    p, networks = {}, {}
    for i, (computation, activation) in enumerate(zip(computations, activations, strict=True)):
        wrong = rng.random(samples) >= accuracy[computation] + accuracy[activation] + rng.normal(0, 0.005)
        p[f"N{i}"] = sure(np.where(wrong, (labels + 1) % 4, labels), 4)
        networks[f"N{i}"] = {"computation": computation, "activation": activation}
    return make_run(folder, p, labels, networks, keep="none")


def test_activations_are_compared_within_computations(tmp_path):
    """All of the best computation have ReLU; in the other one Tanh is better than ReLU."""
    kinds = [("ResNetStyle", "ReLU")] * 12 + [("Linear", "ReLU")] * 4 + [("Linear", "Tanh")] * 8
    accuracy = {"ResNetStyle": 0.97, "Linear": 0.85, "ReLU": 0.0, "Tanh": 0.04}
    run = confounded(tmp_path / "run", *zip(*kinds, strict=True), accuracy)
    answer = run.ask("compare", by="activation")
    row = answer.table.iloc[0]
    assert row["accuracy_a"] < row["accuracy_b"]  # the plain means say the contrary
    assert (row["a"], row["b"], row["real"]) == ("Tanh", "ReLU", True)
    right = {n: (run.predicted(networks=n)[0] == run.labels()).mean() for n in run.network_names()}
    plain = np.array(list(right.values()))
    assert row["difference"] == pytest.approx(plain[16:].mean() - plain[12:16].mean())
    assert ", compared within each computation, Tanh is the most accurate" in answer.text
    assert "ResNetStyle has one activation only, and says nothing of activations" in answer.note


def test_what_is_completely_confounded_is_said(tmp_path):
    kinds = [("Conv2d", "ReLU")] * 6 + [("Linear", "Tanh")] * 6
    run = confounded(
        tmp_path / "run", *zip(*kinds, strict=True), {"Conv2d": 0.97, "Linear": 0.85, "ReLU": 0, "Tanh": 0}
    )
    answer = run.ask("compare", by="activation")
    assert answer.table["p"].isna().all()
    assert not answer.table["real"].any()
    assert "Tanh can't be compared with ReLU: no computation has both" in answer.text
    assert answer.figure().axes


def test_families_without_strata_are_compared_by_welch(tmp_path):
    """Where all samples say the same of a network, only the networks vary."""
    from scipy import stats

    rng = np.random.default_rng(2)
    a, b = 0.8 + 0.1 * rng.random(9), 0.75 + 0.1 * rng.random(14)
    right = np.concatenate([a, b])[:, None] * np.ones((1, 50))
    group = pd.Series(["a"] * 9 + ["b"] * 14)
    found = Strata.of(right, group, pd.Series([""] * 23)).difference(0, 1)
    theirs = stats.ttest_ind(a, b, equal_var=False)
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()))


@pytest.fixture(scope="module")
def equals(tmp_path_factory):
    return plant(tmp_path_factory.mktemp("equals") / "run", 60, 300, epochs=1, scores="none").folder


def test_the_best_of_equals_is_not_called_better(equals):
    """All networks are equally good: as if named beforehand, the best is better than another in 4 of 5 draws."""
    labels = Run(equals).labels()
    claimed = as_if_named = 0
    for seed in range(10):
        wrong = np.random.default_rng(seed).random((60, 300)) >= 0.93
        run = Redrawn(equals, np.where(wrong, (labels + 1) % 10, labels))
        right = ~wrong
        top = int(right.sum(axis=1).argmax())
        raw = mcnemar_counts((right[top] & ~right).sum(axis=1), (~right[top] & right).sum(axis=1))
        as_if_named += holm(np.delete(raw, top)).min() < 0.05
        answer = run.ask("compare", a=run.network_names()[top])
        claimed += answer.table["real"].any()
        assert "best of 60, flattered by about " in answer.text
    assert as_if_named >= 3
    assert claimed == 0
