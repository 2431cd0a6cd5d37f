import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from netpick import Run

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """Import a benchmark as it is run: with its own folder first on the path."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if (FOLDER / f"{name}.py").is_file():
            del sys.modules[name]


def test_the_interval_of_paired_differences_is_students(script):
    values = np.random.default_rng(0).normal(0.1, 1, 25)
    mean, low, high = script("precision").interval(values)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((values.mean(), expected.low, expected.high))


def test_the_panel_counts_the_geometric_mean_of_medians_and_the_worst_network(script):
    rows = [
        {"network": "a", "train: x/netpick": [1, 2, 9]},
        {"network": "b", "train: x/netpick": [8, 8, 1]},
    ]
    assert script("panel").summary(rows) == {
        "train: x/netpick": {"geometric_mean": pytest.approx(4), "worst": 2, "worst_network": "a"}
    }


def test_slopes_and_parts_of_made_up_measurements_are_found(script):
    x = [100.0, 300.0, 1001.0]
    assert script("_growth").slope(x, [3 * n**1.5 for n in x]) == pytest.approx(1.5)
    short, long = (
        {"networks": n, "rows": n * rows, "commit_seconds": n * (0.02 + 1e-6 * rows)}
        for n, rows in ((1000, 500), (24, 10_000))
    )
    assert script("scaling").in_two_parts("commit_seconds", short, long, 40_000) == pytest.approx(0.02 + 0.04)


def test_a_filled_store_has_all_networks_in_few_files(script, tmp_path, monkeypatch):
    growth = script("_growth")
    monkeypatch.setattr(growth, "ask_alone", lambda folder, name, figure: {"asked": len(Run(folder).networks)})
    found = growth.fill_store(tmp_path / "store", 13, 60)
    assert (found["networks"], found["rows"], found["files_before"], found["files_after"]) == (13, 780, 39, 3)
    assert found["asked"]["easy"] == {"asked": 13}
    run = Run(tmp_path / "store")
    assert run.predicted().shape == (13, 60)
