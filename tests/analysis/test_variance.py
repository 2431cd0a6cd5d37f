"""variance: the variances that were planted are found, and their bounds hold them; from the files by plain sums."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import stats

from netpick.analysis import variance
from netpick.core.errors import NetpickError
from netpick.exam import Run, plant

SD = {"network": 0.015, "seed": 0.004}


def trainings(rng, families, networks, replicates):
    """Draw accuracies of which each part of the variance is known; those of the families are given."""
    rows = []
    for family, shift in enumerate(families):
        for network in range(networks):
            own = 0.9 + shift + rng.normal(0, SD["network"])
            rows += [(f"{family}-{network}", family, own + rng.normal(0, SD["seed"])) for _ in range(replicates)]
    return pd.DataFrame(rows, columns=["network", "computation", "accuracy"])


@pytest.mark.parametrize(("networks", "replicates"), [(20, 3), (6, 2), (30, 1)])
def test_what_was_planted_is_found_and_lies_within_the_bounds(networks, replicates):
    rng = np.random.default_rng(2)
    families = rng.normal(0, 0.02, 8)
    truth = [families.std(ddof=1), SD["network"], SD["seed"]]
    if replicates == 1:
        truth[1:] = [np.hypot(SD["network"], SD["seed"])]
    tables = [variance.components(trainings(rng, families, networks, replicates)) for _ in range(40)]
    for place, true in enumerate(truth):
        rows = [table.iloc[place] for table in tables]
        assert np.mean([row["sd"] for row in rows]) == pytest.approx(true, rel=0.08)
        held = sum(row["low"] <= true <= row["high"] for row in rows)
        assert stats.binomtest(held, len(rows), 0.95, alternative="less").pvalue > 0.005
    assert all(table["share"].sum() == pytest.approx(1) for table in tables)


def test_a_balanced_design_by_its_mean_squares():
    rows = trainings(np.random.default_rng(4), [0.0, 0.03, -0.01], 5, 4)
    cube = rows["accuracy"].to_numpy().reshape(3, 5, 4)
    within = cube.var(axis=2, ddof=1).mean()
    cells = cube.mean(axis=2).var(axis=1, ddof=1).mean() - within / 4
    groups = cube.mean(axis=(1, 2)).var(ddof=1) - cells / 5 - within / 20
    assert variance.components(rows)["sd"].to_numpy() ** 2 == pytest.approx([groups, cells, within])


def test_a_run_with_replicates_and_one_without(tmp_path):
    for replicates in (1, 3):
        folder = tmp_path / str(replicates)
        plant(folder, 20, 80, epochs=2, replicates=replicates, scores="none")
        answer = Run(folder).ask("variance")
        sources = answer.table["source"].tolist()
        assert sources == (["computation", "network", "seed", "samples"] if replicates > 1 else
                           ["computation", "network and seed", "samples"])  # fmt: skip
        rows = pq.read_table(folder / "epochs").to_pandas().query("epoch == 2 and split == 'test'")
        done = pq.read_table(folder / "trainings").to_pandas().query("status == 'done'")
        rows = rows.merge(done[["network", "replicate"]], on=["network", "replicate"])
        if replicates > 1:
            groups = rows.groupby("network", observed=True)["accuracy"]
            freedom = (groups.size() - 1).sum()
            within = (groups.var(ddof=1) * (groups.size() - 1)).sum() / freedom
            assert answer.table.set_index("source")["sd"]["seed"] == pytest.approx(np.sqrt(within))
        assert f"Scores of {len(rows)} trainings" in answer.text
        answer.figure()


def test_few_networks_have_no_bounds_and_one_has_no_spread(tmp_path):
    rows = trainings(np.random.default_rng(1), [0.0, 0.1], 2, 2)
    assert variance.components(rows)[["low", "high"]].isna().all(axis=None)
    assert variance.components(rows[rows["computation"] == 0])["source"].tolist() == ["network", "seed"]
    plant(tmp_path / "run", 12, 50, scores="none")
    for file in sorted((tmp_path / "run" / "trainings").iterdir())[1:]:
        file.unlink()
    with pytest.raises(NetpickError, match="one network has no spread"):
        Run(tmp_path / "run").ask("variance")
