"""layer_times: the planted factors are found, and what was not timed is said."""

import shutil

import numpy as np
import pandas as pd
import pytest

from netpick.core.errors import NetpickError
from netpick.exam.planted.layers import FACTORS
from netpick.exam.run import Run
from netpick.store.folder import Store


def test_the_planted_factors_are_found(planted):
    run, _ = planted
    table = run.ask("layer_times").table.set_index("op")
    for op, factor in FACTORS.items():
        assert table.loc[op, "low"] <= factor <= table.loc[op, "high"]
        assert table.loc[op, "factor"] == pytest.approx(factor, rel=0.1)
    assert table.loc[["Reshape", "LogSoftmax"], "factor"].isna().all()


def test_counts_and_shares_by_a_plain_sum(planted):
    run, _ = planted
    answer = run.ask("layer_times")
    rows = run.layer_times
    assert answer.table["share"].sum() == pytest.approx(1)
    assert answer.table["share"].is_monotonic_decreasing
    for row in answer.table.to_dict("records"):
        mine = rows[rows["op"] == row["op"]]
        assert (row["layers"], row["networks"]) == (len(mine), len(set(mine["network"])))
        assert row["share"] == pytest.approx(mine["seconds"].sum() / rows["seconds"].sum())
        assert [row["q25"], row["median"], row["q75"]] == pytest.approx(
            (1e6 * np.percentile(mine["seconds"], [25, 50, 75])).tolist()
        )
    assert f"Reshape {1e6 * rows.loc[rows['op'] == 'Reshape', 'seconds'].median():.2g} µs" in answer.text
    assert "Conv3d takes" not in answer.figure().get_suptitle()
    assert "longer than Linear" in " ".join(answer.figure().get_suptitle().split())


def test_who_was_not_timed_is_told_how(planted, tmp_path):
    folder = shutil.copytree(planted[1].folder, tmp_path / "run")
    (folder / "layer_times.parquet").unlink()
    with pytest.raises(NetpickError, match=r"the layers of .*run have not been timed: `netpick time .*run` does"):
        Run(folder).ask("layer_times")


def rows_of(times):
    """Rows of layers: by network, (op, macs, seconds) of each."""
    return [
        {"network": name, "device": "cpu", "threads": 1, "layer": i, "op": op, "macs": macs, "seconds": took}
        for name, layers in times.items()
        for i, (op, macs, took) in enumerate(layers)
    ]


def test_without_macs_there_is_no_factor_and_few_networks_have_none(planted, tmp_path):
    folder = shutil.copytree(planted[1].folder, tmp_path / "run")
    names = Run(folder).networks["name"].tolist()
    store = Store.open(folder)
    (folder / "layer_times.parquet").unlink()
    store.write_layer_times(rows_of({names[0]: [("Reshape", 0, 1e-6), ("Linear", 10, 5e-3)]}))
    answer = Run(folder).ask("layer_times")
    assert answer.table["factor"].isna().all()
    assert "Linear takes" in answer.text
    assert "At the same macs" not in answer.text
    assert "1 of 60 networks were timed" in answer.note
    assert answer.figure().axes
    store.write_layer_times(rows_of({names[0]: [("Reshape", 0, 3e-6)], names[1]: [("Reshape", 0, 1e-6)]}))
    there = pd.read_parquet(folder / "layer_times.parquet")
    assert there["seconds"].tolist() == [3e-6, 1e-6]  # all that was said of the first network gave way
