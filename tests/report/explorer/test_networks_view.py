"""The networks as points and as a table: what is shown, and all the ways to select."""

from importlib.resources import files

import pandas as pd
import pytest
from browsing import Keys

from netpick.exam import students
from netpick.exam.run import Run

pytestmark = pytest.mark.browser

SOURCES = ("numbers", "plot")


@pytest.fixture(scope="module")
def frame(folder):
    return students(Run(folder)).set_index("name")


def number(text):
    size = {"k": 1e3, "M": 1e6, "G": 1e9}.get(text[-1:], 1)
    return float(text.rstrip(" kMG").replace(",", "")) * size


def test_the_table_says_what_pandas_says(page, frame, folder):
    rows = {row[0]: row for row in page.rows("The networks as a table")}
    assert set(rows) == set(frame.index)
    heads = page.js("return [...document.querySelectorAll('#view-networks th')].map(h => h.innerText)")
    epochs = pd.concat(map(pd.read_parquet, (folder / "epochs").glob("*.parquet")))
    last = epochs[epochs["epoch"] == 3].astype({"network": str}).set_index("network")
    for name, row in rows.items():
        cells = dict(zip(heads, row, strict=True))
        assert cells["computation"] == frame.at[name, "computation"]
        assert cells["accuracy"] == f"{100 * last.at[name, 'accuracy']:.2f} %"
        assert cells["worst class"] == f"{100 * last.loc[name].filter(like='accuracy_').min():.2f} %"
        for column in ("params", "macs", "loss", "seconds"):
            truth = last.at[name, "loss"] if column == "loss" else frame.at[name, column]
            assert number(cells[column]) == pytest.approx(truth, rel=0.006)


def test_brushing_selects_what_is_inside(page, frame):
    page.drag("#scatter", (0.5, 0.02), (0.8, 0.5), (0.99, 0.88))
    chosen = page.selected()
    macs = frame["macs"]
    assert 0 < len(chosen) < len(frame)
    assert macs[macs.index.isin(chosen)].min() > macs[~macs.index.isin(chosen)].max()
    assert page.how_many() == len(chosen)
    page.drag("#scatter", (0.12, 0.02), (0.3, 0.5), (0.5, 0.88), key=Keys.SHIFT)
    assert page.how_many() == len(frame)
    page.drag("#scatter", (0.5, 0.02), (0.8, 0.5), (0.99, 0.88), key=Keys.ALT)
    assert page.selected() == set(frame.index) - chosen


def test_a_lasso_selects_what_is_inside(page, frame):
    page.drag("#scatter", (0.5, 0.02), (0.8, 0.5), (0.99, 0.88))
    right = page.selected()
    page.press("All").press("Lasso")
    page.drag("#scatter", (0.5, 0.01), (0.99, 0.01), (0.995, 0.89), (0.5, 0.89))
    assert page.selected() == right


def place(page):
    """Where the network is that the keys have gone to, as shares of the plot: its card is beside it."""
    return page.js(
        """const {left, right, top, bottom} = document.querySelector('.card').style;
        const p = document.querySelector('#scatter'), [w, h] = [p.clientWidth, p.clientHeight], n = parseFloat;
        return [(left ? n(left) - 14 : w - n(right) + 14) / w, (top ? n(top) : h - n(bottom)) / h]"""
    )


def test_a_click_is_for_one_network_and_shift_for_a_second(page, frame):
    page.type("#scatter", Keys.ARROW_RIGHT)
    first = page.text("#view-network h2")
    at = place(page)
    page.keys(Keys.END)  # no key of the plot's
    page.type("#scatter", *[Keys.ARROW_LEFT] * 99)
    cheapest, there = page.text("#view-network h2"), place(page)
    assert cheapest == frame["macs"].idxmin()
    page.drag("#scatter", there)
    assert page.selected() == {cheapest}
    page.type("#scatter", *[Keys.ARROW_RIGHT] * 99)
    dearest, other = page.text("#view-network h2"), place(page)
    assert dearest == frame["macs"].idxmax()
    page.drag("#scatter", there)
    page.drag("#scatter", other, key=Keys.SHIFT)
    assert page.selected() == {cheapest, dearest}
    assert page.text("#view-network h2") == f"{cheapest} and {dearest}"
    assert first in set(frame.index)
    assert 0 < at[0] < 1
    page.drag("#scatter", (0.97, 0.86))  # where there is none
    assert page.how_many() == len(frame)


def test_keys_alone_select(page):
    page.type("#scatter", Keys.ARROW_RIGHT, Keys.ARROW_UP, Keys.ENTER)
    name = page.text("#view-network h2")
    assert page.selected() == {name}
    assert page.said().startswith("1 of 38 networks selected")
    page.type("#scatter", Keys.ARROW_UP, " ")
    assert page.how_many() == 2
    page.type("#scatter", Keys.ESCAPE)
    assert page.how_many() == 38


def test_chips_ranges_and_names_filter(page, frame):
    page.press("Linear")
    assert page.selected() == set(frame.index[frame["computation"] == "Linear"])
    page.press("Conv2d").press("ReLU")
    family = frame["computation"].isin(["Linear", "Conv2d"]) & (frame["activation"] == "ReLU")
    assert page.selected() == set(frame.index[family])
    page.press("All")
    page.find("#view-networks input[type=search]").send_keys("resnet")
    assert page.settle().selected() == {name for name in frame.index if "resnet" in name.lower()}
    page.press("All").press("By range")
    page.type("input[aria-label='macs, least']", Keys.PAGE_UP, Keys.PAGE_UP, Keys.PAGE_UP)
    chosen, macs = page.selected(), frame["macs"]
    assert 0 < len(chosen) < len(frame)
    assert macs[macs.index.isin(chosen)].min() > macs[~macs.index.isin(chosen)].max()


def test_known_groups(page, frame):
    assert page.press("Good").selected() == set(frame.index[frame["good"]])
    assert page.press("The others").selected() == set(frame.index[~frame["good"]])
    page.press("All").press("Pareto front")
    best = {
        name
        for name, row in frame.iterrows()
        if not (
            (frame["macs"] <= row["macs"])
            & (frame["accuracy"] >= row["accuracy"])
            & ((frame["macs"] < row["macs"]) | (frame["accuracy"] > row["accuracy"]))
        ).any()
    }
    assert page.selected() == best


@pytest.mark.parametrize(
    ("values", "ticks"), [([0.916, 0.9216], [0.921, 0.92, 0.919]), ([0.97, 0.97], [0.97]), ([0.5, 0.99], [0.99, 0.98])]
)
def test_an_axis_has_ticks_wherever_its_values_lie(page, values, ticks):
    sources = [(files("netpick.report.explorer") / "page" / f"{name}.js").read_text("utf-8") for name in SOURCES]
    known = "const networks = {values: () => given}, head = {marks: {accuracy: 0}, epochs: 1, of: 10000};"
    found = page.js(
        f"const given = arguments[0]; {known}{''.join(sources)} return new Scale('accuracy').ticks(6)", values
    )
    assert found[: len(ticks)] == pytest.approx(ticks)
