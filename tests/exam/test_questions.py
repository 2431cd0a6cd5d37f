import resource
import textwrap

import pandas as pd
import pytest
from matplotlib.figure import Figure

from netpick.core.errors import NetpickError, WorkError
from netpick.exam import plant
from netpick.exam import questions as q
from netpick.exam.answer import Answer
from netpick.exam.run import Run

FIRST_PART = [
    "scores", "strategies", "study_time", "notes", "rough_work", "steps", "macs", "attempts", "curves", "easy",
    "weird", "confusing", "best", "versus", "mistakes", "sweep",
]  # fmt: skip

OWN = '''
"""Which networks have an odd number of parameters?

More words.
"""
from matplotlib.figure import Figure
from netpick.exam import Answer

def ask(run, *, at_most: int = 10, only: list[str] | None = None):
    """Find them.

    Parameters
    ----------
    at_most : int
        How many to give,
        at most.
    only : list of str
        Computations.
    """
    table = run.networks[run.networks["params"] % 2 == 1].head(at_most)
    return Answer(table, f"{len(table)} are odd.", Figure)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("questions") / "run"
    plant(folder, 12, 60, epochs=2)
    return folder


@pytest.fixture
def run(folder):
    return Run(folder)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a module into the user's own ./analysis."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "analysis").mkdir()

    def write(text, name="odd"):
        path = tmp_path / "analysis" / f"{name}.py"
        path.write_text(textwrap.dedent(text))
        return path

    return write


def test_all_questions_ask_something_and_explain_their_options():
    found = q.questions("nowhere")
    assert list(found)[: len(FIRST_PART)] == FIRST_PART
    for question in found.values():
        assert question.title.endswith("?"), question.name
        assert question.error == ""
        assert len(question.doc.splitlines()) > 3
        for option in question.options.values():
            assert option.help, (question.name, option.name)


def test_options_know_type_default_and_help():
    weird = q.find("weird")
    assert weird.title.startswith("Which questions are weird")
    assert weird.options["wrong"] == q.Option(
        "wrong", float, 0.9, "More than this share of the networks must be wrong, from 0 to 1."
    )
    assert weird.options["quantile"].optional
    assert "every attempt" in weird.options["good"].help  # from the shared words
    assert q.find("scores").options["thresholds"].many


def test_unknown_questions_and_options_are_named_with_the_nearest(run):
    with pytest.raises(NetpickError, match=r"no question 'wierd' \(did you mean 'weird'\?\)"):
        run.ask("wierd")
    with pytest.raises(NetpickError, match=r"question 'weird' has no option 'wrongg' \(did you mean 'wrong'\?\)"):
        run.ask("weird", wrongg=1)


@pytest.mark.parametrize(
    ("kind", "many", "optional", "given", "value"),
    [
        (float, False, False, "0.5", 0.5), (float, False, False, 1, 1.0), (int, False, False, "3", 3),
        (int, False, False, 3.0, 3), (bool, False, False, "yes", True), (bool, False, False, False, False),
        (str, False, True, None, None), (str, True, False, "a, b", ["a", "b"]),
        (float, True, False, [1, 0.5], [1, 0.5]),
    ],
)  # fmt: skip
def test_option_values_are_read(kind, many, optional, given, value):
    read = q.Option("x", kind, None, many=many, optional=optional).value(given)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "many", "given"),
    [(float, False, "half"), (int, False, 1.5), (int, False, True), (bool, False, "maybe"), (bool, False, 2),
     (str, False, 3), (float, False, None), (float, True, 3), (int, True, "1,b")],
)  # fmt: skip
def test_wrong_option_values_are_refused(kind, many, given):
    with pytest.raises(NetpickError, match=r"option 'x' is .*: give"):
        q.Option("x", kind, None, many=many).value(given)


def test_a_users_question_is_found_and_asked(run, own):
    own(OWN)
    question = q.questions()["odd"]
    assert question.title == "Which networks have an odd number of parameters?"
    assert question.options["at_most"].help == "How many to give, at most."
    assert (question.options["only"].many, question.options["only"].optional) == (True, True)
    odd = [n for n, p in zip(run.networks["name"], run.networks["params"], strict=True) if p % 2]
    answer = run.ask("odd", at_most="2")
    assert answer.table["name"].tolist() == odd[:2]
    assert isinstance(answer.figure(), Figure)
    assert list(q.questions())[-1] == "odd"


def test_a_users_question_takes_the_place_of_ours_and_is_read_anew_each_time(run, own):
    own(OWN, "weird")
    assert q.find("weird").own
    assert "odd" in run.ask("weird").text
    own(OWN.replace("are odd", "are ODD"), "weird")
    assert "ODD" in run.ask("weird").text


def test_helpers_of_the_user_are_importable_and_no_questions(run, own):
    own("NAME = 'from the helper'", "_help")
    own("from . import _help\n" + OWN.replace('f"{len(table)} are odd."', "_help.NAME"))
    assert run.ask("odd").text == "from the helper"
    assert "_help" not in q.questions()


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("x = 1\ny = 1 / 0\n", 2, "ZeroDivisionError: division by zero"),
        ("def ask(run:\n", 1, "SyntaxError"),
        ("import no_such_module_here\n", 1, "ModuleNotFoundError"),
        ("raise SystemExit(3)\n", 1, "SystemExit: 3"),
    ],
)
def test_a_module_that_fails_at_import_is_named_and_the_others_work(run, own, text, line, said):
    path = own(text, "broken")
    own(OWN)
    found = q.questions()
    assert said in found["broken"].error
    assert f"{path}, line {line}" in found["broken"].error
    assert found["odd"].error == ""
    with pytest.raises(WorkError, match="can't be imported"):
        run.ask("broken")
    assert run.ask("odd").text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("'no ask'", "needs a function `ask"),
        ("def ask(run, *, x: dict = {}):\n    pass", "option 'x' of `ask` has type"),
        ("def ask(run, *, x):\n    pass", "option 'x' of `ask` needs a default"),
    ],
)
def test_a_module_that_is_no_question_says_what_is_wrong(own, text, said):
    own(text, "broken")
    assert said in q.questions()["broken"].error


def test_a_users_question_that_raises_is_reported_with_file_and_line(run, own):
    path = own('"""Why?"""\n\ndef ask(run):\n    return helper(run)\n\ndef helper(run):\n    raise KeyError("gone")\n')
    with pytest.raises(WorkError) as e:
        run.ask("odd")
    assert str(e.value) == f"question 'odd' ({path}, line 7) failed: KeyError: 'gone'"
    assert e.value.exit_code == 1


def test_a_users_figure_that_raises_and_an_answer_that_is_none(run, own):
    own(OWN.replace('odd.", Figure)', 'odd.", lambda: 1 / 0)'))
    answer = run.ask("odd")
    with pytest.raises(WorkError, match=r"line 21.*ZeroDivisionError"):
        answer.figure()
    own('"""Why?"""\n\ndef ask(run):\n    return run.networks\n')
    with pytest.raises(WorkError, match="gave a DataFrame"):
        run.ask("odd")
    own('"""Why?"""\nfrom netpick.core.errors import RunError\ndef ask(run):\n    raise RunError("my own words")\n')
    with pytest.raises(NetpickError, match=r"^my own words$"):
        run.ask("odd")


def test_in_a_clone_of_the_project_questions_are_not_found_twice(monkeypatch):
    from pathlib import Path

    from netpick import analysis

    monkeypatch.chdir(Path(analysis.__path__[0]).parent)
    assert not any(question.own for question in q.questions().values())


def test_answer_saves_the_same_bytes_each_time(run, tmp_path):
    answer = run.ask("scores")
    for suffix in ("svg", "png", "pdf"):
        one, two = answer.save(tmp_path / f"one.{suffix}"), answer.save(tmp_path / "new" / f"two.{suffix}")
        assert one.read_bytes() == two.read_bytes()
        assert one.stat().st_size > 2000
    with pytest.raises(NetpickError, match=r"ends in '\.jpg'.*\.svg, \.png, \.pdf"):
        answer.save(tmp_path / "x.jpg")
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match="can't be written"):
        answer.save(tmp_path / "file" / "x.png")


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_a_figure_that_the_disk_has_no_room_for_leaves_the_old_one(run, tmp_path, suffix):
    answer = run.ask("scores")
    old = tmp_path / f"old.{suffix}"
    old.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # no file of this process gets larger
    try:
        for path in (old, tmp_path / f"new.{suffix}"):
            with pytest.raises(
                WorkError, match=f"{path.stem}.{suffix} can't be written .File too large.: give another"
            ):
                answer.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]


def test_answer_leaves_the_users_settings_and_figures_alone():
    import matplotlib as mpl
    from matplotlib import pyplot

    before, numbers = dict(mpl.rcParams), pyplot.get_fignums()
    drawn = Answer(pd.DataFrame(), "", lambda: pyplot.figure()).figure()
    assert tuple(drawn.get_size_inches()) == (10, 6)
    assert pyplot.get_fignums() == numbers
    assert dict(mpl.rcParams) == before


def test_answer_as_text():
    assert str(Answer(pd.DataFrame(), "All.", Figure)) == "All."
    assert str(Answer(pd.DataFrame(), "All.", Figure, "but one")) == "All.\nNote: but one"
