import numpy as np
import pandas as pd
import pytest
from handmade import make_run, sure

from netpick import Run
from netpick.analysis import learning
from netpick.core.errors import NetpickError
from netpick.exam import Splits, plant

LABELS = np.array([0, 1, 2, 0, 1, 2])
#        epochs 1-4 of samples 0-5, o is right
ANSWERS = {
    "A": ["oo..oo", "o.o.oo", "oo..oo", "o.o.oo"],
    "B": [".oo.oo", "ooo.oo", "ooo.o.", "ooo.oo"],
}
CONFIDENCE = {"A": 0.9, "B": 0.6, "C": 0.9, "D": 0.9}


def write(folder, epochs=4, keep="all", answers=ANSWERS):
    probabilities = {}
    for name, rows in answers.items():
        given = [np.where([c == "o" for c in row], LABELS, (LABELS + 1) % 3) for row in rows[:epochs]]
        probabilities[name] = np.array([sure(g, 3, CONFIDENCE[name]) for g in given])
    return make_run(folder, probabilities, LABELS, keep=keep)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write(tmp_path_factory.mktemp("learning") / "run")


def test_counts_by_hand(run):
    table = run.ask("learning", everyone=True).table.set_index("sample").loc[range(6)]
    #                                        A, sample 1: o.o.  sample 2: .o.o      B, sample 5: oo.o
    assert table["forgetting"].tolist() == [0, 2 / 2, 1 / 2, 0, 0, 1 / 2]
    assert table["forgot"].tolist() == [0, 1 / 2, 1 / 2, 0, 0, 1 / 2]
    assert table["never"].tolist() == [0, 0, 0, 1, 0, 0]
    assert table["unforgettable"].tolist() == [1, 1 / 2, 1 / 2, 0, 1, 1 / 2]
    assert table["right"].tolist() == [1, 1 / 2, 1, 0, 1, 1]
    assert table["settled"].tolist()[:3] == [(1 + 2) / 2, 1, (4 + 1) / 2]
    assert np.isnan(table["settled"][3])
    assert table["settled"].tolist()[4:] == [1, (1 + 4) / 2]


def test_confidence_and_variability_by_hand(run):
    table = run.ask("learning", everyone=True).table.set_index("sample").loc[range(6)]
    for sample in range(6):
        means, spreads = [], []
        for name, rows in ANSWERS.items():
            c = CONFIDENCE[name]
            given = [c if row[sample] == "o" else (1 - c) / 2 for row in rows]
            means.append(np.mean(given))
            spreads.append(np.std(given))
        assert table["confidence"][sample] == pytest.approx(np.mean(means), abs=1e-6)
        assert table["variability"][sample] == pytest.approx(np.mean(spreads), abs=1e-6)
    assert table["region"].tolist() == ["easy", "ambiguous", "ambiguous", "hard", "easy", "easy"]


def test_blocks_change_nothing(run, monkeypatch):
    whole = run.ask("learning", everyone=True).table
    monkeypatch.setattr(learning, "PIECE", 1)
    monkeypatch.setattr(learning, "BLOCK", 5)
    assert run.ask("learning", everyone=True).table.equals(whole)


def test_planted_samples_are_found_and_no_others(tmp_path):
    truth = plant(tmp_path / "run", networks=30, samples=400, epochs=4, bloomers=0, worse=0)
    run = Run(tmp_path / "run")
    table = run.ask("learning").table.set_index("sample")
    assert set(table.index[table["forgot"] > 0.9]) == set(truth.forgotten)
    assert set(table.index[table["settled"] > 3.9]) == set(truth.late)
    assert (table["settled"][truth.easy] == 1).all()
    assert (table["unforgettable"][truth.easy] == 1).all()
    assert set(table.index[: len(truth.forgotten)]) == set(truth.forgotten)
    predictions = run.predictions(epoch=None)  # the same by pandas, for all networks
    predictions["right"] = predictions["predicted"] == predictions["label"]
    wide = predictions.pivot_table("right", ["network", "sample"], "epoch", observed=True).astype(bool)
    events = sum((wide[e] & ~wide[e + 1]).astype(int) for e in (1, 2, 3)).groupby("sample").mean()
    everyone = run.ask("learning", everyone=True, confidence=False).table.set_index("sample")
    assert everyone["forgetting"].loc[events.index].tolist() == pytest.approx(events.tolist())
    lost = pd.concat([wide[e] & ~wide[e + 1] for e in (1, 2, 3)], axis=1).any(axis=1)
    kept = ~lost.groupby("sample").any() & wide.any(axis=1).groupby("sample").any()
    none = ~wide.any(axis=1).groupby("sample").any()
    said = run.ask("learning", everyone=True, confidence=False).text
    assert f"{kept.sum()} of 400 samples are never forgotten by any of those that learn them" in said
    assert f"{none.sum()} are right for none in any epoch" in said
    assert kept.sum() > (everyone["unforgettable"] == 1).sum()  # some learn them late, or never
    scores = np.stack([np.exp(run.scores(e)[:, np.arange(400), run.labels()]) for e in (1, 2, 3, 4)])
    found = run.ask("learning", everyone=True).table.set_index("sample").loc[range(400)]
    assert found["confidence"].to_numpy() == pytest.approx(scores.mean(axis=(0, 1)), abs=1e-6)
    assert found["variability"].to_numpy() == pytest.approx(scores.std(axis=0).mean(axis=0), abs=1e-6)


