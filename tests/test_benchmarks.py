import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp

FOLDER = Path(__file__).parents[1] / "benchmarks"


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
