"""The page of the studies: what its generator reads from runs whose every answer is written here."""

import json

import numpy as np
import pandas as pd
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
    return script("_studies.rows")


@pytest.fixture
def exam_of_study(script):  # noqa: F811
    return script("_studies.findings")


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
    assert found.command == "curves --networks A"


def test_a_number_that_shows_a_cause_has_no_verdict(studies, run):
    found = studies.line(run, {"what": "w", "network": "A", "epoch": 1})
    assert (found.published, found.measured, found.verdict) == ("not published", "50 %", "")


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
    assert found.measured == "0.1: 90 %; 0.2: 80 %; 0.3: 95 %. Best is 0.3"
    assert found.verdict == "holds: the best, in 1 times the median time"  # 6, 4 and 4 seconds
    found = studies.line(run, {"what": "w", "sweep": "lr", "published": "0.1", "best": 0.1})
    assert found.verdict == "does not hold: 5 percentage points below the best, in 1.5 times the median time"
    assert studies.line(run, {"what": "w", "sweep": "lr", "published": "1", "best": 1.0}).verdict.endswith(
        "was not measured"
    )
    found = studies.line(run, {"what": "w", "sweep": "lr", "published": "falls", "falls": 0.1})
    assert found.verdict == "does not hold: 5 percentage points higher at 0.3 than at 0.1"


def test_a_fall_holds_from_so_many_points_on(studies, tmp_path):
    networks = {name: {"recipe": json.dumps({"lr": lr})} for name, lr in (("A", 0.1), ("B", 0.2))}
    run = make_run(tmp_path / "run", {"A": right(180), "B": right(160)}, LABELS, networks)
    row = {"what": "w", "sweep": "lr", "published": "falls"}
    assert studies.line(run, row | {"falls": 0.1}).verdict == "holds: 10 percentage points lower at 0.2 than at 0.1"
    assert studies.line(run, row | {"falls": 0.2}).verdict.startswith("does not hold: 10 percentage points lower")


def test_a_question_of_a_study_is_answered_in_its_own_words(studies, run):
    found = studies.line(run, {"what": "w", "question": "curves", "options": {"networks": "A"}})
    assert (found.published, found.command) == ("asked", "curves --networks A")
    assert found.measured == run.ask("curves", networks=["A"]).text
    assert studies.line(run, {"what": "w", "question": "curvse"}).measured.startswith("not answered: ")


def test_an_exact_curve_is_compared_digit_by_digit(studies, run):
    row = {"what": "w", "network": "A", "exact": True, "curve": {"1": 0.5, "2": 0.75, "3": 0.9}}
    found = studies.line(run, row)
    assert found.published == found.measured == "1: 0.5; 2: 0.75; 3: 0.9"
    assert found.verdict == "the same digits at all 3 epochs"
    assert studies.line(run, row | {"curve": {"1": 0.5, "2": 0.7499, "3": 0.9}}).verdict == "differs at epoch 2"


def test_a_curve_is_compared_with_the_range_of_the_seeds(studies, tmp_path):
    plant(tmp_path / "run", 24, 120, epochs=2, replicates=3)
    run = Run(tmp_path / "run")
    name = str(run.networks["name"].iloc[3])
    rows = run.epochs[(run.epochs["network"] == name) & (run.epochs["split"] == "test")]
    low, high = (rows.groupby("epoch")["accuracy"].agg(f).to_dict() for f in ("min", "max"))
    found = studies.line(run, {"what": "w", "network": name, "curve": {"1": low[1], "2": high[2] + 0.01}})
    assert found.verdict == "within the range of 3 seeds at 1 of 2 epochs, not at epoch 2"


def test_networks_are_together_from_an_epoch_on(studies, run):
    # A has 50, 75 and 90 % after its epochs, B 60 and 80 %, C 60 and 95 %
    row = {"what": "w", "networks": ["B", "C"], "published": "p", "from": 1, "within": 0.15}
    found = studies.line(run, row)
    assert (found.measured, found.verdict) == ("15 percentage points apart at most, from epoch 1 on", "holds")
    assert found.command == "curves --networks B,C"
    assert studies.line(run, row | {"within": 0.1}).verdict == "does not hold"
    del row["within"]
    assert studies.line(run, row).verdict == ""
    assert studies.line(run, row | {"from": 9}).measured == "not there yet"


