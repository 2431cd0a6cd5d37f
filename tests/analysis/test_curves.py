"""The question `curves`: where accuracy stalls and losses go on, on runs of which every value is written here."""

import numpy as np
import pytest
from handmade import make_run, sure

from netpick.core.errors import NetpickError, RunError

LABELS = np.arange(200) % 2


def right(*counts):
    """Epochs, of which each has so many of 200 answers right."""
    answers = [np.where(np.arange(200) < n, LABELS, 1 - LABELS) for n in counts]
    return np.stack([sure(one, 2) for one in answers])


SCORES = {"Stalls": (100, 150, 180, 179, 180, 180), "Gains": (100, 120, 140, 160), "Once": (190,)}
LOSSES = {"Stalls": [0.9, 0.7, 0.5, 0.4, 0.3, 0.25], "Gains": [0.8, 0.7, 0.6, 0.5], "Once": [0.1]}


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", {n: right(*k) for n, k in SCORES.items()}, LABELS, train_loss=LOSSES)


def test_a_row_a_network_and_epoch_the_best_network_first(run, tmp_path):
    answer = run.ask("curves")
    table = answer.table
    # who was trained for one epoch has no curve, and is left out unless named
    assert table["network"].tolist() == ["Stalls"] * 6 + ["Gains"] * 4
    assert table["accuracy"].tolist() == [n / 200 for name in ("Stalls", "Gains") for n in SCORES[name]]
    assert table["train_loss"].tolist() == pytest.approx(LOSSES["Stalls"] + LOSSES["Gains"])
    # 90 % of the probability is on the answer: the loss is that of the right and wrong ones
    share = table["accuracy"]
    wanted = -(share * np.log(0.9) + (1 - share) * np.log(0.1))
    np.testing.assert_allclose(table["loss"], wanted, rtol=1e-5)
    assert table["stalled"].tolist() == [False, False, True, True, True, True] + [False] * 4
    assert answer.save(tmp_path / "curves.png").stat().st_size > 10_000


def test_the_sentence(run):
    assert run.ask("curves").text == (
        "Stalls has 90 % on test after 6 epochs: from epoch 3 on its accuracy gains less than 0.5 percentage points, "
        "while the training loss falls from 0.5 to 0.25. Gains has 80 % on test after 4 epochs, and has not stalled."
    )
    assert run.ask("curves", networks="Once").text == (
        "Once has 95 % on test after 1 epoch (best of 3, flattered by about 0.3 points): there is nothing to follow."
    )
    wide = run.ask("curves", networks=["Gains"], gain=0.25)  # 120 to 160 is 20 points
    assert wide.table["stalled"].tolist() == [False, True, True, True]
    assert wide.text == (
        "Gains has 80 % on test after 4 epochs: from epoch 2 on its accuracy gains less than 25 percentage points, "
        "while the training loss falls from 0.7 to 0.5 and the test loss falls from 0.984 to 0.545."
    )


def test_of_many_students_the_best_and_basic(planted, tmp_path):
    run, _ = planted
    answer = run.ask("curves")
    last = run.epochs[run.epochs["split"] == "test"].query("epoch == epoch.max()")
    best = last.loc[last["accuracy"].idxmax(), "accuracy"]
    assert answer.table["network"].nunique() == 2
    assert answer.table.groupby("network", sort=False)["accuracy"].last().tolist()[0] == best
    assert answer.table["network"].iloc[-1] == "Basic"


def test_means_and_ranges_of_replicates_by_a_plain_loop(edge, tmp_path):
    run, _ = edge
    names = run.trainings.loc[run.trainings["status"] == "done", "network"].astype(str).unique()[:3].tolist()
    split = "validation" if "validation" in set(run.epochs["split"]) else "test"
    answer = run.ask("curves", networks=names)
    for row in answer.table.itertuples():
        mine = run.epochs[run.epochs["split"] == split].query("network == @row.network and epoch == @row.epoch")
        values = mine["accuracy"].tolist()
        assert row.replicates == len(values)
        assert row.accuracy == pytest.approx(sum(values) / len(values))
        assert (row.accuracy_low, row.accuracy_high) == (min(values), max(values))
        assert (row.loss_low, row.loss_high) == (mine["loss"].min(), mine["loss"].max())
    assert answer.save(tmp_path / "edge.png").stat().st_size > 5_000


def test_bad_options_are_one_line(run):
    with pytest.raises(RunError, match=r"no network 'Stals' .did you mean 'Stalls'"):
        run.ask("curves", networks="Stals")
    with pytest.raises(NetpickError, match=r"gain is 2.0: give a number from 0 to 1"):
        run.ask("curves", gain=2)
