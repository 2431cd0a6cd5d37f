"""Who is good where the published threshold leaves few; how little a ranking can tell."""

import re

import numpy as np
import pytest
from handmade import make_run, sure

from netpick import exam
from netpick.core.errors import NetpickError
from netpick.exam import plant
from netpick.exam.planted.redrawn import Redrawn
from netpick.exam.run import Run


def run_of(folder, families, samples=40):
    """A run of networks by computation, each with the number of samples that it has wrong."""
    wrong = {f"{c}-{i}": n for c, each in families.items() for i, n in enumerate(each)}
    answers = {name: sure((np.arange(samples) < n).astype(int), 2) for name, n in wrong.items()}
    networks = {name: {"computation": name.split("-")[0]} for name in answers}
    return make_run(folder, answers, np.zeros(samples, int), networks)


def test_the_published_threshold_holds_where_it_leaves_enough(tmp_path):
    run = run_of(tmp_path / "run", {"a": [0] * 5 + [20] * 5, "b": [4] * 5 + [20] * 5})
    frame = exam.selected(run)
    assert (len(frame), frame.attrs["good"], frame.attrs["published"]) == (10, 0.8, None)
    assert exam.whom(frame, False) == "10 good students of 20 (at least 80 % in every attempt)"
    assert exam.how_many(frame) == "10 of 20 students"
    assert exam.how_many(exam.selected(run, everyone=True)) == "20 students"


def test_where_it_leaves_fewer_than_a_third_another_takes_over(tmp_path):
    run = run_of(tmp_path / "run", {"a": [0, 1, 2, *range(10, 22)], "b": range(10, 25)})
    frame = exam.selected(run)
    assert len(frame) == 3 + 5 + 5
    assert frame.attrs["good"] == pytest.approx(1 - 14 / 40)  # five of b; a third of all would be 1 - 13 / 40
    assert frame.attrs["published"] == 3
    assert "of 30 (at least 65 % in every attempt, where 80 % would leave 3)" in exam.whom(frame, False)
    for question in ("strategies", "macs", "ability", "easy", "learning"):
        answer = run.ask(question)
        assert f"{len(frame)} good students of 30 (at least 65 %" in answer.text, question
    title = " ".join(run.ask("strategies").figure().get_suptitle().split())
    assert f"({len(frame)} of 30 students)" in title


def test_five_of_a_computation_are_left_but_not_more_than_two_thirds_of_all(tmp_path):
    some = run_of(tmp_path / "some", {"a": [0] * 8 + [30] * 8, "b": [9, 10, 11, 12, 13, 30, 30, 30]})
    frame = exam.selected(some)
    assert frame.attrs["good"] == pytest.approx(1 - 13 / 40)
    assert frame["computation"].value_counts().to_dict() == {"a": 8, "b": 5}
    failed = run_of(tmp_path / "failed", {"a": [0] * 22, "b": [9] * 4, "dead": [38] * 6})
    assert exam.selected(failed).attrs["good"] == 0.8  # a computation that fails doesn't make failing good


def test_a_threshold_that_is_asked_for_is_taken_as_it_is(tmp_path):
    run = run_of(tmp_path / "run", {"a": [0, *range(20, 30)]})
    assert len(exam.selected(run, good=0.81)) == 1
    with pytest.raises(NetpickError, match="no student"):
        exam.selected(run_of(tmp_path / "other", {"a": [30] * 3}), good=0.81)


def test_replicates_tell_how_much_is_luck_of_the_seed(tmp_path):
    plant(tmp_path / "run", 24, 400, epochs=1, replicates=3)
    run = Run(tmp_path / "run")
    rows = run.epochs[run.epochs["split"] == "test"].groupby("network", observed=True)["accuracy"]
    spread = np.sqrt(rows.var().mean())
    found = exam.luck_of_the_seed(run)
    assert (found.spread, found.replicates, found.freedom) == (pytest.approx(spread), 3, 48)
    assert found.smallest == pytest.approx(2.0106 * spread * np.sqrt(2 / 3), rel=1e-3)
    ranking = (
        "strategies",
        "best",
        "ability",
        "compare",
        "sets",
        "committee",
        "cascade",
        "agreement",
        "sweep",
        "pareto",
    )
    for question in ranking:
        said = f"differ by up to {exam.points(found.smallest)} by luck of the seed alone"
        options = {} if question in ("sweep", "pareto") else {"everyone": True}
        assert said in run.ask(question, **options).note, question
    assert said in run.pick().note


def test_two_trainings_of_one_network_seldom_differ_by_more(tmp_path):
    """Networks of which every replicate is drawn alike: what is called luck is luck in 95 of 100 pairs."""
    plant(tmp_path / "run", 24, 400, epochs=1, replicates=2)
    run = Run(tmp_path / "run")
    pairs = run.epochs[run.epochs["split"] == "test"].groupby("network", observed=True)["accuracy"]
    smallest = exam.luck_of_the_seed(run).smallest * np.sqrt(2)  # of one training each
    assert (abs(pairs.first() - pairs.last()) <= smallest).mean() >= 0.85


def test_without_replicates_cheap_and_good_networks_are_named_for_them(tmp_path):
    plant(tmp_path / "run", 24, 100, epochs=1)
    run = Run(tmp_path / "run")
    assert exam.luck_of_the_seed(run) is None
    frame = exam.students(run)
    able = frame[frame["accuracy"] >= frame["accuracy"].median()].sort_values(["seconds", "name"])
    note = run.ask("strategies").note
    names = able["name"].head(5)
    assert f"give replicates to a few that are cheap and good, such as {exam.listed(names)}" in note
    assert "(the question `best` has the commands)" in note
    commands = run.ask("best").note.rpartition(": `")[2].rstrip("`")
    export, generate, train = commands.split(" && ")
    assert export == f"netpick export {tmp_path}/run {' '.join(names)} --to {tmp_path}/run-few.jsonl"
    assert f"--networks {tmp_path}/run-few.jsonl --dataset planted --seed 0" in generate
    assert generate.endswith(f"--set recipe.epochs=1 --set recipe.replicates=5 --run {tmp_path}/run-few")
    assert train == f"netpick train {tmp_path}/run-few"


def test_equally_good_networks_seldom_differ_by_more_than_luck_of_the_samples(tmp_path):
    plant(tmp_path / "run", 40, 300, classes=2, epochs=1, scores="none")
    labels, rng, apart = Run(tmp_path / "run").labels(), np.random.default_rng(0), []
    for _ in range(10):
        hard = rng.random(300) < 0.2  # on these all guess, so that they agree on the others
        right = np.where(hard, rng.random((40, 300)) < 0.5, True)
        run = Redrawn(tmp_path / "run", np.where(right, labels, 1 - labels))
        smallest = float(re.search(r"differ by up to ([\d.]+) percentage points by luck of these 300 samples",
                                   exam.said_of_luck(run))[1])  # fmt: skip
        apart += (100 * abs(right[::2].mean(axis=1) - right[1::2].mean(axis=1)) <= smallest).tolist()
    assert 0.88 <= np.mean(apart) <= 0.99
