import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from scipy.stats import fisher_exact

from netpick import Run, exam
from netpick.analysis import _alike, why_hard
from netpick.core.errors import NetpickError
from netpick.exam import plant
from netpick.exam.planted.redrawn import Redrawn
from netpick.exam.significance import holm


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return plant(tmp_path_factory.mktemp("why") / "run", networks=80, samples=300, epochs=1)


@pytest.fixture(scope="module")
def run(planted):
    return Run(planted.folder)


@pytest.fixture(scope="module")
def answer(run):
    return run.ask("why_hard")


def test_the_planted_specialists_are_found_and_nobody_else(planted, answer):
    only = answer.table[answer.table["only"]]
    assert set(only["sample"]) == set(planted.specialist)
    first = answer.table.drop_duplicates("sample")
    mine = first[first["sample"].isin(planted.specialist)]
    assert set(mine["group"]) == {planted.specialists}
    assert (mine["share"] == 1).all()
    assert (mine["others"] == 0).all()
    assert f"Only {planted.specialists} networks read number {mine['sample'].iloc[0]} (100 % of them" in answer.text
    assert not set(answer.table["sample"]) & {*planted.weird, *planted.mislabelled, *planted.easy, *planted.confusing}


def test_shares_and_p_values_by_hand(run, answer):
    students = run.ask("why_hard", hard=0.4, alpha=1.0, stray=0).table
    networks = run.networks.set_index("name")
    good = run.epochs.groupby("network", observed=True)["accuracy"].min() >= 0.8
    names = [n for n in run.network_names() if good[n]]
    right = pd.DataFrame(run.predicted(networks=names) == run.labels(), index=names)
    row = students[students["way"] == "computation"].iloc[3]
    inside = networks.loc[names, "computation"] == row["group"]
    a, b = right[row["sample"]][inside], right[row["sample"]][~inside]
    assert row["networks"] == inside.sum()
    assert row["share"] == pytest.approx(a.mean())
    assert row["others"] == pytest.approx(b.mean())
    assert row["right"] == pytest.approx(right[row["sample"]].mean())
    assert row["right"] < 0.4
    assert answer.table["p"].max() <= 0.05


def test_p_values_are_fishers_corrected_by_holm():
    """Where networks differ in nothing else."""
    rng = np.random.default_rng(0)
    right = rng.random((30, 4)) < 0.3
    networks = pd.DataFrame({"computation": "Linear", "activation": "ReLU"}, range(30))
    groups = {("computation", "A"): np.arange(30) < 12, ("size", "B"): np.arange(30) % 3 == 0}
    table = why_hard._compare(right, np.arange(4), groups, networks, 1)
    assert (table["within"] == "").all()
    expected = []
    for members in groups.values():
        for s in range(4):
            inside, outside = right[members, s], right[~members, s]
            square = [[inside.sum(), (~inside).sum()], [outside.sum(), (~outside).sum()]]
            expected.append(fisher_exact(square, alternative="greater").pvalue)
    assert table["p"].tolist() == pytest.approx(holm(expected).tolist())
    assert table["sample"].tolist() == [0, 1, 2, 3] * 2


def test_within_strata_p_is_the_share_of_all_ways_to_deal_out_the_members():
    """Of all groups with as many members in each stratum: how many get as much right.

    A stratum of members alone says nothing.
    """
    right = np.random.default_rng(4).random((15, 3)) < 0.5
    strata, members = np.repeat([0, 1, 2], [5, 6, 4]), np.isin(np.arange(15), [0, 1, 5, 6, 7, 11, 12, 13, 14])
    found = _alike.compare(right, members, strata)
    ways = [[*a, *b] for a in combinations(range(5), 2) for b in combinations(range(5, 11), 3)]
    own = right[[0, 1, 5, 6, 7]].sum(axis=0)
    assert found.p == pytest.approx(np.mean([right[way].sum(axis=0) >= own for way in ways], axis=0))
    assert found.share == pytest.approx(own / 5)
    others = (2 * right[2:5].mean(axis=0) + 3 * right[8:11].mean(axis=0)) / 5
    assert found.others == pytest.approx(others)


def test_of_too_many_networks_some_are_drawn(run):
    answer = run.ask("why_hard", networks=40)
    assert "hard for 40 networks drawn from " in answer.text
    groups = answer.table[answer.table["way"] == "computation"].set_index("group")["networks"]
    chosen = exam.selected(run)
    share = chosen["computation"].value_counts() * 40 / len(chosen)
    assert len(groups)
    assert all(abs(groups[[name]].iloc[0] - share[name]) < 4 for name in groups.index.unique())
    assert "drawn" not in run.ask("why_hard", networks=80).text


