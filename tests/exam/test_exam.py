import gc
import statistics
import subprocess
import sys
import weakref

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from netpick import exam
from netpick.core.errors import NetpickError, RunError
from netpick.exam import ballots, plant
from netpick.exam.run import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exam") / "run"
    plant(folder, 24, 80, epochs=3, replicates=2, failed=2, diverged=1, pending=1, validation=50, seed=1)
    return folder


@pytest.fixture
def run(folder):
    return Run(folder)


def rows_by_hand(folder):
    """Accuracy by network, replicate and epoch, of done trainings, from the predictions alone, in plain Python."""
    run = Run(folder)
    trainings = run.trainings[["network", "replicate", "status"]].itertuples(index=False)
    done = {(n, r) for n, r, s in trainings if s == "done"}
    rows = run.predictions(epoch=None, replicate=None, columns=["network", "replicate", "epoch", "label", "predicted"])
    out = {}
    for n, r, e, label, predicted in rows.itertuples(index=False):
        if (n, r) in done:
            out.setdefault((n, r, e), []).append(label == predicted)
    return {key: sum(v) / len(v) for key, v in out.items()}


def test_students_by_a_plain_count(run, folder):
    marks = rows_by_hand(folder)
    frame = exam.students(run, good=0.85, gold=0.9)
    names = {n for n, _, _ in marks}
    assert frame["name"].tolist() == [n for n in run.networks["name"] if n in names]
    for row in frame.itertuples():
        each = [statistics.fmean(marks[row.name, r, e] for r in (0, 1)) for e in (1, 2, 3)]
        assert row.accuracy == pytest.approx(each[-1])
        assert row.lowest == pytest.approx(min(each))
        assert (row.epochs, row.replicates) == (3, 2)
        assert row.good == (min(each) >= 0.85 - 1e-9)
        assert row.star == (row.good and each[-1] > 0.9 + 1e-9)
    assert frame["good"].any()
    assert not frame["good"].all()
    seconds = run.epochs[run.epochs["split"] == "test"].groupby(["network", "replicate"], observed=True)[
        "train_seconds"
    ]
    assert frame.set_index("name").loc["Basic", "seconds"] == pytest.approx(seconds.sum()["Basic"].mean())
    assert frame.attrs == {"good": 0.85, "gold": 0.9, "of": len(frame), "published": None}


def test_attempts_and_validation_split(run, folder):
    marks = rows_by_hand(folder)
    wide = exam.attempts(run)
    assert list(wide.columns) == [1, 2, 3]
    assert wide.loc["Basic", 2] == pytest.approx((marks["Basic", 0, 2] + marks["Basic", 1, 2]) / 2)
    assert not exam.attempts(run, "validation").equals(wide)
    with pytest.raises(RunError, match=r"no split 'tset' .did you mean 'test'"):
        exam.attempts(run, "tset")


def test_quantile_takes_thresholds_from_the_run(run):
    frame = exam.students(run, quantile=0.5)
    assert frame["good"].mean() == pytest.approx(0.5, abs=0.1)
    good = frame[frame["good"]]
    assert frame.attrs["good"] == np.percentile(frame["lowest"], 50, method="lower")
    assert frame.attrs["gold"] == np.percentile(good["accuracy"], 50, method="lower")
    assert 0 < good["star"].sum() <= len(good) / 2
    assert not exam.students(run, quantile=1.0)["star"].any()


def test_selected(run):
    frame = exam.students(run, good=0.85)
    assert exam.selected(run, good=0.85)["name"].tolist() == frame.loc[frame["good"], "name"].tolist()
    assert len(exam.selected(run, everyone=True, good=0.85)) == len(frame)
    with pytest.raises(NetpickError, match=r"no student .* is good, with at least 1 in every attempt .* comes nearest"):
        exam.selected(run, good=1.0)


def test_final_answers_are_those_of_the_first_replicate_at_the_last_epoch(run, folder):
    names, predicted, labels = exam.final(run)
    frame = run.predictions(columns=["network", "predicted", "label"])
    for name, row in zip(names, predicted, strict=True):
        mine = frame[frame["network"] == name]
        assert np.array_equal(row, mine["predicted"])
    assert np.array_equal(labels, mine["label"])
    some = [names[5], names[2]]
    assert np.array_equal(exam.final(run, some)[1], predicted[[5, 2]])
    assert exam.final(run, some)[0] == some
    assert predicted.dtype == np.int16


