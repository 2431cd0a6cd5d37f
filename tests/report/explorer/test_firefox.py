"""The page in Firefox: a short look at what browsers differ in. `NETPICK_BROWSER=firefox` runs all tests there."""

import numpy as np
import pytest
from browsers import Firefox
from browsing import Keys, Page

from netpick.exam.run import Run
from netpick.report.explorer.page import write_explorer

pytestmark = pytest.mark.browser("firefox")

THREE = [(0.3, 0.2), (0.55, 0.12), (0.66, 0.32), (0.45, 0.47), (0.7, 0.62), (0.6, 0.86), (0.28, 0.8)]


def test_firefox_shows_selects_and_answers(trained, tmp_path):
    write_explorer(Run(trained), tmp_path / "explore.html")
    (tmp_path / "profile").mkdir()
    firefox = Firefox(tmp_path / "profile")
    try:
        page = Page(firefox, (tmp_path / "explore.html").as_uri())
        run = Run(trained)
        predicted = run.predicted(networks=run.networks["name"][run.networks["computation"] == "Conv2d"].tolist())
        votes = np.array([np.bincount(column, minlength=10).argmax() for column in predicted.T])
        page.press("Conv2d")
        shown = page.table("#view-committee .scroll table")[1][1]
        assert shown == f"{100 * (votes == run.labels()).mean():.2f} %"
        page.driver.back()
        page.until("return location.hash === ''")
        page.drag("#scatter", (0.5, 0.02), (0.8, 0.5), (0.99, 0.88))
        assert 0 < page.how_many() < 18
        page.type("#wall", Keys.HOME, Keys.ARROW_RIGHT)
        assert "of the selection right" in page.said()
        page.press("All").drag(".board", *THREE)
        page.until("return document.getElementById('view-live').dataset.state === 'answered'", 60)
        assert page.text(".verdict strong") == "3"
        page.size(390, 900, 2, dark=True)
        assert page.js("return document.documentElement.scrollWidth <= innerWidth")
        assert page.errors() == []
    finally:
        firefox.quit()
