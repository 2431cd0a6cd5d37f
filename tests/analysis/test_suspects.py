import sys
import types

import numpy as np
import pandas as pd
import pytest
from handmade import make_run, sure

from netpick import exam
from netpick.analysis import suspects
from netpick.core.errors import NetpickError
from netpick.exam import plant
from netpick.exam.run import Run


@pytest.fixture
def without_cleanlab(monkeypatch):
    for name in ("cleanlab", "cleanlab.filter", "cleanlab.rank"):
        monkeypatch.setitem(sys.modules, name, None)  # Python's own way of saying that there is none


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    truth = plant(tmp_path_factory.mktemp("suspects") / "run", 40, 300, epochs=1, mislabelled=0.02, weird=0.02)
    return truth, Run(truth.folder)


def test_finds_the_planted_labels_and_nothing_else(planted):
    truth, run = planted
    answer = suspects.ask(run)
    table = answer.table
    assert set(table.loc[table["suspect"], "sample"]) == set(truth.mislabelled)
    assert set(table["sample"].head(len(truth.mislabelled))) == set(truth.mislabelled)
    assert (table.loc[table["suspect"], "answer"] == truth.true_label[table.loc[table["suspect"], "sample"]]).all()
    assert answer.text.startswith(f"{len(truth.mislabelled)} of 300 samples are suspect to ")
    assert answer.figure()


def test_everything_is_listed_on_request_in_the_order_of_the_labels_probability(planted):
    table = suspects.ask(planted[1], all_samples=True).table
    assert sorted(table["sample"]) == list(range(300))
    assert table["rank"].tolist() == list(range(1, 301))
    assert table["label_probability"].is_monotonic_increasing


def test_each_number_is_that_of_a_plain_count(planted):
    """By pandas, from the predictions' frame."""
    _, run = planted
    table = suspects.ask(run, all_samples=True).table.set_index("sample")
    good = exam.selected(run)["name"]
    frame = run.predictions(epoch=-1, networks=good)
    for sample in (*table.index[:12], *table.index[-3:]):
        rows = frame[frame["sample"] == sample]
        label = rows["label"].iloc[0]
        p = np.exp(rows[[f"score_{c}" for c in range(10)]].to_numpy(float))
        votes = rows["predicted"].value_counts(normalize=True).reindex(range(10), fill_value=0.0)
        row = table.loc[sample]
        others = votes.drop(label)
        assert row["votes"] == pytest.approx(others.max())
        assert row["votes"] == pytest.approx(votes[row["answer"]])
        assert row["label"] == label
        assert row["label_name"] == run.classes[label]
        assert row["answer_name"] == run.classes[row["answer"]]
        assert row["label_votes"] == pytest.approx(votes[label])
        assert row["label_probability"] == pytest.approx(p[:, label].mean(), abs=1e-6)
        assert row["margin"] == pytest.approx(p[:, row["answer"]].mean() - p[:, label].mean(), abs=1e-6)
        theirs = p[(rows["predicted"] == row["answer"]).to_numpy(), row["answer"]]
        assert np.isnan(row["confidence"]) if not len(theirs) else row["confidence"] == pytest.approx(theirs.mean())


def test_thresholds_decide(tmp_path):
    """Sample 0: all say c1, 0.9 sure; 1: all say c1, 0.6 sure; 2: three of four; the rest are right."""
    labels = np.zeros(40, int)
    said = np.zeros((4, 40), int)
    said[:, :2] = 1
    said[:3, 2] = 2
    confidence = np.full(40, 0.9)
    confidence[1] = 0.6
    run = make_run(tmp_path / "run", {f"N{i}": sure(said[i], 3, confidence) for i in range(4)}, labels)

    def found(**options):
        table = suspects.ask(run, **options).table
        return set(table.loc[table["suspect"], "sample"])

    assert found() == {0}
    assert found(confidence=0.6) == {0, 1}
    assert found(agree=0.75) == {0, 2}
    assert found(confidence=0.95) == set()
    none = suspects.ask(run, confidence=0.95)
    assert none.text.startswith("0 of 40 samples are suspect to 4 good students")
    assert "Nearest to it comes number 0: labelled 'c0', called 'c1' by 100 % of them." in none.text
    assert none.figure()
    one = suspects.ask(run).table
    assert one["sample"].tolist() == [0, 1, 2]  # those alone that are on average called something else
    assert one.loc[0, "margin"] == pytest.approx(0.9 - 0.05, abs=1e-6)


def test_cleanlab_stands_beside_where_it_is_installed(planted, monkeypatch):
    truth, run = planted
    seen = {}

    def quality(labels, probability):
        seen["labels"], seen["probability"] = labels, probability
        return probability[np.arange(len(labels)), labels]

    package, rank, filter_ = (types.ModuleType(n) for n in ("cleanlab", "cleanlab.rank", "cleanlab.filter"))
    rank.get_label_quality_scores = quality
    filter_.find_label_issues = lambda labels, probability, **kwargs: quality(labels, probability) < 0.1
    for module in (package, rank, filter_):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    answer = suspects.ask(run, all_samples=True)
    assert "cleanlab" not in answer.note
    np.testing.assert_array_equal(seen["labels"], run.labels())
    np.testing.assert_allclose(seen["probability"].sum(axis=1), 1)
    table = answer.table
    np.testing.assert_allclose(table["cleanlab_quality"], table["label_probability"], atol=1e-6)
    assert table.sort_values("cleanlab_quality")["cleanlab_rank"].is_monotonic_increasing
    assert sorted(table["cleanlab_rank"]) == list(range(1, 301))
    assert table.loc[table["sample"].isin(truth.mislabelled), "cleanlab_issue"].all()


def test_the_real_cleanlab_finds_the_planted_labels_too(planted):
    pytest.importorskip("cleanlab", reason="cleanlab is not installed")
    truth, run = planted
    table = suspects.ask(run, all_samples=True).table
    n = len(truth.mislabelled)
    assert set(table.nsmallest(n, "cleanlab_rank")["sample"]) == set(truth.mislabelled)


def test_without_cleanlab_there_is_a_note(planted, without_cleanlab):
    answer = suspects.ask(planted[1])
    assert answer.note.endswith("cleanlab is not installed, so its ranking is left out")
    assert not any(c.startswith("cleanlab") for c in answer.table)


def test_impossible_options_are_refused(planted):
    for options in ({"agree": 1.1}, {"confidence": -0.1}, {"images": 0}):
        with pytest.raises(NetpickError, match=f"^{next(iter(options))} is "):
            suspects.ask(planted[1], **options)


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 1, "basic": False},
        {"classes": 2, "epochs": 2},
        {"epochs": 2, "replicates": 2, "validation": 50, "failed": 1, "diverged": 1, "pending": 1},
    ],
)
def test_runs_of_all_kinds_are_answered(tmp_path, options):
    truth = plant(tmp_path / "run", 12, 60, **options)
    answer = suspects.ask(Run(tmp_path / "run"), everyone=True, agree=0.8)
    assert isinstance(answer.table, pd.DataFrame)
    assert set(truth.mislabelled) <= set(answer.table["sample"])
    assert answer.figure()


def test_a_run_without_scores_is_refused(tmp_path):
    plant(tmp_path / "run", 12, 50, epochs=1, scores="none")
    with pytest.raises(NetpickError, match="keeps no scores"):
        suspects.ask(Run(tmp_path / "run"), everyone=True)
