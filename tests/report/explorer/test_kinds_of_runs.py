"""Runs of all kinds become pages that open, and whose numbers are those of the run."""

import numpy as np
import pytest
from browsing import Keys
from test_network_views import majority

from netpick.exam import best, plant, students
from netpick.exam.run import Run
from netpick.store.copying import copy_run
from netpick.store.folder import Store

pytestmark = pytest.mark.browser

KINDS = {
    "one epoch": {"epochs": 1},
    "no scores": {"scores": "none"},
    "two classes": {"classes": 2, "epochs": 2},
    "many classes": {"classes": 40, "samples": 160, "epochs": 2},
    "colours": {"shape": (3, 6, 9), "epochs": 2},
    "replicates": {"replicates": 2, "epochs": 2},
    "no Basic": {"basic": False, "epochs": 2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_any_kind_becomes_a_page(page_of, tmp_path, kind):
    design = {"samples": 60, "epochs": 2, "classes": 4, "shape": (1, 10, 10)} | KINDS[kind]
    plant(tmp_path / "run", 16, **design)
    run = Run(tmp_path / "run")
    page = page_of(tmp_path / "run")
    page.type("#wall", Keys.HOME)
    page.type("#scatter", Keys.ARROW_RIGHT, Keys.ENTER)
    page.press("All")
    frame = students(run)
    assert page.how_many() == len(frame)
    votes = np.array([np.bincount(column).argmax() for column in run.predicted().T])
    committee = page.table("#view-committee .scroll table")[1]
    assert committee[1] == f"{100 * (votes == run.labels()).mean():.2f} %"
    shown = {row[0]: float(row[4].rstrip(" %")) for row in page.rows("The networks as a table")}
    assert shown == pytest.approx(dict(zip(frame["name"], 100 * frame["accuracy"], strict=True)), abs=0.0051)
    means = [row for row in page.table("#view-committee .scroll table") if row[0].startswith("Mean probability")]
    assert bool(means) is (kind != "no scores")
    assert ("votes are those of the first replicate" in page.text("body")) is (kind == "replicates")
    if kind == "colours":
        first = int(page.rows("The samples as a table")[0][0])
        shown = page.js(
            """const c = document.querySelector('.pixels.large');
            return [...c.getContext('2d').getImageData(0, 0, 9, 6).data].filter((_, i) => i % 4 < 3)"""
        )
        assert shown == run.image(first).ravel().tolist()
    assert "No network of this run can answer here." in page.text("#view-live")
    page.js("document.querySelector('.left-out').open = true")
    assert "its weights were not kept" in page.text(".left-out")
    assert page.errors() == []


def test_cards_stand_for_images_that_were_left_out(page_of, trained, tmp_path):
    """Its networks still answer drawings."""
    (tmp_path / "copy").mkdir()
    copy_run(Store.open(trained), tmp_path / "copy", images=False)
    page, run = page_of(tmp_path / "copy"), Run(tmp_path / "copy")
    assert "published without its images" in page.text("body")
    right = (run.predicted() == run.labels()).sum(axis=0)
    assert page.text("#view-sample h2") == f"Sample no. {right.argmin()}, {run.labels()[right.argmin()]}"
    page.press("easy")
    shown = page.js(
        """const {data} = document.querySelector('#wall canvas').getContext('2d').getImageData(8, 8, 1, 1);
        return [...data].slice(0, 3)"""
    )
    assert shown == [240, 246, 252]  # as all that is easy
    mine = run.predicted(networks=best(students(run)))[0]
    wrong = sorted(np.flatnonzero(mine != run.labels()), key=lambda s: (right[s], s))[:24]
    cards = "return [...document.querySelectorAll('#view-network .tile')].map(t => t.firstElementChild.innerText)"
    assert page.js(cards) == [str(run.labels()[s]) for s in wrong]
    page.drag(".board", (0.5, 0.1), (0.5, 0.9))
    page.until("return document.getElementById('view-live').dataset.state === 'answered'", 60)
    votes = page.js("return [...document.querySelectorAll('.live .vote')].map(each => +each.dataset.votes)")
    assert sum(votes) == 17
    assert "a drawing is taken as it lies" in page.text("#view-live")
    assert page.errors() == []


def test_those_that_stopped_earlier_keep_their_last_answers(page_of, tmp_path):
    """A network of one epoch among others of three, as baselines are."""
    plant(tmp_path / "run", 14, 60, epochs=3, classes=6)
    short = "Basic"
    for table in ("epochs", "predictions"):
        for path in (tmp_path / "run" / table).glob("*.parquet"):
            cut(path, short)
    run = Run(tmp_path / "run")
    last = run.predicted()
    page = page_of(tmp_path / "run")
    committee = page.table("#view-committee .scroll table")[1]
    assert committee[1] == f"{100 * (majority(last) == run.labels()).mean():.2f} %"
    page.find("#view-networks input[type=search]").send_keys(short)
    page.settle()
    alone = (run.predicted(1, networks=short)[0] == run.labels()).mean()
    assert page.table("#view-committee .scroll table")[1][1] == f"{100 * alone:.2f} %"


def cut(path, network):
    """Leave of a network's rows in a file those of the first epoch alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    frame = table.to_pandas()
    keep = (frame["network"].astype(str) != network) | (frame["epoch"] == 1)
    if not keep.all():
        pq.write_table(table.filter(pa.array(keep.tolist())), path, write_page_checksum=True)


def test_what_does_not_fit_is_left_out_by_the_rule(page_of, tmp_path):
    plant(tmp_path / "run", 20, 400, classes=6, epochs=2, weird=0.03, confusing=0.03)
    run = Run(tmp_path / "run")
    page = page_of(tmp_path / "run", samples=100)
    note = page.text("p.note")
    assert note.startswith("Kept in this page are 100 of 400 test samples: the 40 that fewest networks have right")
    kept = {int(row[0]) for row in page.rows("The samples as a table")}
    assert len(kept) == 100
    votes = run.ask("easy", everyone=True, at_least=0.0).table.sort_values(["right", "sample"])
    assert set(votes["sample"].head(40)) <= kept
    for kind in ("weird", "confusing"):
        assert set(run.ask(kind, everyone=True).table["sample"]) <= kept
    shown = {row[0]: row[4] for row in page.rows("The networks as a table")}
    frame = students(run).set_index("name")["accuracy"]
    assert shown == {name: f"{100 * a:.2f} %" for name, a in frame.items()}  # of all samples