def test_final_scores_whole_range_few_and_mixed_agree(run, folder):
    names, scores, _ = exam.final_scores(run)
    few = exam.final_scores(Run(folder), names[3:5])  # read by themselves
    assert np.array_equal(few[1], scores[3:5])
    part_names, part, _ = exam.final_scores(run, names[3:20])
    assert part_names == names[3:20]
    assert np.shares_memory(part, scores)
    mixed = exam.final_scores(run, [names[7], names[1], names[2]])
    assert np.array_equal(mixed[1], scores[[7, 1, 2]])
    assert np.shares_memory(exam.final_scores(run)[1], scores)


def test_scores_that_are_too_many_to_be_held_are_read_in_pieces(run, folder, monkeypatch):
    names, scores, _ = exam.final_scores(run)
    some = [name for i, name in enumerate(names) if i % 3]
    held = list(exam.score_blocks(run, some, block=4))
    assert [name for whose, _ in held for name in whose] == some
    assert np.array_equal(np.concatenate([block for _, block in held]), scores[[names.index(name) for name in some]])
    monkeypatch.setattr(ballots, "HELD", scores.nbytes - 1)
    monkeypatch.setattr(ballots, "PIECE", scores[:9].nbytes)
    large, read = Run(folder), []
    monkeypatch.setattr(large, "scores", lambda **asked: read.append(asked["networks"]) or run.scores(**asked))
    found = list(exam.score_blocks(large, some, block=3))
    for whose, block in found:
        assert np.array_equal(block, scores[[names.index(name) for name in whose]])
    assert [name for whose, _ in found for name in whose] == sorted(some)  # as files have them: each is read once
    assert {len(block) for _, block in found[:-1]} == {3}
    assert max(map(len, read)) == 9
    assert exam.final_scores(large, names[:-1])[0] == names[:-1]
    assert len(read[-1]) == len(names) - 1  # not all of them, of which it then takes some


def test_a_network_whose_first_replicate_failed_answers_with_its_second(tmp_path):
    plant(tmp_path / "run", 12, 60, epochs=1, replicates=2)
    run = Run(tmp_path / "run")
    name = run.networks["name"].iloc[3]
    run.trainings.loc[(run.trainings["network"] == name) & (run.trainings["replicate"] == 0), "status"] = "failed"
    names, predicted, _ = exam.final(run)
    second = run.predicted(networks=[name], replicate=1)[0]
    assert np.array_equal(predicted[names.index(name)], second)
    assert np.array_equal(predicted[0], run.predicted(networks=[names[0]])[0])
    assert exam.students(run).set_index("name").loc[name, "accuracy"] == (second == run.labels()).mean()


def test_what_was_read_goes_with_the_run(folder):
    run = Run(folder)
    kept = weakref.ref(exam.final(run)[1])
    gc.collect()
    assert kept() is not None
    del run
    gc.collect()
    assert kept() is None


def test_notes_say_what_is_missing(run, tmp_path):
    text = exam.notes(run)
    assert "2 of 48 trainings are still to come" in text
    assert "4 failed" in text
    assert "2 diverged" in text
    assert "replicates" in text
    plant(tmp_path / "run", 12, 60, epochs=1)
    assert exam.notes(Run(tmp_path / "run")) == "there is one attempt (epoch) only"
    plant(tmp_path / "two", 12, 60, epochs=2)
    assert exam.notes(Run(tmp_path / "two")) == ""


def test_a_run_without_trainings_says_so(tmp_path):
    plant(tmp_path / "run", 12, 60, epochs=1)
    for table in ("trainings", "epochs", "predictions"):
        for file in (tmp_path / "run" / table).iterdir():
            file.unlink()
    with pytest.raises(RunError, match="no finished training yet"):
        exam.students(Run(tmp_path / "run"))


def test_need_network(run):
    assert exam.need_network(run, "Basic") == "Basic"
    with pytest.raises(RunError, match="did you mean 'Basic'"):
        exam.need_network(run, "basic")
    failed = run.trainings.loc[run.trainings["status"] == "failed", "network"].iloc[0]
    with pytest.raises(RunError, match="ended as failed"):
        exam.need_network(run, failed)
    pending = set(run.networks["name"]) - set(run.trainings["network"])
    with pytest.raises(RunError, match="not been trained yet"):
        exam.need_network(run, pending.pop())


def test_checks():
    assert exam.check_fraction("x", 1) == 1.0
    for wrong in (-0.1, 1.1, float("nan"), "a", None):
        with pytest.raises(NetpickError, match=r"x is .*: give a number from 0 to 1"):
            exam.check_fraction("x", wrong)
    assert exam.check_count("n", 3) == 3
    for wrong in (0, 1.5, True, "2"):
        with pytest.raises(NetpickError, match=r"n is .*: give a whole number from 1 on"):
            exam.check_count("n", wrong)


