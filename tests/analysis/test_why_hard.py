import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from scipy.stats import fisher_exact

from netpick import Run
from netpick.analysis import why_hard
from netpick.core.errors import NetpickError
from netpick.exam import plant
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
    rng = np.random.default_rng(0)
    right = rng.random((30, 4)) < 0.3
    groups = {("computation", "A"): np.arange(30) < 12, ("size", "B"): np.arange(30) % 3 == 0}
    table = why_hard._compare(right, groups)
    expected = []
    for members in groups.values():
        for s in range(4):
            inside, outside = right[members, s], right[~members, s]
            square = [[inside.sum(), (~inside).sum()], [outside.sum(), (~outside).sum()]]
            expected.append(fisher_exact(square, alternative="greater").pvalue)
    assert table["p"].tolist() == pytest.approx(holm(expected).tolist())
    assert table["column"].tolist() == [0, 1, 2, 3] * 2


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
