"""Names of classes and networks with a `$`, which matplotlib takes for the beginning of a formula."""

from io import StringIO

import matplotlib as mpl
import numpy as np
import pytest
from handmade import make_run, sure

from netpick.exam import plant
from netpick.exam.run import Run

NAMES = ["$x_{$", "a$b$c"]


def drawn(answer):
    """Return the figure as SVG whose texts are texts."""
    file = StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        answer.figure().savefig(file, format="svg")
    return file.getvalue()


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names") / "run"
    plant(folder, 24, 80, epochs=1)
    run = Run(folder)
    run.manifest["classes"] = NAMES * 5
    return run


@pytest.mark.parametrize("name", ["easy", "weird", "confusing", "suspects", "why_hard", "best", "versus"])
def test_classes(classes, name):
    options = {"versus": {}, "suspects": {"everyone": True, "agree": 0.3, "confidence": 0.3}}
    svg = drawn(classes.ask(name, **options.get(name, {"everyone": True})))
    for one in NAMES:
        assert f">{one}<" in svg


@pytest.mark.parametrize("name", ["best", "versus"])
def test_networks(tmp_path, name):
    labels = np.arange(40) % 2
    other = np.where(np.arange(40) < 5, 1 - labels, labels)
    run = make_run(tmp_path / "run", {NAMES[0]: sure(labels, 2), NAMES[1]: sure(other, 2)}, labels)
    svg = drawn(run.ask(name))
    assert f">{NAMES[0]}<" in svg
    assert f">{NAMES[0]} " in svg  # the title
