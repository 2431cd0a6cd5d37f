"""The page of the studies: what its generator reads from runs whose every answer is written here."""

import json

import numpy as np
import pytest
from handmade import make_run, sure
from test_benchmarks import script  # noqa: F401  a fixture

from netpick.exam import plant
from netpick.exam.run import Run

LABELS = np.arange(200) % 2


def right(*counts):
    """Epochs, of which each has so many of 200 answers right; the zeros are wrong first."""
    order = np.argsort(LABELS, kind="stable")
    out = []
    for n in counts:
        answers = LABELS.copy()
        answers[order[: 200 - n]] = 1
        out.append(sure(answers, 2))
    return np.stack(out)


@pytest.fixture
def studies(script):  # noqa: F811
    return script("_studies")


@pytest.fixture
def run(tmp_path):
    scores = {"A": (100, 150, 180), "B": (120, 160), "C": (120, 190)}
    networks = {name: {"recipe": json.dumps({"lr": lr})} for name, lr in zip(scores, (0.1, 0.2, 0.3), strict=True)}
    return make_run(tmp_path / "run", {name: right(*n) for name, n in scores.items()}, LABELS, networks)


def test_an_accuracy_is_that_of_the_epoch_or_of_the_last(studies, run):
    assert studies.measured(run, {"network": "A", "epoch": 2}).tolist() == [0.75]
    assert studies.measured(run, {"network": "A"}).tolist() == [0.9]
    assert studies.measured(run, {"network": "A", "epoch": 9}).tolist() == []
    # of 100 zeros 50 are wrong, of 100 ones none: the classes have 0.5 and 1
    assert studies.measured(run, {"network": "A", "epoch": 2, "class_mean": True}).tolist() == [0.75]


@pytest.mark.parametrize(
    ("published", "within", "verdict"),
    [(0.895, 0.01, "agrees"), (0.89, 0.01, "agrees"), (0.88, 0.01, "2 percentage points above"),
     (0.9021, 0.002, "0.21 percentage points below"), (0.8, 0.2, "agrees")],
)  # fmt: skip
def test_a_verdict_goes_by_the_tolerance(studies, run, published, within, verdict):
    row = {"what": "w", "network": "A", "published": published, "within": within, "note": "why"}
    found = studies.line(run, row)
    assert (found.what, found.measured, found.verdict, found.note) == ("w", "90 %", verdict, "why")


def test_what_is_not_there_is_said(studies, run):
    assert studies.line(run, {"what": "w", "network": "None", "published": 0.5}).measured == "not there yet"
    assert "not answered" in studies.line(run, {"what": "w", "sweep": "depht", "published": "5"}).measured


def test_replicates_are_a_mean_with_its_range(studies, tmp_path):
    plant(tmp_path / "run", 24, 120, epochs=2, replicates=3)
    run = Run(tmp_path / "run")
    name = str(run.networks["name"].iloc[3])
    rows = run.epochs[(run.epochs["network"] == name) & (run.epochs["epoch"] == 2)]
    values = sorted(rows[rows["split"] == "test"]["accuracy"].tolist())
    low, high = values[0], values[-1]
    found = studies.line(run, {"what": "w", "network": name, "epoch": 2, "published": low, "within": 0})
    mean = sum(values) / 3
    assert found.measured == (
        f"{round(100 * mean, 2):g} % ({round(100 * low, 2):g} % to {round(100 * high, 2):g} %, 3 replicates)"
    )
    assert low < high
    assert found.verdict.startswith("within the range; the mean is ")
    assert studies.read_off(run, [{"network": name, "epoch": 1}, {"network": name, "epoch": 2}]).startswith(
        "Scores after 1 epoch are read off longer trainings"
    )
    assert studies.read_off(run, [{"network": name, "epoch": 2}]) == ""


def test_a_published_best_value_holds_where_it_is_near_the_best_measured(studies, run):
    # lr 0.1, 0.2, 0.3 have 90, 80 and 95 % at their last epochs
    found = studies.line(run, {"what": "w", "sweep": "lr", "published": "0.3", "best": 0.3})
    assert found.measured.startswith("0.1: 90 % in 6 s; 0.2: 80 % in 4 s; 0.3: 95 % in 4 s. Best is 0.3")
    assert found.verdict == "holds: the best"
    found = studies.line(run, {"what": "w", "sweep": "lr", "published": "0.1", "best": 0.1})
    assert found.verdict == "does not hold: 5 percentage points below the best"
    assert studies.line(run, {"what": "w", "sweep": "lr", "published": "1", "best": 1.0}).verdict.endswith(
        "was not measured"
    )
    found = studies.line(run, {"what": "w", "sweep": "lr", "published": "falls", "falls": True})
    assert found.verdict == "does not hold: 5 percentage points higher at 0.3 than at 0.1"


def test_counts_of_fewer_networks_are_compared_as_shares(studies, tmp_path):
    # of four networks 3, 2, 1, 0 are at or above 80, 90, 95 and 99 %
    scores = {"A": 100, "B": 170, "C": 185, "Basic": 192}
    run = make_run(tmp_path / "run", {name: right(n) for name, n in scores.items()}, LABELS)
    study = {
        "published_counts": [[750, 500, 100, 0]], "easy": 1, "weird": 1, "confusing": 1, "best": 0.96,
        "first": "Linear", "second": "Conv2d", "basic": 0.95,
    }  # fmt: skip
    found = list(studies.findings(run, study))
    assert [(one.published, one.measured, one.verdict) for one in found[:4]] == [
        ("750 of 1001 (74.9 %)", "3 of 4 (75 %)", "holds"),
        ("500 of 1001 (50 %)", "2 of 4 (50 %)", "holds"),
        ("100 of 1001 (10 %)", "1 of 4 (25 %)", "does not hold"),
        ("0 of 1001 (0 %)", "0 of 4 (0 %)", "holds"),
    ]
    by_what = {one.what: one for one in found}
    assert by_what["easy samples"].verdict == "not comparable: 4 networks"
    assert by_what["best"].verdict == by_what["Basic"].verdict == "holds"
    assert by_what["medians of the computations"].verdict == "does not hold"


def test_what_was_not_run_is_counted(studies, tmp_path):
    plant(tmp_path / "run", 24, 60, epochs=2, pending=4)
    run = Run(tmp_path / "run")
    assert studies.extent(run, 24).startswith("20 of 24 trainings are done, of 20 of 24 networks, ")
    assert "The other 4 are not in it: the rest is still to be trained." in studies.extent(run, 24)
    run.manifest["limit"] = 24
    assert "The other 981 are not in it: `--limit 24` takes a share" in studies.extent(run, 1001)


def test_the_page_has_every_study_with_a_run_or_without(script, run, tmp_path, monkeypatch):  # noqa: F811
    page = script("studies")
    (tmp_path / "shallow").symlink_to(run.path)
    monkeypatch.setattr("sys.argv", ["studies.py", "--runs", str(tmp_path), "--to", str(tmp_path / "d/studies.md")])
    (tmp_path / "d/studies").mkdir(parents=True)
    (tmp_path / "d/studies/old.png").write_bytes(b"")
    page.main()
    text = (tmp_path / "d/studies.md").read_text()
    names = ["wizard", "exploration", "shallow", "threes-sevens", "netpicking"]
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == names
    assert text.count("Not run: ") == 4
    assert "![shallow: curves](studies/shallow-curves.png)" in text
    pictures = sorted((tmp_path / "d/studies").iterdir())
    assert [one.name for one in pictures] == ["shallow-curves.png"]
    assert 5_000 < pictures[0].stat().st_size <= page.BYTES
    assert str(tmp_path) not in text
