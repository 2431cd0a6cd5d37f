"""What all figures keep to: five networks for a box, one colour and marker a network, no titles without a number."""

import numpy as np
import pytest
from handmade import make_run, sure
from matplotlib.colors import to_hex

from netpick import exam
from netpick.exam import theme

LABELS = np.arange(40) % 2


def few(folder, count):
    """A run of so many networks, each with one more error than the one before."""
    answers = {f"N{i}": sure(np.where(np.arange(40) < i, 1 - LABELS, LABELS), 2) for i in range(count)}
    return make_run(folder, answers, LABELS)


@pytest.mark.parametrize(("count", "boxes"), [(3, 0), (4, 0), (5, 3)])
def test_a_box_needs_five_networks(tmp_path, count, boxes):
    ax = few(tmp_path / "run", count).ask("best", everyone=True).figure().axes[0]
    assert len([patch for patch in ax.patches if patch.get_path().vertices.shape[0] > 4]) == boxes
    points = [line for line in ax.lines if line.get_marker() == "o" and to_hex(line.get_color()) == "#999999"]
    assert len(points) == (0 if boxes else count)


def test_a_network_has_one_colour_and_marker_in_all_figures(planted):
    run = planted[0]
    frame = exam.students(run)
    best = exam.best(frame)
    computation = frame.set_index("name").loc[best, "computation"]
    lines = run.ask("curves").figure().axes[0].lines
    styles = {line.get_marker(): to_hex(line.get_color()) for line in lines}
    assert styles[theme.marker(computation)] == theme.colour(computation).lower()
    assert styles["d"] == theme.BASIC
    for name in ("versus", "best"):
        for ax in run.ask(name).figure().axes:
            shown = {line.get_label(): line for line in ax.lines}
            if best in shown:
                assert to_hex(shown[best].get_color()) == theme.colour(computation).lower()
                assert shown[best].get_marker() == theme.marker(computation)
            if "Basic" in shown:
                assert (to_hex(shown["Basic"].get_color()), shown["Basic"].get_marker()) == (theme.BASIC, "d")


def test_names_stand_beside_lines_instead_of_in_a_legend(planted):
    run = planted[0]
    fig = run.ask("curves").figure()
    assert not fig.legends
    assert {text.get_text() for text in fig.axes[1].texts} == set(run.ask("curves").table["network"])
    (legend,) = run.ask("attempts").figure().legends  # of boxes, which have no ends
    assert set(run.networks["computation"]) <= {text.get_text() for text in legend.get_texts()}


@pytest.mark.parametrize(
    "name",
    ["strategies", "macs", "easy", "weird", "confusing", "agreement", "suspects", "sets", "ability", "compare",
     "learning", "why_hard", "best"],
)  # fmt: skip
def test_titles_say_of_how_many(planted, name):
    run = planted[0]
    title = " ".join(run.ask(name, quantile=0.5).figure().get_suptitle().split())
    assert exam.how_many(exam.selected(run, False, quantile=0.5)) in title


def test_scores_are_a_cumulative_curve_with_marks_only_where_somebody_is(planted):
    run = planted[0]
    answer = run.ask("scores")
    (ax,) = answer.figure().axes
    marks = exam.attempts(run)
    last = marks.iloc[:, -1]
    curve = next(line for line in ax.lines if line.get_label() == str(marks.columns[-1]))
    x, y = curve.get_data()
    for value in (last.min(), last.median(), last.max()):
        assert y[np.searchsorted(x, value - 1e-9)] == (last >= value - 1e-9).sum()
    end = answer.table.iloc[-1]
    counts = {int(end[f"at_{t}"]) for t in (80, 90, 95, 99, 100)} - {0, len(last)}
    assert {int(text.get_text().split()[0]) for text in ax.texts} == counts


def test_the_pick_names_what_it_suggests_and_the_front(planted):
    run = planted[0]
    pick = exam.pick(run)
    (ax,) = pick.figure().axes
    words = {text.get_text() for text in ax.texts}
    assert pick.name in words
    assert words <= set(pick.table["name"])
    assert "(60 networks)" in " ".join(pick.figure().get_suptitle().split())
