import importlib
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from netpick import Run
from netpick.core.result import EpochResult, SplitResult, TrainingResult

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


def test_what_lies_between_two_trainings_is_told_from_when_they_began_and_what_they_took(script):
    """Three trainings on one worker, of 1 s, 2 s and 1 s, with 5 ms and 250 ms between; the second one failed."""

    def training(name, begun, seconds, status, *epochs):
        splits = (SplitResult("test", 0.0, 0.0, (), (), 0.1, np.zeros((1, 2))),)
        made = tuple(EpochResult(n, 0.0, took, None, splits) for n, took in enumerate(epochs, 1))
        began = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=begun)
        plan = "fp32/compiled/fused/plain"
        return TrainingResult(name, name, 0, status, 0, "cpu", plan, began, seconds, epochs=made)

    results = [
        training("c", 3.255, 1.0, "done", 0.3, 0.3),
        training("a", 0.0, 1.0, "done", 0.44, 0.35),
        training("b", 1.005, 2.0, "failed", 0.4),
    ]
    first, last = script("gaps").rows_of(results)
    assert (first["network"], first["between"], last["network"]) == ("a", None, "c")
    assert (first["own"], first["first"], first["inside"]) == pytest.approx((10, 90, 990))
    assert (last["own"], last["first"], last["between"]) == pytest.approx((200, 0, 250))
