"""changes: two runs, or two attempts, worked out from the files by pandas; how often a change is claimed of none."""

from math import comb

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import stats

from netpick.analysis import changes
from netpick.core.errors import NetpickError
from netpick.exam import Run, plant

SIZE = {"networks": 24, "samples": 120, "seed": 3, "scores": "none", "compact": True}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two runs of the same networks and samples: of the first three attempts are kept, of the other two."""
    folder = tmp_path_factory.mktemp("changes")
    for name, epochs in (("a", 3), ("b", 2)):
        plant(folder / name, epochs=epochs, **SIZE)
    return folder / "a", folder / "b"


def right(folder, epoch):
    """Return who is right, a row a network that is done, from the files."""
    done = pq.read_table(folder / "trainings").to_pandas().query("status == 'done'")["network"]
    rows = pq.read_table(folder / "predictions").to_pandas()
    rows = rows[(rows["epoch"] == epoch) & (rows["split"] == "test") & rows["network"].isin(done)]
    rows = rows.assign(right=rows["predicted"] == rows["label"])
    return rows.pivot_table("right", "network", "sample", observed=True).astype(bool)


def checked(answer, now, before):
    table = answer.table.set_index("name")
    assert set(table.index) == set(now.index)
    p = []
    for name, row in table.iterrows():
        mine, then = now.loc[name], before.loc[name]
        assert (row["accuracy"], row["before"]) == pytest.approx((mine.mean(), then.mean()))
        assert row["difference"] == pytest.approx(mine.mean() - then.mean())
        counts = [(mine & ~then).sum(), (then & ~mine).sum()]
        assert [row["gained"], row["lost"]] == counts
        fewer, of = min(counts), sum(counts)
        fair = [comb(of, k) / 2**of for k in range(fewer + 1)]
        p.append(2 * sum(fair) - fair[-1])
    order = np.argsort(p, kind="stable")
    holm = np.minimum(np.maximum.accumulate(np.array(p)[order] * np.arange(len(p), 0, -1)), 1)
    assert table["p"].to_numpy()[order] == pytest.approx(holm)
    assert table["difference"].is_monotonic_decreasing
    assert table["place"].tolist() == stats.rankdata(-table["accuracy"].round(12), method="min").tolist()
    return table


def test_another_run_of_the_same_networks(pair):
    now, before = right(pair[0], 3), right(pair[1], 2)
    answer = Run(pair[0]).ask("changes", against=str(pair[1]))
    table = checked(answer, now, before)
    gain = 100 * (now.to_numpy().mean() - before.loc[now.index].to_numpy().mean())
    assert f"{len(table)} of {len(table)} students have" in answer.text or f"{len(table)} students have" in answer.text
    assert f"{abs(gain):.2f}".rstrip("0").rstrip(".") + " percentage points" in answer.text
    assert "What differs: epochs 3 here, 2 there." in answer.text
    rho = stats.spearmanr(table["accuracy"], table["before"]).statistic
    assert f"rank correlation {rho:.2f}" in answer.text


def test_without_another_run_the_attempt_before(pair):
    checked(Run(pair[0]).ask("changes"), right(pair[0], 3), right(pair[0], 2))


def test_a_row_a_sample(pair):
    now, before = right(pair[0], 3), right(pair[1], 2)
    table = Run(pair[0]).ask("changes", against=str(pair[1]), by="sample").table
    assert table["difference"].is_monotonic_decreasing
    for row in table.itertuples():
        mine, then = now[row.sample], before[row.sample].loc[now.index]
        assert (row.right, row.before) == pytest.approx((mine.mean(), then.mean()))
        assert (row.gained, row.lost) == ((mine & ~then).sum(), (then & ~mine).sum())


def test_other_samples_are_compared_by_accuracy_alone(pair, tmp_path):
    plant(tmp_path / "c", epochs=2, **{**SIZE, "samples": 130})
    answer = Run(pair[0]).ask("changes", against=str(tmp_path / "c"))
    assert {"gained", "lost", "p"}.isdisjoint(answer.table.columns)
    assert "single networks are not tested" in answer.text
    answer.figure()
    with pytest.raises(NetpickError, match=r"has other test samples than .* ask by network"):
        Run(pair[0]).ask("changes", against=str(tmp_path / "c"), by="sample")


def test_what_can_not_be_compared_is_refused(pair, tmp_path):
    plant(tmp_path / "one", epochs=1, **SIZE)
    with pytest.raises(NetpickError, match="has one attempt alone: name another run, --against RUN"):
        Run(tmp_path / "one").ask("changes")
    with pytest.raises(NetpickError, match="nowhere"):
        Run(pair[0]).ask("changes", against=str(tmp_path / "nowhere"))
    with pytest.raises(NetpickError, match="by"):
        Run(pair[0]).ask("changes", by="class")


def null_pairs(rng, networks, samples, luck):
    """Draw a run twice, of networks of which each training is lucky or not; nothing else is different."""
    skill, ease = rng.normal(2, 0.7, (networks, 1)), rng.normal(0, 1.2, samples)
    sides = [rng.random((networks, samples)) < 1 / (1 + np.exp(-(skill + ease + rng.normal(0, luck, (networks, 1)))))
             for _ in range(2)]  # fmt: skip
    frame = pd.DataFrame({"accuracy": sides[0].mean(axis=1), "before": sides[1].mean(axis=1)})
    return changes.Pairs(frame, *sides, True, "the other", "")


@pytest.mark.parametrize(("networks", "samples", "luck"), [(8, 200, 0.3), (60, 100, 0.0), (60, 300, 0.3)])
def test_no_change_is_seldom_called_one(networks, samples, luck):
    rng, times = np.random.default_rng(5), 120
    wrong = sum(null_pairs(rng, networks, samples, luck).mean().p < 0.05 for _ in range(times))
    assert stats.binomtest(int(wrong), times, 0.05, alternative="greater").pvalue > 0.01


def test_a_change_is_found():
    rng = np.random.default_rng(6)
    pairs = null_pairs(rng, 60, 300, 0.3)
    better = pairs.right | (rng.random(pairs.right.shape) < 0.3)
    found = changes.Pairs(pairs.frame, better, pairs.before, True, "", "").mean()
    assert found.low <= better.mean() - pairs.before.mean() <= found.high
    assert found.p < 0.001
