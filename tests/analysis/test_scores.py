import numpy as np
import pandas as pd
import pytest
from handmade import make_run, sure

from netpick.analysis import scores
from netpick.core.errors import NetpickError


def test_counts_by_hand():
    frame = pd.DataFrame({1: [0.8, 0.79999, 0.95, 1.0], 2: [0.9, np.nan, 0.99, 1.0]}, index=list("abcd"))
    table = scores.counts(frame)
    assert table.to_dict("list") == {
        "epoch": [1, 2], "at_80": [3, 3], "at_90": [2, 3], "at_95": [2, 2], "at_99": [1, 2], "at_100": [1, 1],
        "of": [4, 3],
    }  # fmt: skip
    assert list(scores.counts(frame, [0.995, 0.5]).columns) == ["epoch", "at_50", "at_99.5", "of"]


def test_counts_of_a_run_by_a_plain_count_of_its_answers(planted):
    run, _ = planted
    table = run.ask("scores", thresholds=[0.9, 0.93]).table
    rows = run.predictions(epoch=None, columns=["network", "epoch", "label", "predicted"])
    for epoch, part in rows.groupby("epoch"):
        accuracy = [(g["label"] == g["predicted"]).mean() for _, g in part.groupby("network", observed=True)]
        row = table[table["epoch"] == epoch].iloc[0]
        assert row["at_90"] == sum(a >= 0.9 for a in accuracy)
        assert row["at_93"] == sum(a >= 0.93 for a in accuracy)
        assert row["of"] == len(accuracy) == 60


def test_a_mean_over_replicates_that_is_off_by_a_rounding_still_counts():
    value = float(np.mean([0.7, 0.8, 0.9]))
    assert value < 0.8 or value == pytest.approx(0.8)
    assert scores.counts(pd.DataFrame({1: [value, 0.8 - 1e-12]}))["at_80"].tolist() == [2]


def test_thresholds_out_of_range(planted):
    for wrong in ([], [1.2], "0.5,x"):
        with pytest.raises(NetpickError, match="thresholds"):
            planted[0].ask("scores", thresholds=wrong)


def test_edges(edge):
    run, truth = edge
    answer = run.ask("scores")
    left_out = len(truth.failed) + len(truth.diverged) + len(truth.pending)
    assert answer.table["of"].iloc[-1] == 24 - left_out
    assert answer.figure().axes
    many = pd.DataFrame({e: [0.9, 0.7] for e in range(1, 31)})
    assert scores._draw(many, [0.8, 0.9], "many attempts").axes[0].lines


def test_of_students_with_one_and_with_three_attempts_each_ones_own_last_counts(tmp_path):
    labels = np.array([0, 1, 0, 1])
    rights = {"short": [1.0], "long": [0.25, 0.5, 0.75], "short-too": [0.75]}  # of the four samples
    answers = {
        name: np.array([sure([*labels[: int(4 * share)], *(1 - labels[int(4 * share) :])], 2) for share in shares])
        for name, shares in rights.items()
    }
    run = make_run(tmp_path / "run", answers, labels)
    answer = run.ask("scores", thresholds=[0.5, 0.75, 1.0])
    assert answer.table.to_dict("list") == {
        "epoch": [1, 2, 3], "at_50": [2, 1, 1], "at_75": [2, 0, 1], "at_100": [1, 0, 0], "of": [3, 1, 1],
    }  # fmt: skip
    assert answer.text == (
        "After the last attempt of each (1 to 3 attempts), of 3 students: 3 at 50 % or above, 3 at 75 % or above, "
        "1 at 100 % or above. At the first attempt 2 were at 75 % or above, at the last 3."
    )
    title = answer.figure().get_suptitle() or "".join(ax.get_title(loc="left") for ax in answer.figure().axes)
    assert "1 of 3 students are at 100 %" in " ".join(title.split())

    told = run.ask("attempts")
    assert "went from 75 % to 75 % (3 students)" in told.text  # 1, 0.25, 0.75, then 1, 0.75, 0.75
    assert "students made 1 to 3 attempts" in told.note
    assert run.ask("strategies", everyone=True).table["median"].iloc[0] == 0.75
    best = run.ask("best", everyone=True).table
    assert (best["accuracy"].iloc[-1], best["median"].iloc[-1]) == (1.0, 0.75)
    easy = run.ask("easy", everyone=True, at_least=1.0).table
    # the last answers of all three: samples 0 to 2 are right by everyone, sample 3 by one of them
    assert sorted(easy["sample"]) == [0, 1, 2]
    learned = run.ask("learning", everyone=True)
    assert "left out are 2 networks with fewer than 3 epochs" in learned.note
    assert learned.table.set_index("sample")["right"].sort_index().tolist() == [1, 1, 1, 0]