def test_a_short_last_batch_counts_as_much_as_the_others(script, run):  # noqa: F811
    curves = script("_studies.curves")
    assert curves.mean_of_batches(np.array([True, True, True, False, False]), 3) == (1 + 0) / 2
    # file names as text: of the zeros 0, 10, 100, 102, ... come before 2; of network A's zeros the first 50 are wrong
    zeros = sorted((n for n in range(200) if LABELS[n] == 0), key=str)
    ones = sorted((n for n in range(200) if LABELS[n] == 1), key=str)
    wrong = set(np.flatnonzero(LABELS == 0)[:50].tolist())
    answers = [n not in wrong for n in zeros + ones]
    batches = [answers[at : at + 60] for at in range(0, 200, 60)]
    found = curves.accuracies(run, {"network": "A", "batches": 60})
    assert found[2].tolist() == [pytest.approx(np.mean([np.mean(one) for one in batches]))]


def test_counts_of_fewer_networks_are_compared_as_shares(exam_of_study, tmp_path):
    # of four networks 3, 2, 1, 0 are at or above 80, 90, 95 and 99 %
    scores = {"A": 100, "B": 170, "C": 185, "Basic": 192}
    run = make_run(tmp_path / "run", {name: right(n) for name, n in scores.items()}, LABELS)
    study = {
        "published_counts": [[750, 500, 100, 0]], "easy": 1, "weird": 1, "confusing": 1, "best": 0.96,
        "first": "Linear", "second": "Conv2d", "basic": 0.95,
    }  # fmt: skip
    found = list(exam_of_study.findings(run, study))
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


def test_sizes_agree_within_a_third_in_every_family(exam_of_study):
    sizes = {"Linear": [10, 20, 30, 40, 50], "ResNetStyle": [100, 200, 300, 400, 500]}
    rows = [{"computation": family, "params": n, "macs": 2 * n} for family, all_ in sizes.items() for n in all_]
    depths = [2, 3, 3, 4, 6]
    layers = [[{"op": "Linear"}, {"op": "ReLU"}] * depth for depth in depths]
    layers += [[{"op": "Conv2d"}, *[{"op": "BasicBlock"}] * n, {"op": "Linear"}] for n in (1, 1, 1, 2, 3)]
    networks = pd.DataFrame(rows).assign(layers=list(map(json.dumps, layers)), name="n")
    basic = networks.iloc[[0]].assign(name="Basic", layers='[{"op": "Linear"}]', computation="Basic's own")
    networks = pd.concat([networks, basic])
    published = {  # quantiles of 10, 20, ... 50 at a tenth, a half, nine tenths: 14, 30, 46
        "params": {"Linear": [14, 30, 46], "ResNetStyle": [140 * 4 / 3, 300, 460 * 3 / 4]},
        "macs": {"Linear": [28, 81, 92], "ResNetStyle": [280, 600, 920]},
    }
    found = {one.what: one for one in exam_of_study.quantiles(networks, {"quantiles": published})}
    assert [one.verdict for one in found.values()] == [
        "holds", "holds", "does not hold", "holds", "holds", "does not hold", "does not hold",
    ]  # fmt: skip
    assert found["depth of ResNetStyle"].measured == "median 4, up to 8"
    assert found["networks of ResNetStyle with 1, 2, 3 blocks"].measured == "3, 1, 1"
    assert found["params of Linear (10 %, median, 90 %)"].measured == "14, 30, 46"
    assert found["depth of all but ResNetStyle"].measured == "2 to 6, medians 3"


def test_what_was_not_run_is_counted(studies, tmp_path):
    plant(tmp_path / "run", 24, 60, epochs=2, pending=4)
    run = Run(tmp_path / "run")
    assert studies.extent(run, 24).startswith("20 of 24 trainings are done, of 20 of 24 networks.")
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
    assert [one.name for one in pictures] == ["shallow-curves.png"]  # none of A, B and C is in the study
    assert 5_000 < pictures[0].stat().st_size <= page.BYTES
    assert str(tmp_path) not in text


def test_published_accuracies_become_panels_and_are_counted(script, run):  # noqa: F811
    figures = script("_studies.figures")
    rows = [
        {"what": "a", "network": "A", "epoch": 1, "published": 0.5},
        {"what": "b", "network": "A", "epoch": 3, "published": 0.8},
        {"what": "cause", "network": "A", "epoch": 2},
        {"what": "c", "network": "B", "curve": {"1": 0.6, "2": 0.9, "9": 0.9}},
        {"what": "gone", "network": "D", "epoch": 1, "published": 0.5},
        {"what": "words", "sweep": "lr", "published": "falls", "falls": 0.1},
    ]
    shown = figures.panels(run, rows)
    assert [(one.title, one.published) for one in shown] == [("A", {1: 0.5, 3: 0.8}), ("c", {1: 0.6, 2: 0.9})]
    drawn = figures.curves(shown)
    assert drawn.get_suptitle() == "2 of 4 published points are within the range of our seeds"
    assert len(drawn.axes) == 2
    assert figures.panels(run, rows[4:]) == []