def test_best_breaks_ties_by_macs_params_name():
    frame = pd.DataFrame(
        [("d", 0.9, 5, 5), ("c", 0.9, 4, 6), ("b", 0.9, 4, 5), ("a", 0.9, 4, 5), ("z", 0.8, 1, 1)],
        columns=["name", "accuracy", "macs", "params"],
    )
    assert exam.best(frame) == "a"
    assert exam.best(frame[frame["name"] != "a"]) == "b"
    assert exam.basic(frame) is None


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.integers(0, 5))
def test_halves_are_a_split_even_in_each_class(labels, seed):
    labels = np.array(labels)
    a, b = exam.halves(len(labels), seed, labels)
    assert sorted([*a, *b]) == list(range(len(labels)))
    assert 0 <= len(a) - len(b) <= 1
    for c in range(5):
        assert abs(int((labels[a] == c).sum()) - int((labels[b] == c).sum())) <= 1
    plain = exam.halves(len(labels), seed)
    assert sorted(np.concatenate(plain)) == list(range(len(labels)))


@given(st.integers(2, 6).flatmap(lambda c: st.tuples(
    st.just(c), st.lists(st.lists(st.integers(0, c - 1), min_size=3, max_size=3), min_size=1, max_size=9),
    st.lists(st.integers(0, c - 1), min_size=3, max_size=3),
)))  # fmt: skip
def test_ballot_by_a_plain_count(case):
    classes, answers, labels = case
    table = exam.ballot(np.array(answers, np.int16), np.array(labels, np.int16), [f"k{c}" for c in range(classes)])
    for j, row in enumerate(table.to_dict("records")):
        votes = [sum(a[j] == c for a in answers) for c in range(classes)]
        assert [row[f"votes_{c}"] for c in range(classes)] == votes
        assert row["answer"] == votes.index(max(votes))
        assert row["top"] == pytest.approx(max(votes) / len(answers))
        assert row["right"] == pytest.approx(votes[labels[j]] / len(answers))
        assert row["entropy"] == pytest.approx(stats.entropy(votes, base=2))
        mistakes = [v for c, v in enumerate(votes) if c != labels[j]]
        if sum(mistakes):
            assert row["same"] == pytest.approx(max(mistakes) / sum(mistakes))
            assert votes[row["mistake"]] == max(mistakes)
            assert row["mistake"] != labels[j]
        else:
            assert np.isnan(row["same"])
            assert row["mistake"] == -1


def test_words():
    assert exam.percent(0.98) == "98 %"
    assert exam.percent(0.12345, 1) == "12.3 %"
    assert exam.points(0.01) == "1 percentage point"
    assert exam.points(0.0833) == "8.33 percentage points"


def test_torch_is_never_loaded():
    code = (
        "import sys\nfrom netpick.exam import pictures, plant, questions, theme\n"
        "questions.questions()\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules, 'loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_network_that_is_not_timed_is_missed_whatever_its_layers_quote(run):
    """Baselines are known by their operation; their name as the value of some argument makes no baseline."""
    first, *others = run.networks["name"]
    row = {"device": "cpu", "device_name": "A processor", "threads": 1}
    run.__dict__["timings"] = pd.DataFrame([{"network": name, **row} for name in others])
    done = run.trainings.loc[run.trainings["network"] == first, "status"]
    assert set(done) == {"done"}
    run.networks.loc[0, "layers"] = '[{"op": "netpick:Own", "of": "baseline:nearest_mean"}]'
    assert exam.layers(run)[first] == [{"op": "netpick:Own", "of": "baseline:nearest_mean"}]
    assert not exam.alone(run)
    run.forget()
    run.networks.loc[0, "layers"] = '[{"op": "baseline:nearest_mean"}]'
    assert exam.alone(run)


def test_a_choice_of_a_few_words_is_checked():
    assert exam.check_choice("by", "family", ("student", "family", "attempt")) == "family"
    with pytest.raises(NetpickError, match=r"^by is 'famly' .did you mean 'family'..: give student, .* or attempt$"):
        exam.check_choice("by", "famly", ("student", "family", "attempt"))


def test_what_a_question_adds_comes_after_what_is_missing(run):
    assert exam.notes(run, "", "more") == f"{exam.notes(run)}; more"
    assert exam.notes(run).startswith("the run is not finished")


def test_the_split_to_choose_by_is_validation_where_there_is_one(run, tmp_path):
    assert exam.choosing_split(run) == "validation"
    assert exam.choosing_split(run, "test") == "test"
    assert exam.choosing_split(Run(plant(tmp_path / "run", 12, 60, epochs=1).folder)) == "test"
