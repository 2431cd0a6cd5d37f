"""One network, two networks, the committee and the epochs: every number by another route."""

import numpy as np
import pandas as pd
import pytest
from browsing import Keys
from scipy.special import logsumexp

from netpick.exam import mcnemar
from netpick.exam.network_card import percentile
from netpick.exam.run import Run

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def epochs(folder):
    frame = pd.concat(map(pd.read_parquet, (folder / "epochs").glob("*.parquet"))).astype({"network": str})
    return frame[frame["split"].astype(str) == "test"]


@pytest.fixture(scope="module")
def names(folder):
    """Names in the order of the catalogue, by which the address numbers them."""
    run = Run(folder)
    done = set(run.trainings.loc[run.trainings["status"] == "done", "network"].astype(str))
    return [name for name in run.networks["name"] if name in done]


def under(page, heading):
    """The cells of the table under a heading."""
    return page.js(
        """const h = [...document.querySelectorAll('h3')].find(each => each.innerText.startsWith(arguments[0]));
        let t = h.nextElementSibling; while (!t.querySelector('table')) t = t.nextElementSibling;
        return [...t.querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.innerText))""",
        heading,
    )


def items(page, heading):
    """The entries of the list under a heading."""
    return page.js(
        """const h = [...document.querySelectorAll('h3')].find(each => each.innerText.startsWith(arguments[0]));
        return [...h.nextElementSibling.querySelectorAll('li')].map(li => li.innerText)""",
        heading,
    )


def test_layers_costs_and_classes_of_one_network(page, folder, names, epochs):
    name = names[7]
    page.open("#n=7")
    run = Run(folder)
    assert [row[0] for row in under(page, "Layers")] == run_card(run, name).layers["layer"].tolist()
    frame = run.networks.set_index("name").loc[names]
    costs = {row[0]: row for row in under(page, "Costs")}
    for column in ("params", "macs", "depth"):
        expected = percentile(frame[column].to_numpy(float), float(frame.at[name, column]))
        assert costs[column][2] == f"{expected:.1f}"
    for epoch in (3, 1):
        page.type("#epoch", Keys.END if epoch == 3 else Keys.HOME)
        rows = epochs[epochs["epoch"] == epoch].set_index("network").loc[names]
        for c, (_, accuracy, place, _) in enumerate(under(page, "Class by class")):
            column = rows[f"accuracy_{c}"].to_numpy()
            mine = rows.at[name, f"accuracy_{c}"]
            assert accuracy == f"{100 * mine:.1f} %"
            assert float(place) == pytest.approx(percentile(column, mine), abs=0.06)


def run_card(run, name):
    from netpick.exam import card

    return card(run, name)


def test_curves_over_the_epochs(page, names, epochs):
    page.open("#n=7")
    mine = epochs[epochs["network"] == names[7]].sort_values("epoch")
    assert [row[1] for row in under(page, "Over the epochs")] == [f"{100 * a:.2f} %" for a in mine["accuracy"]]
    assert [float(row[2]) for row in under(page, "Over the epochs")] == pytest.approx(mine["loss"].tolist(), rel=0.006)


def test_mistakes_and_kin_of_one_network(page, names, given, labels):
    page.open("#n=7")
    predicted = given.loc[names].to_numpy()
    wrong = predicted != labels
    mine = wrong[7]
    assert page.text("#view-network").find(f"Its mistakes ({mine.sum()})") > 0
    same = ((predicted == predicted[7]) & wrong & mine).sum(axis=1)
    alike = same / (wrong | mine).sum(axis=1)
    saved = (mine & ~wrong).sum(axis=1)
    others = np.arange(len(names)) != 7
    found = items(page, "Nearest")
    assert [float(text.split()[1]) for text in found] == pytest.approx(
        np.round(100 * np.sort(alike[others])[::-1][:3]), abs=1
    )
    assert alike[names.index(found[0].split()[0])] == alike[others].max()
    found = items(page, "Best complement")
    assert [int(text.split()[1]) for text in found] == np.sort(saved[others])[::-1][:3].tolist()