def test_groups_are_compared_with_those_of_the_same_computation_or_activation():
    computation = np.array(["Linear"] * 3 + ["Conv2d"] * 2 + ["ResNetStyle"] * 2)
    activation = np.array(["None", "ReLU", "Tanh", "None", "ReLU", "ReLU", "ReLU"])
    for members, within in (
        (activation == "ReLU", "computation"), (computation == "ResNetStyle", "activation"),
        (computation != "Linear", "activation"),
    ):  # fmt: skip
        assert _alike.strata_of(members, computation, activation)[0] == within
    alone = np.where(computation == "Linear", "Tanh", "ReLU")  # nobody else has it, in either
    assert _alike.strata_of(computation == "Linear", computation, alone)[0] == ""


def test_what_one_computation_reads_is_not_put_down_to_its_activation_or_size(planted):
    """ResNetStyle networks read 40 samples, and all have ReLU: the others that have it read none of them better."""
    rng, run = np.random.default_rng(0), Run(planted.folder)
    labels, reads = run.labels(), (run.networks["computation"] == "ResNetStyle").to_numpy()
    chance = np.where(np.arange(300) < 40, np.where(reads[:, None], 0.98, 0.03), 0.98)
    wrong = rng.random((len(reads), 300)) >= chance
    answer = Redrawn(planted.folder, np.where(wrong, (labels + 1) % 10, labels)).ask("why_hard", everyone=True)
    assert answer.table["sample"].nunique() > 20
    assert set(answer.table["way"]) <= {"computation", "layers", "first layer"}
    assert (answer.table.loc[answer.table["group"] == "ResNetStyle", "within"] == "activation").all()
    top = answer.table.iloc[0]
    shares = " and ".join(f"{100 * top[column]:.0f} %" for column in ("share_within", "others_within"))
    assert f"read number {top['sample']} more often (" in answer.text
    assert f"; with the same activation {shares})" in answer.text


def layers(*ops):
    return json.dumps([{"op": op} for op in ("Reshape", *ops, "LogSoftmax")])


def test_groups():
    networks = pd.DataFrame(
        {
            "computation": ["Linear", "Conv1d", "Conv2d", "ResNetStyle"],
            "activation": ["None", "ReLU", "ReLU", "ReLU"],
            "layers": [layers("Linear"), layers("Conv1d"), layers("Conv2d", "Linear"), layers("Conv2d", "BasicBlock")],
            "params": [10, 40, 20, 30],
        }
    )
    groups = {k: np.flatnonzero(v).tolist() for k, v in why_hard.groups_of(networks).items()}
    assert groups == {
        ("computation", "Linear"): [0],
        ("computation", "Conv1d"): [1],
        ("computation", "Conv2d"): [2],
        ("computation", "ResNetStyle"): [3],
        ("activation", "ReLU"): [1, 2, 3],
        ("first layer", "Conv2d"): [2, 3],
    }  # "without convolutions" is Linear again, "with" is ReLU; each quarter by params is one network
    assert list(why_hard.groups_of(networks, least=2)) == [("activation", "ReLU"), ("first layer", "Conv2d")]


@pytest.mark.parametrize(
    ("way", "group", "words"),
    [
        ("computation", "Conv2d", "Conv2d networks"),
        ("layers", "with convolutions", "networks with convolutions"),
        ("first layer", "Conv1d", "networks that begin with Conv1d"),
        ("activation", "None", "networks without activations"),
        ("activation", "Tanh", "networks with Tanh"),
        ("size", "largest quarter", "the largest quarter by params"),
    ],
)
def test_in_words(way, group, words):
    assert why_hard.in_words(way, group) == words


def test_figure_has_the_images_and_their_captions(planted, answer):
    fig = answer.figure()
    titles = [text.get_text() for text in fig.findobj(Text)]
    assert any(
        f"no. {planted.specialist[0]}:" in t and f"only {planted.specialists}\n100 %, others 0 %" in t for t in titles
    )


def test_no_sample_is_hard(run):
    answer = run.ask("why_hard", hard=0.0)
    assert len(answer.table) == 0
    assert answer.text.startswith("No sample is hard")
    answer.figure()


def test_bad_input(run):
    with pytest.raises(NetpickError, match="hard is 3"):
        run.ask("why_hard", hard=3)
    with pytest.raises(NetpickError, match="least is 0"):
        run.ask("why_hard", least=0)
    with pytest.raises(NetpickError, match="none of the groups"):
        run.ask("why_hard", least=1000)
