"""The wall of samples and the one that is looked at: orders, filters, votes, and the networks behind them."""

import numpy as np
import pytest
from browsing import Keys

from netpick.exam import ballot
from netpick.exam.run import Run

pytestmark = pytest.mark.browser

FAMILY = "Conv2d"


@pytest.fixture(scope="module")
def run(folder):
    return Run(folder)


@pytest.fixture(scope="module")
def in_family(run, given):
    computation = run.networks.set_index("name")["computation"]
    return np.array([computation[name] == FAMILY for name in given.index])


def shares(given, labels, mask):
    return (given.to_numpy()[mask] == labels).mean(axis=0)


def order(page):
    return [int(row[0]) for row in page.rows("The samples as a table")]


ORDERS = {
    "fewest right first": lambda b, others: b["right"],
    "entropy of the votes": lambda b, others: -b["entropy"],
    "agreement on one wrong answer": lambda b, others: -(b["wrong"] * b["same"].fillna(0)),
    "disagreement": lambda b, others: b["top"],
    "wrong here, right for the others": lambda b, others: b["right"] - others,
    "class": lambda b, others: b["label"],
}


@pytest.mark.parametrize("name", ORDERS)
def test_the_order_of_the_wall(page, run, given, labels, in_family, name):
    page.press(FAMILY)
    page.choose("Order", name)
    table = ballot(given.to_numpy()[in_family], labels, run.classes)
    key = ORDERS[name](table, shares(given, labels, ~in_family)).round(9)
    shown = order(page)
    assert shown == np.lexsort([table["sample"], key]).tolist()
    assert sorted(shown) == list(range(120))


def test_difficulty_is_that_of_the_question(page, run):
    page.choose("Order", "difficulty by ability")
    table = run.ask("ability").table.dropna(subset="difficulty")
    hardest = table.assign(difficulty=table["difficulty"].round(3)).sort_values(
        ["difficulty", "sample"], ascending=[False, True]
    )
    assert order(page)[: len(hardest)] == hardest["sample"].tolist()


@pytest.mark.parametrize("kind", ["easy", "weird", "confusing"])
def test_kinds_are_those_of_the_questions(page, run, kind):
    page.press(kind)
    answer = run.ask(kind, everyone=True)
    assert sorted(order(page)) == sorted(answer.table["sample"])
    assert len(answer.table)
    page.press(kind)
    assert len(order(page)) == 120


def test_suspects_are_those_of_the_question(page, run):
    page.press("suspect")
    table = run.ask("suspects").table
    assert sorted(order(page)) == sorted(table["sample"][table["suspect"]])


def test_class_and_vote_filter(page, given, labels):
    page.choose("Class", "2")
    assert sorted(order(page)) == np.flatnonzero(labels == 2).tolist()
    page.choose("Vote", "2")
    votes = np.array([np.bincount(column, minlength=6).argmax() for column in given.to_numpy().T])
    assert sorted(order(page)) == np.flatnonzero((labels == 2) & (votes == 2)).tolist()


def test_shares_follow_the_selection(page, given, labels, in_family):
    page.press(FAMILY)
    truth = shares(given, labels, in_family)
    for sample, _, right, *_ in page.rows("The samples as a table"):
        assert right == f"{100 * truth[int(sample)]:.1f} %"


def test_clicks_and_keys_on_the_wall(page):
    first = order(page)[:3]
    for _ in range(4):
        page.press("Larger images")
    page.type("#wall", Keys.HOME)
    assert page.text("#view-sample h2").startswith(f"Sample no. {first[0]},")
    page.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.text("#view-sample h2").startswith(f"Sample no. {first[2]},")
    assert f"Sample no. {first[2]}," in page.said()
    page.keys(Keys.END)
    assert page.text("#view-sample h2").startswith(f"Sample no. {order(page)[-1]},")
    assert page.js("return document.querySelector('#wall').scrollTop") > 0
    page.keys(Keys.HOME)
    page.drag("#wall", (0.01, 0.02))
    assert page.text("#view-sample h2").startswith(f"Sample no. {first[0]},")


def test_picked_images_select_who_reads_them(page, given, labels):
    first = order(page)[20:22]
    page.type("#wall", Keys.HOME, *[Keys.ARROW_RIGHT] * 20, " ", Keys.ARROW_RIGHT, " ")
    assert page.text(".picked").startswith("2 images picked")
    right = given.to_numpy()[:, first] == labels[first]
    assert page.press("all of them").selected() == set(given.index[right.all(axis=1)])
    page.press("All", "#view-networks")
    assert page.press("any of them").selected() == set(given.index[right.any(axis=1)])
    page.press("Put back")
    assert not page.find(".picked").is_displayed()
    page.press("Pick this image")
    assert page.text(".picked").startswith("1 image picked")


def hard_one(given, labels):
    """A sample that is about half read."""
    return int(np.abs(shares(given, labels, np.full(len(given), True)) - 0.5).argmin())


def test_votes_of_a_sample(page, given, labels, in_family, run):
    sample = hard_one(given, labels)
    page.open(f"#i={sample}")
    votes = np.bincount(given[sample], minlength=6)
    shown = page.js("return [...document.querySelectorAll('.vote')].map(v => [+v.dataset.class, +v.dataset.votes])")
    assert shown == [[c, int(n)] for c, n in enumerate(votes)]
    computation = run.networks.set_index("name")["computation"].loc[given.index]
    for name, *cells in page.table("#view-sample h3 + .scroll table")[1 : computation.nunique() + 1]:
        mine = given[sample][(computation == name).to_numpy()]
        there = np.bincount(mine, minlength=6)[np.flatnonzero(votes)]
        assert cells == [f"{round(100 * n / len(mine) + 1e-9)} %" if n else "" for n in there]
    label = labels[sample]
    other = next(c for c in np.argsort(-votes) if c != label)
    page.js("document.querySelector(arguments[0]).click()", f".vote[data-class='{other}']")
    assert page.settle().selected() == set(given.index[given[sample] == other])


def test_learned_and_forgotten(page, answers, labels, given):
    sample = hard_one(given, labels)
    page.open(f"#i={sample}")
    mine = answers[answers["sample"] == sample]
    right = (mine["predicted"] == mine["label"]).groupby([mine["network"], mine["epoch"]]).first().unstack()
    [rows] = [t for t in [page.table("#view-sample .scroll:has(.bar) table")] if t]
    rows = rows[-3:]
    assert [row[2] for row in rows] == [f"{100 * right[e].mean():.1f} %" for e in (1, 2, 3)]
    for e, row in zip((2, 3), rows[1:], strict=True):
        assert int(row[3]) == (right[e] & ~right[e - 1]).sum()
        assert int(row[4]) == (~right[e] & right[e - 1]).sum()


def test_who_reads_it(page, given, labels):
    sample = hard_one(given, labels)
    readers = set(given.index[given[sample] == labels[sample]])
    page.open(f"#i={sample}")
    page.js("document.querySelector('[data-reads=true]').click()")
    assert page.settle().selected() == readers
    page.open(f"#i={sample}")
    page.js("document.querySelector('[data-reads=false]').click()")
    assert page.settle().selected() == set(given.index) - readers