def test_two_networks_with_the_paired_test(page, names, given, labels):
    right = given.loc[names].to_numpy() == labels
    only = [(right[7] & ~right[20]).sum(), (right[20] & ~right[7]).sum()]
    page.open("#n=7&o=20")
    said = page.text("#paired")
    p = mcnemar(right[7], right[20])
    shown = f"{p:.1e}".replace("e-0", "e-") if p < 1e-4 else f"{p:.4f}"
    assert f"{names[7]} alone is right on {only[0]}, {names[20]} alone on {only[1]}: p = {shown}" in said
    alike = (given.loc[names[7]] == given.loc[names[20]]).sum()
    assert f"they answer {alike} alike" in said
    page.press("Select the two")
    assert page.selected() == {names[7], names[20]}
    page.open("#n=7")
    page.type("#view-network label:nth-of-type(2) input", names[20], Keys.ENTER)
    assert page.text("#paired") == said
    page.press("Change sides")
    assert page.text("#view-network h2") == f"{names[20]} and {names[7]}"


def majority(predicted):
    return np.array([np.bincount(column, minlength=6).argmax() for column in predicted.T])


def test_the_committee(page, folder, names, given, labels, epochs):
    run = Run(folder)
    frame = run.networks.set_index("name").loc[names]
    some = [name for name in names if frame.at[name, "computation"] == "Conv2d"]
    page.press("Conv2d")
    predicted = given.loc[some].to_numpy()
    scores = run.scores(networks=some).astype(float)
    mean = logsumexp(scores, axis=0).argmax(axis=1)
    last = epochs[epochs["epoch"] == 3].set_index("network")["accuracy"]
    rows = {row[0].split(" of ")[0]: row for row in page.table("#view-committee .scroll table")[1:5]}
    assert rows["Majority vote"][1] == f"{100 * (majority(predicted) == labels).mean():.2f} %"
    assert rows["Mean probability"][1] == f"{100 * (mean == labels).mean():.2f} %"
    best = next(row for key, row in rows.items() if key.startswith("Its best member"))
    assert best[1] == f"{100 * last[some].max():.2f} %"
    assert float(rows["Majority vote"][3].replace(",", "").replace(" M", "e6")) == pytest.approx(
        frame.loc[some, "params"].sum(), rel=0.01
    )
    assert any(f"{100 * last.max():.2f} %" == row[1] for row in rows.values())


def test_the_confusion_filters_the_wall(page, given, labels):
    votes = majority(given.to_numpy())
    table = pd.crosstab(labels, votes).reindex(index=range(6), columns=range(6), fill_value=0)
    cells = page.js("return [...document.querySelectorAll('[data-truth]')].map(c => +c.innerText)")
    assert cells == table.to_numpy().ravel().tolist()
    wrong = np.argwhere(table.to_numpy() - np.diag(np.diag(table)))
    truth, vote = wrong[0]
    page.js("document.querySelector(arguments[0]).click()", f"[data-truth='{truth}'][data-vote='{vote}']")
    page.settle()
    shown = [int(row[0]) for row in page.rows("The samples as a table")]
    assert sorted(shown) == np.flatnonzero((labels == truth) & (votes == vote)).tolist()


def test_an_earlier_epoch_is_seen_everywhere(page, answers, labels, names):
    page.type("#epoch", Keys.HOME)
    first = answers[answers["epoch"] == 1].pivot(index="network", columns="sample", values="predicted").loc[names]
    expected = (majority(first.to_numpy()) == labels).mean()
    assert page.table("#view-committee .scroll table")[1][1] == f"{100 * expected:.2f} %"
    accuracy = (first.to_numpy() == labels).mean(axis=1)
    rows = {row[0]: row for row in page.rows("The networks as a table")}
    assert {row[4] for row in rows.values()} == {f"{100 * a:.2f} %" for a in accuracy}
    right = (first.to_numpy() == labels).mean(axis=0)
    assert [float(row[2].rstrip(" %")) for row in page.rows("The samples as a table")] == pytest.approx(
        np.sort(100 * right), abs=0.051
    )


def test_play_goes_through_the_epochs(page):
    page.press("Play")
    page.until("return netpick.state.epoch === 0")
    page.until("return netpick.state.epoch === 2 && document.querySelector('#view-epochs button').innerText === 'Play'")
    assert page.text("#view-epochs output") == "3 of 3"


@pytest.mark.parametrize(("still", "scroll", "every"), [(False, "smooth", 900), (True, "auto", 1800)])
def test_who_asked_for_less_motion_gets_it(page, still, scroll, every):
    page.size(1280, 900, still=still)
    page.js("window.asked = []; const real = setInterval;"
            "window.setInterval = (call, ms) => { asked.push(ms); return real(call, ms); }")  # fmt: skip
    page.press("Play")
    page.press("Stop")
    assert page.js("return asked") == [every]
    assert page.js("return getComputedStyle(document.documentElement).scrollBehavior") == scroll
