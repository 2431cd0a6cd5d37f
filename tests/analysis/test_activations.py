"""activations: a table by plain counts, and a test of spread that agrees with scipy's and finds what was planted."""

import numpy as np
import pandas as pd
import pytest
from handmade import make_run, sure
from scipy import stats

from netpick import exam
from netpick.analysis import _ranks, activations
from netpick.core.errors import NetpickError

SAMPLES = 400


def made(folder, wrong):
    """A run of these families: (computation, activation) to how many of 400 answers of each network are wrong."""
    cells = {f"{c}-{a}-{i}": n for (c, a), each in wrong.items() for i, n in enumerate(each)}
    answers = {name: sure((np.arange(SAMPLES) < n).astype(int), 2) for name, n in cells.items()}
    networks = {name: dict(zip(("computation", "activation"), name.split("-")[:2], strict=True)) for name in cells}
    return make_run(folder, answers, np.zeros(SAMPLES, int), networks)


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    """In two computations SELU spreads little and Sigmoid much, about one median; a third one has ReLU alone."""
    rng = np.random.default_rng(0)
    spreads = {"SELU": 5, "Sigmoid": 30}
    wrong = {
        (c, a): (40 + rng.integers(-s, s + 1, 20)).tolist() for c in ("Linear", "Conv2d") for a, s in spreads.items()
    }
    wrong |= {("Linear", "ReLU"): [41] * 20, ("Conv2d", "ReLU"): [39] * 4, ("ResNetStyle", "ReLU"): [4] * 8}
    return made(tmp_path_factory.mktemp("activations") / "run", wrong)


def test_table_by_a_plain_count(planted):
    run, _ = planted
    table, frame = run.ask("activations").table, exam.students(run)
    cells = table[table["computation"] != "all"]
    assert len(cells) == len(frame.groupby(["computation", "activation"]))
    for row in cells.to_dict("records"):
        scores = frame.query("computation == @row['computation'] and activation == @row['activation']")["accuracy"]
        assert row["students"] == len(scores)
        expected = np.percentile(scores, [0, 10, 25, 50, 75, 100])
        assert [row[c] for c in ("least", "tenth", "q25", "median", "q75", "most")] == pytest.approx(expected.tolist())
        assert row["spread"] == pytest.approx(stats.iqr(scores))


def test_the_planted_spread_is_found_and_chance_is_not(families):
    answer = families.ask("activations")
    assert "Sigmoid" in answer.text.partition("SELU is steadier than ")[2]
    whole = answer.table[answer.table["computation"] == "all"].set_index("activation")
    assert whole.loc["SELU", "steadier"] == 1
    assert whole.loc["Sigmoid", ["steadier", "riskier"]].tolist() == [0, 2]
    assert answer.table.loc[answer.table["computation"] != "all", "steadier"].isna().all()
    assert "steadier than" not in families.ask("activations", alpha=0.0).text


def test_activations_of_one_kind_are_chance(tmp_path):
    """Of 40 draws without a difference few are called real."""
    rng, real = np.random.default_rng(1), 0
    for _ in range(40):
        frame = pd.DataFrame({"computation": np.repeat(["A", "B"], 30), "activation": np.tile(["x", "y", "z"], 20)})
        frame["accuracy"], frame["name"] = 0.9 + 0.02 * rng.standard_t(3, 60), "n"
        real += activations.spreads(frame, 0.05)["real"].any()
    assert real <= 6


def test_in_one_computation_it_is_the_rank_test_of_mann_and_whitney_on_distances():
    rng = np.random.default_rng(2)
    one, other = rng.integers(0, 9, 12) / 10, rng.integers(3, 12, 17) / 10
    z = _ranks.stratified([(one, other)])
    expected = stats.mannwhitneyu(one, other, method="asymptotic", use_continuity=False).pvalue
    assert 2 * stats.norm.sf(abs(z)) == pytest.approx(expected)
    assert z < 0
    assert _ranks.stratified([(one, other), (other, one)]) == pytest.approx(0)  # they contradict each other
    assert abs(_ranks.stratified([(one, other)] * 4)) == pytest.approx(2 * abs(z))
    assert _ranks.stratified([(np.ones(5), np.ones(6))]) == 0


def test_what_has_one_activation_only_is_named_beside_the_mean(families):
    text = families.ask("activations").text
    frame = exam.students(families)
    rest = frame[frame["computation"] != "ResNetStyle"].groupby("activation")["accuracy"].mean()
    relu = exam.percent(frame.loc[frame["activation"] == "ReLU", "accuracy"].mean())
    assert f"ReLU has the highest mean ({relu}); 8 of its networks are ResNetStyle, which has no other" in text
    first = rest.idxmax()
    assert f"without these it has {exam.percent(rest['ReLU'])}" in text
    assert ("still the first" in text) == (first == "ReLU")


def test_a_panel_a_computation_and_a_box_an_activation_of_five(families):
    axes = [ax for ax in families.ask("activations").figure().axes if ax.get_title(loc="left")]
    assert [ax.get_title(loc="left") for ax in axes] == ["Linear", "Conv2d", "ResNetStyle"]
    boxes = [sum(len(patch.get_path().vertices) > 4 for patch in ax.patches) for ax in axes]
    assert boxes == [3, 2, 1]
    points = [len(line.get_xdata()) for line in axes[1].lines if line.get_marker() == exam.theme.marker("Conv2d")]
    assert points == [4]


def test_edges(edge, planted):
    run, _ = edge
    answer = run.ask("activations")
    assert answer.figure().axes
    assert answer.text
    with pytest.raises(NetpickError, match="alpha is 2"):
        run.ask("activations", alpha=2)
