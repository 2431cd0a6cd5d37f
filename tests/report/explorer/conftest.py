from __future__ import annotations

import importlib.util
import shutil

import numpy as np
import pandas as pd
import pytest

from netpick.exam import plant
from netpick.exam.run import Run
from netpick.report.explorer.page import write_explorer

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
MISSING = [
    name
    for name, there in {
        "chromium": CHROMIUM, "chromedriver": DRIVER, "selenium": importlib.util.find_spec("selenium"),
    }.items()
    if not there
]  # fmt: skip


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("browser") and MISSING:
            item.add_marker(pytest.mark.skip(reason=f"there is no {', no '.join(MISSING)} here"))


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """One browser for all pages; nothing of the user's own is in it."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


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
def page_of(driver, tmp_path_factory):
    """Write the page of a run's folder, and open it."""
    from browsing import Page

    def opened(folder, **options):
        path = tmp_path_factory.mktemp("page") / "explore.html"
        write_explorer(Run(folder), path, **options)
        return Page(driver, path.as_uri())

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
