from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from browsers import Chromium, Firefox

from netpick.exam import plant
from netpick.exam.run import Run
from netpick.report.explorer.page import write_explorer

BROWSERS = {"chromium": Chromium, "firefox": Firefox}
CHOSEN = BROWSERS[os.environ.get("NETPICK_BROWSER", "chromium")]
"""All tests run in this one: `NETPICK_BROWSER=firefox pytest -m browser` takes Firefox."""


def pytest_collection_modifyitems(items):
    for item in items:
        if not (mark := item.get_closest_marker("browser")):
            continue
        missing = (BROWSERS[mark.args[0]] if mark.args else CHOSEN).missing
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"there is no {', no '.join(missing)} here"))


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """One browser for all pages; nothing of the user's own is in it."""
    browser = CHOSEN(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


@pytest.fixture(scope="session")
def driver(browser):
    return browser.driver


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A planted run with all that a run can have: six classes, three epochs, a failed training, one to come."""
    folder = tmp_path_factory.mktemp("explored") / "run"
    plant(folder, 40, 120, classes=6, epochs=3, failed=1, pending=1, weird=0.04, confusing=0.04, seed=3)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run of small networks of all families, trained for two epochs, whose weights were kept."""
    from trained import train_small

    return train_small(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def answers(folder):
    """All answers of the run, as anyone reads them with pandas."""
    frame = pd.concat(map(pd.read_parquet, sorted((folder / "predictions").glob("*.parquet"))))
    for column in ("network", "split"):
        frame[column] = frame[column].astype(str)
    return frame


@pytest.fixture(scope="session")
def given(answers):
    """The predicted classes at the last epoch: a row a network, a column a sample."""
    last = answers[answers["epoch"] == answers["epoch"].max()]
    return last.pivot(index="network", columns="sample", values="predicted")


@pytest.fixture(scope="session")
def labels(answers):
    return answers.drop_duplicates("sample").set_index("sample")["label"].sort_index().to_numpy(np.int64)


@pytest.fixture(scope="session")
def page_of(browser, tmp_path_factory):
    """Write the page of a run's folder, and open it."""
    from browsing import Page

    def opened(folder, **options):
        path = tmp_path_factory.mktemp("page") / "explore.html"
        write_explorer(Run(folder), path, **options)
        return Page(browser, path.as_uri())

    return opened


@pytest.fixture(scope="session")
def the_page(page_of, folder):
    return page_of(folder)


@pytest.fixture
def page(the_page):
    """The page of the run as it is when it is opened; and nothing on it may fail."""
    the_page.size(1280, 900)
    the_page.open()
    the_page.errors()
    yield the_page
    assert the_page.errors() == []
