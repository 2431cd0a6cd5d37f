import os
import re
import resource
import textwrap

import pandas as pd
import pytest
from matplotlib.figure import Figure
from threadpoolctl import threadpool_info, threadpool_limits

from netpick.core.errors import NetpickError, WorkError
from netpick.exam import plant
from netpick.exam import questions as q
from netpick.exam.answer import Answer
from netpick.exam.run import Run

FIRST_PART = [
    "scores", "strategies", "activations", "study_time", "notes", "rough_work", "steps", "macs", "layer_times",
    "attempts", "curves", "easy", "weird", "confusing", "best", "pareto", "versus", "mistakes", "sweep",
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
    """Write a module into the user's own ./analysis; the path of it is what netpick is to be given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "analysis").mkdir()

    def write(text, name="odd"):
        path = tmp_path / "analysis" / f"{name}.py"
        path.write_text(textwrap.dedent(text))
        return path

    return write


def test_all_questions_ask_something_and_explain_their_options():
    found = q.questions()
    assert list(found)[: len(FIRST_PART)] == FIRST_PART
    for question in found.values():
        assert question.title.endswith("?"), question.name
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


def test_a_users_question_is_loaded_and_asked(run, own):
    question = q.own_question(own(OWN))
    assert question.title == "Which networks have an odd number of parameters?"
    assert question.options["at_most"].help == "How many to give, at most."
    assert (question.options["only"].many, question.options["only"].optional) == (True, True)
    odd = [n for n, p in zip(run.networks["name"], run.networks["params"], strict=True) if p % 2]
    answer = run.ask(question, at_most="2")
    assert answer.table["name"].tolist() == odd[:2]
    assert isinstance(answer.figure(), Figure)
    with pytest.raises(NetpickError, match=r"question 'odd' has no option 'most' \(did you mean 'at_most'\?\)"):
        run.ask(question, most=2)


def test_a_users_question_is_read_anew_each_time(run, own):
    assert "odd" in run.ask(q.own_question(own(OWN))).text
    assert "ODD" in run.ask(q.own_question(own(OWN.replace("are odd", "are ODD")))).text


def test_while_a_question_is_asked_products_of_matrices_take_one_thread(run, own):
    def threads():
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    said = """str({p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"})"""
    text = OWN.replace('f"{len(table)} are odd."', said).replace(
        "from netpick", "from threadpoolctl import *\nfrom netpick"
    )
    with threadpool_limits(2, "blas"):
        assert run.ask(q.own_question(own(text))).text == "{1}"
        assert threads() == {2}


def test_nothing_of_the_users_is_imported_unless_its_file_is_given(run, own, tmp_path):
    """Neither by a name that is ours or unknown, nor by listing what there is."""
    text = f'"""What else?"""\nopen({str(tmp_path / "executed")!r}, "w").close()\n{OWN}'
    paths = [own(text, name).absolute() for name in ("__init__", "_votes", "scores", "mine")]
    assert q.own_files() == {"mine": paths[3], "scores": paths[2]}
    assert q.title_of(paths[3]) == "What else?"
    assert not any(question.own for question in q.questions().values())
    assert not q.find("scores").own
    assert run.ask("scores").text == run.ask(q.find("scores")).text
    with pytest.raises(NetpickError, match=r"no question 'mine'.* weird, "):
        run.ask("mine")
    with pytest.raises(NetpickError, match=r"no question 'mime' \(did you mean 'mine'\?\)"):
        q.find("mime", q.own_files())
    assert not (tmp_path / "executed").exists()
    q.own_question("analysis/mine.py")
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("content", "title"),
    [
        (b'\xef\xbb\xbf"""With a mark?"""', "With a mark?"),
        (b'# coding: latin-1\n"""\xbfQu\xe9?"""', "\N{INVERTED QUESTION MARK}Qu\xe9?"),
        (b'"""\\d?"""', "\\d?"),
        (b"x = 1", "mine"),
        (b"", "mine"),
        (b"(" * 5000, "can't be asked: .*mine.py"),
        (b"\xff", "can't be asked: .*mine.py.*SyntaxError"),
        (b"\x00", "can't be asked: .*mine.py"),
        (b"-" * 300_000 + b"1", "can't be asked: .*mine.py"),
        (b"#" * 3_000_000, "can't be asked: .*larger than"),
        (b"def ask(run:", "can't be asked: .*mine.py, line 1: SyntaxError"),
    ],
)
def test_a_users_question_is_listed_whatever_is_in_it(own, content, title, recwarn):
    path = own("", "mine")
    path.write_bytes(content)
    assert re.fullmatch(f"{title}.*" if title.startswith("can't") else re.escape(title), q.title_of(path))
    assert not recwarn


def test_a_pipe_in_the_place_of_a_module_is_not_waited_for(own, tmp_path):
    os.mkfifo(own("", "mine").with_name("pipe.py"))
    path = q.own_files()["pipe"]
    assert "not a regular file" in q.title_of(path)
    with pytest.raises(WorkError, match="not a regular file"):
        q.own_question(path)


def test_helpers_of_the_user_are_importable_and_no_questions(run, own):
    own("NAME = 'from the helper'", "_help")
    path = own("from . import _help\n" + OWN.replace('f"{len(table)} are odd."', "_help.NAME"))
    assert run.ask(q.own_question(path)).text == "from the helper"
    assert "_help" not in q.own_files()


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("x = 1\ny = 1 / 0\n", 2, "ZeroDivisionError: division by zero"),
        ("def ask(run:\n", 1, "SyntaxError"),
        ("import no_such_module_here\n", 1, "ModuleNotFoundError"),
        ("raise SystemExit(3)\n", 1, "SystemExit: 3"),
    ],
)
def test_a_module_that_fails_at_import_is_named_with_its_line(own, text, line, said):
    path = own(text, "broken")
    with pytest.raises(WorkError, match="can't be imported") as e:
        q.own_question(path)
    assert said in str(e.value)
    assert f"{path}, line {line}" in str(e.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("'no ask'", "needs a function `ask"),
        ("def ask(run, *, x: dict = {}):\n    pass", "option 'x' of `ask` has type"),
        ("def ask(run, *, x):\n    pass", "option 'x' of `ask` needs a default"),
    ],
)
def test_a_module_that_is_no_question_says_what_is_wrong(own, text, said):
    path = own(text, "broken")
    with pytest.raises(WorkError) as e:
        q.own_question(path)
    assert said in str(e.value)


