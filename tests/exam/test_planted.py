import filecmp

import numpy as np
import pytest
from scipy import stats

from netpick import exam
from netpick.core.errors import NetpickError
from netpick.exam import plant
from netpick.exam.planted.paper import KINDS
from netpick.exam.planted.students import ACTIVATION_SKILL, COMPUTATION_SKILL
from netpick.exam.run import Run


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "run"
    truth = plant(folder, 60, 600)
    return Run(folder), truth


def test_the_run_is_complete_and_reads_like_any_other(planted):
    run, truth = planted
    assert run.networks["name"].tolist() == truth.names
    assert len(truth.names) == 60
    assert "Basic" in truth.names
    assert run.scores().shape == (60, 600, 10)
    assert len(run.epochs) == 240
    assert set(run.trainings["status"]) == {"done"}
    assert run.image(0).shape == (8, 8)
    assert np.allclose(np.exp(run.scores(networks=["Basic"]).astype(float)).sum(axis=2), 1, atol=1e-4)


def test_accuracies_are_those_of_the_answers(planted):
    run, _ = planted
    right = (run.predicted() == run.labels()).mean(axis=1)
    last = run.epochs[run.epochs["epoch"] == 4].set_index("network")["accuracy"]
    assert np.allclose(last.loc[run.network_names()].to_numpy(), right)


def test_same_seed_same_run_to_the_bit_and_another_seed_another(tmp_path):
    a, b, _ = (plant(tmp_path / n, 12, 60, seed=s) for n, s in (("a", 3), ("b", 3), ("c", 4)))
    assert np.array_equal(a.difficulty, b.difficulty, equal_nan=True)
    for table in ("predictions", "epochs", "trainings"):
        files = sorted(p.name for p in (tmp_path / "a" / table).iterdir())
        same, other, missing = filecmp.cmpfiles(tmp_path / "a" / table, tmp_path / "b" / table, files, shallow=False)
        assert (len(same), other, missing) == (12, [], [])
    assert not np.array_equal(Run(tmp_path / "a").labels(), Run(tmp_path / "c").labels())


def test_kinds_of_samples_do_not_overlap_and_roles_neither(planted):
    _, truth = planted
    samples = np.concatenate([getattr(truth, kind) for kind in KINDS])
    assert len(samples) == len(set(samples.tolist())) == np.isnan(truth.difficulty).sum()
    roles = [*truth.bloomers, *truth.worse, *truth.weak, truth.calibrated, truth.overconfident]
    assert len(roles) == len(set(roles))


def test_ordinary_answers_follow_the_two_parameter_logistic_model(planted):
    """Observed against expected right answers, in bins of the probability: within four standard errors."""
    run, truth = planted
    right = run.predicted() == run.labels()
    networks = np.flatnonzero(~np.isnan(truth.ability))
    samples = np.flatnonzero(~np.isnan(truth.difficulty))
    z = truth.discrimination[samples] * (truth.ability[networks][:, None] - truth.difficulty[samples])
    p = 1 / (1 + np.exp(-z))
    seen = right[np.ix_(networks, samples)]
    by_model = networks[:, None] != truth.unlucky[samples]
    assert by_model.mean() > 0.98
    for low in np.arange(0.1, 1, 0.1):
        mine = (p >= low) & (p < low + 0.1) & by_model
        if (n := int(mine.sum())) > 200:
            error = np.sqrt((p[mine] * (1 - p[mine])).sum()) / n
            assert abs(seen[mine].mean() - p[mine].mean()) < 4 * error


def test_one_network_is_calibrated_and_one_overconfident(planted):
    run, truth = planted
    labels = run.labels()
    gaps = {}
    for name in (truth.calibrated, truth.overconfident):
        p = np.exp(run.scores(networks=[name])[0].astype(float))
        gaps[name] = p.max(axis=1).mean() - (p.argmax(axis=1) == labels).mean()
    n = len(labels)
    assert abs(gaps[truth.calibrated]) < 3 * 0.5 / np.sqrt(n)
    assert gaps[truth.overconfident] > 0.02
    # in each half of confidence, too
    p = np.exp(run.scores(networks=[truth.calibrated])[0].astype(float))
    sure, right = p.max(axis=1), p.argmax(axis=1) == labels
    for part in (sure < np.median(sure), sure >= np.median(sure)):
        assert stats.binomtest(int(right[part].sum()), int(part.sum()), sure[part].mean()).pvalue > 0.001


def test_special_samples_and_students(planted):
    run, truth = planted
    labels = run.labels()
    by_epoch = {e: run.predicted(e) == labels for e in (1, 2, 3, 4)}
    assert by_epoch[4][:, truth.easy].all()
    assert (by_epoch[4][:, truth.mislabelled].mean(axis=0) < 0.1).all()
    assert (run.predicted()[:, truth.mislabelled] == truth.true_label[truth.mislabelled]).mean() > 0.95
    assert by_epoch[1][:, truth.forgotten].all()
    assert not by_epoch[2][:, truth.forgotten].any()
    assert not any(by_epoch[e][:, truth.late].any() for e in (1, 2, 3))
    computation = run.networks["computation"].to_numpy()
    reads = by_epoch[4][:, truth.specialist]
    assert reads[computation == truth.specialists].all()
    assert not reads[computation != truth.specialists].any()
    attempts = exam.attempts(run)
    assert (attempts.loc[truth.bloomers, 1] < 0.8).all()
    assert (attempts.loc[truth.bloomers, 4] > 0.9).all()
    assert (attempts.loc[truth.worse, 3] - attempts.loc[truth.worse, 4] > 0.02).all()
    assert (attempts.loc[truth.weak].max(axis=1) < 0.8).all()


def test_families_differ_in_skill(planted):
    run, truth = planted
    frame = exam.students(run).assign(ability=truth.ability).dropna()
    frame = frame[~frame["name"].isin([*truth.bloomers, *truth.worse])]
    assert stats.spearmanr(frame["ability"], frame["accuracy"]).statistic > 0.7
    skill = frame["computation"].map(COMPUTATION_SKILL) + frame["activation"].map(ACTIVATION_SKILL)
    assert stats.spearmanr(skill, frame["ability"]).statistic > 0.5


def test_what_is_asked_to_be_missing_is_missing(tmp_path):
    truth = plant(tmp_path / "run", 24, 60, epochs=2, failed=2, diverged=1, pending=3, validation=50, scores="none")
    run = Run(tmp_path / "run")
    status = run.trainings.set_index("network")["status"]
    assert sorted(status[status == "failed"].index) == truth.failed
    assert sorted(status[status == "diverged"].index) == truth.diverged
    assert len(status) == 21
    assert not set(truth.pending) & set(status.index)
    assert run.predictions(split="validation")["score_0"].isna().all()
    assert len(run.labels("validation")) == 50


@pytest.mark.parametrize(
    "wrong", [{"networks": 5}, {"networks": 20_001}, {"classes": 1}, {"epochs": 0}, {"samples": 10}, {"failed": 60}]
)
def test_impossible_sizes_are_refused(tmp_path, wrong):
    with pytest.raises(NetpickError):
        plant(tmp_path / "run", **wrong)
    assert not (tmp_path / "run").exists()
