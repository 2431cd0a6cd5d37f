"""One question of two runs: joined by network or by sample, worked out again from both answers by pandas."""

import re

import numpy as np
import pytest
from handmade import make_run, sure
from scipy import stats

from netpick import analysis
from netpick.cli import main
from netpick.core.errors import NetpickError
from netpick.exam import Run, plant, questions
from netpick.report import page, write_report
from netpick.sessions import relabel_run

SIZE = {"networks": 12, "samples": 60, "epochs": 2, "compact": True}
ASKED = ("scores", "best", "easy", "mistakes", "suspects", "macs")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A run, and the same with some labels put right."""
    here = tmp_path_factory.mktemp("pair")
    truth = plant(here / "run", **SIZE, mislabelled=0.05)
    labels = Run(here / "run").labels()
    rows = [f"{s},{labels[s]},{truth.true_label[s]}" for s in truth.mislabelled]
    (here / "fixes.csv").write_text("\n".join(["sample,label,suggested", *rows]))
    relabel_run(here / "run", here / "fixes.csv", here / "fixed")
    return here / "fixed", here / "run"


@pytest.fixture(scope="module")
def longer(pair):
    """A run of the same networks and samples as the second, with an epoch more."""
    plant(pair[1].parent / "longer", **{**SIZE, "epochs": 3}, mislabelled=0.05)
    return pair[1].parent / "longer", pair[1]


def joined(name, runs, keys, value, **options):
    """Ask each of the runs, and join the answers."""
    tables = [Run(run).ask(name, **options).table for run in runs]
    both = tables[0].merge(tables[1], "outer", on=list(keys), suffixes=("", "_before"), indicator=True)
    return both.assign(difference=both[value] - both[f"{value}_before"])


@pytest.mark.parametrize("name", ASKED)
def test_each_question_is_joined_row_by_row(pair, name):
    keys, value = analysis.COMPARED[name][0]
    answer = Run(pair[0]).ask(name, against=pair[1])
    wanted = joined(name, pair, keys, value).set_index(list(keys)).sort_index()
    table = answer.table.set_index(list(keys)).sort_index()
    assert table.index.tolist() == wanted.index.tolist()
    assert table.index.is_unique
    assert table[value].to_numpy(float) == pytest.approx(wanted[value].to_numpy(float), nan_ok=True)
    assert table["before"].to_numpy(float) == pytest.approx(wanted[f"{value}_before"].to_numpy(float), nan_ok=True)
    assert table["difference"].to_numpy(float) == pytest.approx(wanted["difference"].to_numpy(float), nan_ok=True)
    places = {"both": "both", "left_only": "here alone", "right_only": "there alone"}
    assert table["found"].tolist() == [places[where] for where in wanted["_merge"]]
    both = wanted[wanted["_merge"] == "both"]
    more, less = (both["difference"] > 0).sum(), (both["difference"] < 0).sum()
    if both["difference"].notna().any():
        assert f"is higher in {pair[0]} than in {pair[1]} for {more} of these, and lower for {less}" in answer.text


def test_a_mean_has_an_interval_where_all_are_there(longer, pair):
    answer = Run(longer[0]).ask("learning", against=longer[1], everyone=True)
    each = joined("learning", longer, ["sample"], "forgetting", everyone=True)["difference"]
    low, high = stats.ttest_1samp(each, 0).confidence_interval()
    assert len(each) == SIZE["samples"]
    assert answer.figure()
    said = answer.text.partition("the mean difference is ")[2].partition(" over samples")[0]
    numbers = [float(number) for number in re.findall(r"-?[\d.]*\d", said)]
    assert [numbers[0], *numbers[-2:]] == pytest.approx([each.mean(), low, high], rel=0.01)
    assert "labels were changed" in Run(pair[0]).ask("learning", against=pair[1]).text


def test_of_what_was_chosen_by_looking_no_mean_is_said(longer):
    answer = Run(longer[0]).ask("suspects", against=longer[1])
    assert not answer.table["label_name"].isna().any()
    first, *_ = answer.text.splitlines()
    assert "which samples are in an answer was chosen by looking" in first
    assert "interval" not in first
    assert "interval" in Run(longer[0]).ask("suspects", against=longer[1], all_samples=True).text.splitlines()[0]


def test_networks_of_other_names_are_joined_by_their_layers(tmp_path):
    """Two runs of the same three networks, by hash, called otherwise; attempts change by what is written here."""
    labels = np.arange(40) % 4
    worse = {"x": 0, "y": 4, "z": 12}
    for run, names, first in (("a", "xyz", 20), ("b", "pqr", 28)):
        answers = {}
        for name, wrong in zip(names, worse.values(), strict=True):
            epochs = [np.where(np.arange(40) < n, (labels + 1) % 4, labels) for n in (first, wrong)]
            answers[name] = np.stack([sure(epoch, 4) for epoch in epochs])
        make_run(tmp_path / run, answers, labels)
    table = Run(tmp_path / "a").ask("attempts", against=tmp_path / "b").table.set_index("name")
    assert set(table["found"]) == {"both"}
    for name, wrong in worse.items():
        assert table.loc[name, ["change", "before"]].tolist() == pytest.approx([(20 - wrong) / 40, (28 - wrong) / 40])


def test_changes_sees_the_same_samples_behind_other_labels(pair):
    answer = Run(pair[0]).ask("changes", against=str(pair[1]))
    assert "What differs: the labels of 3 samples." in answer.text
    assert "labels were changed, maybe by looking at these very answers" in answer.text
    assert "p" not in answer.table
    assert not re.search(r"interval .* real|p [<=]|corrected", answer.text.partition("Their order")[0])
    assert answer.figure()
    right = [np.array([Run(run).predicted()[:, :] == Run(run).labels()])[0].mean(axis=1) for run in pair]
    names = Run(pair[0]).network_names()
    table = answer.table.set_index("name").loc[names]
    assert (table["gained"] - table["lost"]).to_numpy() == pytest.approx((right[0] - right[1]) * SIZE["samples"])


def test_what_makes_no_sense_is_refused_in_a_line(pair, tmp_path):
    run = Run(pair[0])
    for name in set(questions.names()) - set(analysis.COMPARED) - {"changes"}:
        with pytest.raises(
            NetpickError, match=f"question '{name}' is of one run, .*--against goes with changes, scores"
        ):
            run.ask(name, against=pair[1])
    plant(tmp_path / "other", 12, 50, epochs=1, seed=5)
    with pytest.raises(NetpickError, match=r"has other test samples than .*: 'easy' is about those"):
        run.ask("easy", against=tmp_path / "other")
    with pytest.raises(NetpickError, match="no run at"):
        run.ask("easy", against=tmp_path / "nowhere")


def test_the_table_of_what_is_compared_names_questions():
    assert set(analysis.COMPARED) <= set(questions.names())


def test_the_command_line_compares(pair, capsys):
    for words, code in ((["easy"], 0), (["versus"], 2)):
        with pytest.raises(SystemExit) as end:
            main(["ask", str(pair[0]), *words, "--against", str(pair[1]), "--format", "csv"])
        assert end.value.code == code
    out, err = capsys.readouterr()
    assert out.startswith("sample,class_name,right,before,difference,found")
    assert "question 'versus' is of one run" in err


def test_a_report_begins_with_what_differs(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "BESIDE", ("easy",))
    written = write_report(Run(pair[0]), tmp_path / "report.html", names=["scores"], against=pair[1])
    assert [one.name for one in written] == ["easy-beside", "scores"]
    assert not any(one.error for one in written)
    html = (tmp_path / "report.html").read_text()
    command = f"netpick ask {pair[0]} easy --against {pair[1]}"
    assert f'<h2 id="before-and-after">Beside {pair[1]}</h2>' in html
    assert html.index("What was found") < html.index(command) < html.index(f"netpick ask {pair[0]} scores")