def test_a_users_question_that_raises_is_reported_with_file_and_line(run, own):
    path = own('"""Why?"""\n\ndef ask(run):\n    return helper(run)\n\ndef helper(run):\n    raise KeyError("gone")\n')
    with pytest.raises(WorkError) as e:
        run.ask(q.own_question(path))
    assert str(e.value) == f"question 'odd' ({path}, line 7) failed: KeyError: 'gone'"
    assert e.value.exit_code == 1


def test_a_users_figure_that_raises_and_an_answer_that_is_none(run, own):
    answer = run.ask(q.own_question(own(OWN.replace('odd.", Figure)', 'odd.", lambda: 1 / 0)'))))
    with pytest.raises(WorkError, match=r"line 21.*ZeroDivisionError"):
        answer.figure()
    path = own('"""Why?"""\n\ndef ask(run):\n    return run.networks\n')
    with pytest.raises(WorkError, match="gave a DataFrame"):
        run.ask(q.own_question(path))
    path = own(
        '"""Why?"""\nfrom netpick.core.errors import RunError\ndef ask(run):\n    raise RunError("my own words")\n'
    )
    with pytest.raises(NetpickError, match=r"^my own words$"):
        run.ask(q.own_question(path))


def test_in_a_clone_of_the_project_questions_are_not_found_twice(monkeypatch):
    from pathlib import Path

    from netpick import analysis

    monkeypatch.chdir(Path(analysis.__path__[0]).parent)
    assert q.own_files() == {}


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
