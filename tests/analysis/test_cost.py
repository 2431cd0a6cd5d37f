import numpy as np
import pytest
from scipy import stats

from netpick import exam
from netpick.analysis import _cost
from netpick.core.errors import NetpickError

QUESTIONS = {"study_time": "seconds", "notes": "params", "rough_work": "memory", "steps": "ops", "macs": "macs"}


@pytest.mark.parametrize(("name", "column"), QUESTIONS.items())
def test_table_by_hand(planted, name, column):
    run, _ = planted
    table = run.ask(name, gold=0.93).table
    frame = exam.students(run, gold=0.93)
    base = frame.set_index("name").loc["Basic", column]
    frame = frame[frame["good"]]
    assert table["computation"].iloc[-1] == "all"
    assert set(table["computation"][:-1]) == set(frame["computation"])
    for row in table.to_dict("records"):
        mine = frame if row["computation"] == "all" else frame[frame["computation"] == row["computation"]]
        values = mine[column].tolist()
        assert row["students"] == len(values)
        assert [row["least"], row["most"]] == [min(values), max(values)]
        assert [row["q25"], row["median"], row["q75"]] == pytest.approx(np.percentile(values, [25, 50, 75]).tolist())
        assert row["of_basic"] == pytest.approx(np.median(values) / base)
        assert row["stars"] == mine["star"].sum()
        if len(values) >= 3 and len(set(values)) > 1:
            assert row["correlation"] == pytest.approx(stats.spearmanr(values, mine["accuracy"]).statistic)
        else:
            assert np.isnan(row["correlation"])


def test_sentence_and_figure(planted):
    run, _ = planted
    answer = run.ask("notes", gold=0.93)
    frame = exam.students(run)
    low = frame[frame["good"]].sort_values("params").iloc[0]
    assert f"from {low['params']:,} parameters ({low['name']})" in answer.text
    figure = answer.figure()
    assert figure.axes[1].get_xscale() == "log"
    words = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert {"Linear", "Basic (one linear layer)"} <= words
    assert "gold star: good, and above 93 % in the last attempt" in words


def test_steps_span_no_decades_and_have_a_linear_axis(planted):
    assert planted[0].ask("steps").figure().axes[1].get_xscale() == "linear"


@pytest.mark.parametrize("name", QUESTIONS)
def test_edges(edge, name):
    run, truth = edge
    answer = run.ask(name, everyone=True)
    left_out = len(truth.failed) + len(truth.diverged) + len(truth.pending)
    assert answer.table["students"].iloc[-1] == 24 - left_out
    basic = "Basic" in truth.names
    assert ("no Basic" in answer.note) != basic
    assert answer.table["of_basic"].isna().all() != basic
    assert bool(left_out) == ("left out" in answer.note or "not finished" in answer.note)
    if name == "macs":
        assert answer.figure().axes


def test_threshold_out_of_range(planted):
    with pytest.raises(NetpickError, match=r"good is 80.0: give a number from 0 to 1"):
        planted[0].ask("macs", good=80)


def test_amounts_are_written_as_people_read_them():
    assert _cost.amount(7850, "parameters") == "7,850 parameters"
    assert _cost.amount(1.25e6, "macs") == "1.25 million macs"
    assert _cost.amount(0.415, "s") == "0.41 s"
    assert _cost.amount(226.3, "s") == "226 s"
    assert _cost.times(2.06) == ", 2.1 times that of Basic"
    assert _cost.times(1234.5) == ", 1,234 times that of Basic"
    assert _cost.times(float("nan")) == ""
