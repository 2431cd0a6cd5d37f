"""All questions asked of imported runs: they answer, or say in one line what is missing; pages are written."""

import numpy as np
import pandas as pd
import pytest

from netpick.core.errors import NetpickError, RunError
from netpick.exam import card, pick, plant, predict, questions, students
from netpick.exam.run import Run
from netpick.report import write_report
from netpick.report.explorer.page import write_explorer
from netpick.report.page import FOUND
from netpick.sessions import import_run

COSTS = {"study_time", "notes", "rough_work", "steps", "macs", "pareto", "cascade"}
SCORES = {"suspects", "sets"}
OURS = {"layer_times", "representative"}
DRAWN = {"notes", "curves", "versus", "committee", "sweep", "study_time"}
"""Questions whose figures have costs or losses in them."""


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "run"
    plant(folder, 24, 80, epochs=2, scores="last")
    return Run(folder)


@pytest.fixture(scope="module")
def runs(planted, tmp_path_factory):
    """The planted exam as others would give it: scores and costs of half the networks; and predicted classes alone."""
    here = tmp_path_factory.mktemp("imported")
    long = planted.predictions(epoch=None).drop(columns=["replicate", "split"])
    long.to_parquet(here / "long.parquet")
    about = planted.networks[["name", "computation", "activation", "params", "macs"]].astype({"params": float})
    about.loc[12:, ["params", "macs"]] = np.nan
    about.to_csv(here / "about.csv", index=False)
    import_run(here / "long.parquet", here / "half", students=here / "about.csv")
    wide = planted.predictions().pivot(index="sample", columns="network", values="predicted")
    wide.assign(label=planted.labels()).reset_index().to_csv(here / "wide.csv", index=False)
    import_run(here / "wide.csv", here / "bare")
    return {"half": Run(here / "half"), "bare": Run(here / "bare")}


def outcome(run, name):
    """Return what a question says that it lacks; "" where it answers."""
    try:
        answer = run.ask(name)
    except NetpickError as error:
        return str(error)
    if name in DRAWN:
        answer.figure()
    assert " nan" not in f" {answer.text.lower()}", name
    return ""


@pytest.mark.parametrize(("which", "missing"), [("half", OURS), ("bare", OURS | COSTS | SCORES)])
def test_every_question_answers_or_says_what_is_missing(runs, which, missing):
    with np.errstate(all="ignore"):
        said = {name: outcome(runs[which], name) for name in questions.questions()}
    refused = {name for name, error in said.items() if error}
    assert not any("failed:" in error or len(error.splitlines()) > 1 for error in said.values()), said
    assert missing - {"rough_work", "steps", "study_time"} <= refused
    assert refused <= missing | COSTS | {"compare", "why_hard", "short", "changes", "variance"}, said
    for name in refused & COSTS:
        assert "--students FILE" in said[name]
    for name in refused & SCORES:
        assert "import probabilities" in said[name]


def test_what_needs_no_cost_comes_out_as_where_they_were_trained(planted, runs):
    for name in ("scores", "easy", "weird", "mistakes"):
        there, here = planted.ask(name).table, runs["half"].ask(name).table
        pd.testing.assert_frame_equal(there, here, check_categorical=False, check_dtype=False)


def test_costs_that_nobody_told_are_left_out_and_counted(runs):
    answer = runs["half"].ask("notes", everyone=True)
    assert answer.table.set_index("computation").loc["all", "students"] == 12
    assert "left out are 12 networks whose params nobody told" in answer.note
    assert students(runs["half"])["seconds"].isna().all()
    assert set(pick(runs["half"], {"max_params": 10**9}).table["name"]) <= set(runs["half"].networks["name"][:12])
    assert pick(runs["bare"]).columns
    with pytest.raises(RunError, match="does not say the params"):
        pick(runs["bare"], {"max_params": 100})


def test_pages_and_cards_are_written_without_costs_images_or_layers(runs, tmp_path):
    run = runs["bare"]
    name = run.networks["name"][3]
    assert "parameters" not in card(run, name).summary
    write_explorer(run, tmp_path / "explore.html")
    assert run.image(5).dtype == np.uint8  # the picture of its name
    with pytest.raises(RunError, match="import probabilities"):
        predict(run, name, 5)
    assert predict(runs["half"], name, 5).table["probability"].sum() == pytest.approx(1, abs=1e-3)
    few = {name: questions.find(name) for name in ("scores", "notes", *FOUND)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(questions, "questions", lambda: few)
        written = write_report(run, tmp_path / "report.html")
    assert [one.name for one in written if one.error] == ["notes"]
    assert "nan" not in (tmp_path / "report.html").read_text().split("<h2")[0].lower().split("</style>")[-1]