def test_one_epoch(tmp_path):
    answer = write(tmp_path / "run", epochs=1).ask("learning", everyone=True)
    assert (answer.table[["forgetting", "variability"]] == 0).all(axis=None)
    assert "one attempt" in answer.note
    assert answer.text.startswith("With one epoch nothing can be forgotten")
    answer.figure()


@pytest.mark.parametrize("keep", ["last", "none"])
def test_without_all_scores(tmp_path, keep):
    answer = write(tmp_path / "run", keep=keep).ask("learning", everyone=True)
    assert answer.table["confidence"].isna().all()
    assert answer.table["region"].isna().all()
    assert answer.table["forgetting"].sum() == 2
    assert "keeps no scores" in answer.note
    answer.figure()
    quick = write(tmp_path / "other").ask("learning", everyone=True, confidence=False)
    assert quick.table["confidence"].isna().all()
    assert quick.note == ""


def test_networks_that_stopped_early_are_left_out(tmp_path):
    answers = {"A": ANSWERS["A"], "B": ANSWERS["B"][:2]}
    answer = write(tmp_path / "run", answers=answers).ask("learning", everyone=True)
    assert "left out are 1 networks with fewer than 4 epochs" in answer.note
    assert answer.table.set_index("sample")["forgetting"].loc[range(6)].tolist() == [0, 2, 1, 0, 0, 0]


def test_replicates_first_one_only(tmp_path):
    plant(tmp_path / "run", networks=12, samples=60, epochs=2, replicates=2)
    table = Run(tmp_path / "run").ask("learning", everyone=True).table.set_index("sample").loc[range(60)]
    run = Run(tmp_path / "run")
    right = run.predicted() == run.labels()
    assert table["right"].tolist() == pytest.approx(right.mean(axis=0).tolist())


def test_figure_states_the_finding_and_its_legend_hides_nothing(run):
    answer = run.ask("learning", everyone=True)
    fig = answer.figure()
    fig.draw_without_rendering()
    for ax in fig.axes:
        assert ax.get_legend().get_window_extent().y1 < ax.get_window_extent().y0


def test_the_tenth_that_some_networks_forget_most_is_judged_by_the_others(tmp_path):
    """Every network forgets sample 1 twice, which is more than a tenth of six samples, and two others, each its own."""
    own = {"A": "oo.ooo", "B": "oo.ooo", "C": "ooo.oo", "D": "oooo.o"}
    answers = {name: ["oooooo", "o.oooo", row, "o.oooo"] for name, row in own.items()}
    answer = write(tmp_path / "run", answers=answers).ask("learning", everyone=True)
    title = " ".join(answer.figure().get_suptitle().split())
    assert title.startswith(
        "The tenth of the samples that some networks forget most takes 67 % of the others' forgetting;"
    )
    assert "forgets most, 100 % (95 % interval 100 % to 100 %) of the other half forget too" in answer.text
    assert "takes 66.67 % (95 % interval 66.67 % to 66.67 %) of the forgetting of the other half" in answer.text


def test_where_all_samples_are_alike_a_tenth_of_them_takes_a_tenth():
    """Those that 20 networks forget most are forgotten more often than others by these alone."""
    rng = np.random.default_rng(0)
    flattered, judged = [], []
    for _ in range(20):
        events = rng.poisson(0.1, (20, 300))
        splits = Splits(np.stack([rng.permutation(20) % 2 for _ in range(10)]), 2, [])
        judged.append(learning.MostForgotten.of(events, splits).tenth.mean)
        flattered.append(np.sort(events.sum(axis=0))[-30:].sum() / events.sum())
    assert np.mean(flattered) > 0.2
    assert np.mean(judged) == pytest.approx(0.1, abs=0.01)


def test_nothing_is_forgotten(tmp_path):
    fig = write(tmp_path / "run", answers={"A": ["oooooo"] * 4}).ask("learning", everyone=True).figure()
    assert fig.get_suptitle().startswith("In 4 epochs nothing that was learned is forgotten again")


def test_figure_and_bad_input(run):
    assert len(run.ask("learning", everyone=True).figure().axes) == 2
    with pytest.raises(NetpickError, match="good is 5"):
        run.ask("learning", good=5)
