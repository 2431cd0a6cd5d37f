import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from netpick import Run, exam
from netpick.core.errors import RunError
from netpick.exam import Accuracies, Splits, plant
from netpick.exam.planted.redrawn import Redrawn


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    plant(tmp_path_factory.mktemp("splits") / "run", 12, 100, epochs=1, replicates=3, scores="none", validation=50)
    return tmp_path_factory.getbasetemp() / "splits0" / "run"


@pytest.fixture(scope="module")
def run(folder):
    return Run(folder)


@given(st.lists(st.integers(0, 4), min_size=6, max_size=60), st.integers(2, 3))
def test_parts_are_equal_in_each_class(run, labels, parts):
    labels = np.array(labels, np.int16)
    splits = Splits.of(run, labels, parts, times=3)
    for k in range(3):
        samples = [splits.samples(k, part) for part in range(parts)]
        assert sorted(np.concatenate(samples)) == list(range(len(labels)))
        for c in np.unique(labels):
            counts = [int((labels[one] == c).sum()) for one in samples]
            assert max(counts) - min(counts) <= 1


def test_splits_are_drawn_for_the_run(run, tmp_path):
    """The same run has the same splits, another one with the same labels has others, and so has another seed."""
    labels = run.labels()
    first = Splits.of(run, labels).part
    assert np.array_equal(first, Splits.of(Run(run.path), labels).part)
    assert not np.array_equal(first, Splits.of(run, labels, seed=1).part)
    other = Run(plant(tmp_path / "run", 12, 50, epochs=1, seed=3, scores="none").folder)
    assert not np.array_equal(first, Splits.of(other, labels).part)
    with pytest.raises(RunError, match="has 1 test samples: 2 are needed"):
        Splits.of(run, labels[:1])


def test_means_are_those_of_the_samples_of_a_part(run):
    values = np.random.default_rng(0).random((130, 100)) < 0.5
    splits = Splits.of(run, run.labels(), parts=3, times=4)
    for part in (0, 1, -1):
        expected = [[row[splits.samples(k, part)].mean() for k in range(4)] for row in values]
        assert splits.means(values, part) == pytest.approx(np.array(expected))


def test_the_interval_of_one_network_is_that_of_its_samples(run):
    """Halves of the same samples vary less than new samples would: Nadeau and Bengio put it right."""
    right = np.random.default_rng(0).random((1, 100)) < 0.7
    splits = Splits.of(run, np.zeros(100, np.int16), times=400)
    found = splits.over(splits.means(right)[0])
    error = right.std(ddof=1) / 10
    assert found.mean == pytest.approx(right.mean(), abs=0.01)
    assert found.high - found.mean == pytest.approx(1.96 * error, rel=0.12)
    assert splits.over(np.zeros(400)).p == 1
    assert splits.over(np.ones(400)).p == 0


def test_replicates_that_judge_did_not_choose(folder):
    """Each network has one replicate that is always right, and two that are right on half of the samples."""
    labels = Run(folder).labels()
    wrong = np.broadcast_to(np.arange(100) // 10 % 2 == 0, (3, 12, 100)).copy()
    lucky = np.arange(12) % 3
    wrong[lucky, np.arange(12)] = False
    run = Redrawn(folder, np.where(wrong, (labels + 1) % 10, labels))
    names = exam.students(run)["name"].tolist()
    marks = Accuracies.of(run, names)
    # Of three replicates two choose and one judges: the lucky one chooses twice as often.
    assert (marks.judged > 0.9).mean() == pytest.approx(1 / 3, abs=0.06)
    assert not ((marks.judged > 0.9) & (marks.chosen > 0.74)).any()
    accuracy = np.array([1.0, 0.5, 0.5])
    assert marks.variance == pytest.approx(np.full(12, accuracy.var(ddof=1) / 3))
    assert marks.freedom.tolist() == [2] * 12


def test_winners_are_the_first_of_equals(run):
    names = exam.students(run)["name"].tolist()
    marks = Accuracies.of(run, names)
    order = exam.preferred(exam.students(run))
    for k, row in enumerate(marks.winners(order)):
        top = marks.chosen[:, k].max()
        assert names[row] == next(n for n in order if marks.chosen[names.index(n), k] >= top - 1e-12)
    assert (marks.winners(order, but=marks.winners(order)) != marks.winners(order)).all()


def test_equal_designs_are_not_told_apart_by_lucky_replicates(folder):
    """The replicates of all networks vary alike; the best of 12 is better than another in 1 of 20 draws or less."""
    labels = Run(folder).labels()
    p = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        skill = rng.normal(0.85, 0.05, (3, 12, 1))
        run = Redrawn(folder, np.where(rng.random((3, 12, 100)) >= skill, (labels + 1) % 10, labels))
        frame = exam.students(run)
        best = exam.best(frame)
        other = next(n for n in frame["name"] if n != best)
        p.append(exam.compared(run, best, other, frame, rounds=100).judged.p)
    assert stats.binomtest(int((np.array(p) < 0.05).sum()), 25, 0.05, alternative="greater").pvalue > 0.05


def test_a_replicate_whose_answers_cant_be_read_is_left_out(tmp_path):
    plant(tmp_path / "run", 12, 60, epochs=1, replicates=2, scores="none")
    name = Run(tmp_path / "run").network_names()[3]
    row = Run(tmp_path / "run").networks.set_index("name").loc[name]
    (tmp_path / f"run/predictions/{row['hash'][:16]}-1.parquet").write_bytes(b"PAR1 nonsense PAR1")
    broken = Run(tmp_path / "run", skip_broken=True)
    marks = Accuracies.of(broken, None)
    right = (broken.predicted(networks=[name]) == broken.labels())[0]
    assert marks.judged[3].tolist() == pytest.approx(marks.splits.means(right[None])[0].tolist())  # by the first alone
    assert exam.labelled(broken, exam.students(broken)).startswith("best of 12, flattered by about ")
