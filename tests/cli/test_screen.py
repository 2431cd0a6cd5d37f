"""A string on the terminal is text: nothing in it is read as markup, and nothing in it acts."""

import io
import re
from pathlib import Path

import pandas as pd
import pytest
from manifests import unsealed

from netpick.cli import app, screen
from netpick.exam import plant

NASTY = "[/red]\x1b[31m[bold]:smile: 12\x9b2J\u202etac\udcff"
WRITTEN = "[/red]\\x1b[31m[bold]:smile: 12\\x9b2J\\u202etac\\udcff"


@pytest.fixture
def terminal(monkeypatch):
    """A wide terminal with colours, and what has been written on it."""
    out = io.StringIO()
    console = screen.Screen(file=out, force_terminal=True, color_system="truecolor", width=200, _environ={})
    monkeypatch.setattr(screen, "console", console)
    return out


@pytest.mark.parametrize("error", [False, True])
def test_what_is_said_is_shown_as_it_is(error, capsys):
    screen.say(f"{NASTY}\n{'long ' * 100}end", "bold", error=error)
    out, err = capsys.readouterr()
    assert (err if error else out) == f"{WRITTEN}\n{'long ' * 100}end\n"


def test_a_terminal_gets_no_colours_but_those_asked_for(terminal):
    screen.say(f"{NASTY} 98 True 'text' https://example.org /tmp/run None")
    assert terminal.getvalue() == f"{WRITTEN} 98 True 'text' https://example.org /tmp/run None\n"


def test_a_table_shows_names_as_they_are(terminal):
    name, shown = NASTY[:-1], WRITTEN.removesuffix("\\udcff")  # no frame has halves of characters
    frame = pd.DataFrame({"network": [name, "two\nlines"], name: [0.5, None], "macs": [12_345, 1]})
    screen.show_frame(frame)
    text = plain(terminal)
    assert "\x1b" not in text
    assert text.count(shown) == 2
    for part in ("two lines", "12,345", "0.5"):
        assert part in text


def plain(terminal):
    """Return what has been written, without styles."""
    return re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue())


WIDE = pd.DataFrame({"network": ["Basic", "Linear_1"], **{f"column_{n}": [0.25, 0.5] for n in range(12)}})


def test_a_table_that_is_too_wide_keeps_its_rows_names_and_what_matters(terminal):
    screen.console.width = 50
    screen.show_frame(WIDE, columns=["network", "column_7"], shares=["column_7"], suggested="Basic")
    lines = plain(terminal).splitlines()
    assert max(map(len, lines)) <= 50
    assert re.search(r"network +│ column_7", lines[1].replace("┃", "│"))
    assert any(re.search(r"→ Basic +│ +25.00 %", line) for line in lines)
    assert any(re.search(r"  Linear_1|│ Linear_1 +│ +50.00 %", line) for line in lines)
    hidden = " ".join(lines[-3:])
    assert "more columns with --wide: " in hidden
    assert all(f"column_{n}" in " ".join(lines) for n in range(12))


def test_the_whole_of_it_is_shown_where_that_is_wanted(terminal):
    screen.console.width = 50
    screen.show_frame(WIDE, wide=True)
    lines = plain(terminal).splitlines()
    assert all(f"column_{n}" in lines[1] for n in range(12))
    assert "--wide" not in plain(terminal)


def test_a_sentence_is_broken_between_words(terminal):
    screen.console.width = 20
    screen.sentence("a sentence with words that are kept whole")
    assert plain(terminal).split() == ["a", "sentence", "with", "words", "that", "are", "kept", "whole"]
    assert max(map(len, plain(terminal).splitlines())) <= 20


def test_other_programs_get_every_byte_and_people_what_is_harmless(terminal, capsys):
    frame = pd.DataFrame({"class": ["\x1b[2J"]})
    screen.show_frame(frame, "csv")
    assert capsys.readouterr().out == "class\n\\x1b[2J\n"
    screen.console._force_terminal = False
    screen.show_frame(frame, "csv")
    assert capsys.readouterr().out == "class\n\x1b[2J\n"


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A run whose folder, title and classes have names that a terminal would act on."""
    folder = tmp_path_factory.mktemp("runs") / "[/red]\x1b[31m"
    plant(folder, networks=12, samples=60, epochs=2)
    manifest = folder / "run.toml"
    text = manifest.read_text()
    assert 'classes = [\n    "0",' in text
    manifest.write_text(text.replace('    "0",', '    "[/red]\\u001B[31m0",'))
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["status", "RUN"],
        ["ask", "RUN", "confused"],
        ["ask", "RUN", "versus", "--rows", "3"],
        ["show", "RUN", "Basic"],
        ["pick", "RUN"],
        ["pick", "RUN", "--max-params", "many"],
        ["status", "RUN/[/blue]\x1b[32m"],
        ["ask", "RUN", "[/blue]\x1b[32m"],
        ["templates", "--[/blue]\x1b[32m"],
    ],
)
def test_no_command_is_misled_by_names(words, planted, capsys):
    with pytest.raises(SystemExit) as end:
        app.main([word.replace("RUN", str(planted)) for word in words])
    out = "".join(capsys.readouterr())
    assert end.value.code in (0, 2)
    assert "\x1b" not in out
    named = [name for name in ("[/red]\\x1b[31m", "[/blue]\\x1b[32m") if name in out]
    assert named or words[0] in ("pick", "ask"), out


def test_the_help_of_a_question_shows_brackets(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("analysis").mkdir()
    Path("analysis/mine.py").write_text(
        '"""What is in [red]brackets[/red]?\n\nSamples [0, 1] and [/blue].\n"""\n\n\n'
        "def ask(run, *, limit: int = 3):\n"
        '    """Answer.\n\n    Parameters\n    ----------\n    limit : int\n        Of [/those] shown.\n    """\n'
    )
    with pytest.raises(SystemExit):
        app.main(["ask", "runs/any", "mine", "--help"])
    out = capsys.readouterr().out
    for part in ("[red]brackets[/red]", "[0, 1] and [/blue]"):
        assert part in out


def test_nothing_else_has_a_console_of_its_own():
    folder = Path(screen.__file__).parent
    texts = {file.name: file.read_text("utf-8") for file in folder.glob("*.py")}
    made = {name for name, text in texts.items() if re.search(r"\b(Console|Screen)\(", text)}
    assert made == {"screen.py"}
    printing = {name for name, text in texts.items() if re.search(r"(?<!console\.)\b(echo|print)\(", text)}
    assert printing == {"screen.py"}


def test_an_error_is_one_line_which_a_terminal_gets_broken_between_words(monkeypatch, capsys):
    message = "netpick: " + "some words " * 20 + "end"
    screen.fail(message)
    assert capsys.readouterr().err == f"{message}\n"
    out = io.StringIO()
    monkeypatch.setattr(screen, "errors", screen.Screen(file=out, force_terminal=True, width=80, _environ={}))
    screen.fail(message)
    lines = out.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert " ".join(line.strip() for line in lines) == message


def test_names_of_classes_leave_room_for_the_numbers_of_a_card(tmp_path, monkeypatch, capsys):
    plant(tmp_path / "run", 12, 60, classes=3, epochs=1)
    manifest = tmp_path / "run/run.toml"
    names = [f"{kind} {'of a long name ' * 14}" for kind in ("apple", "ox", "ankle boot")]
    text = re.sub(r"classes = \[.*?\]", f"classes = {names}".replace("'", '"'), unsealed(manifest), flags=re.DOTALL)
    manifest.write_text(text)
    monkeypatch.setattr(screen.console, "_width", 80)
    for wide in ([], ["--wide"]):
        with pytest.raises(SystemExit):
            app.main(["show", str(tmp_path / "run"), "Basic", *wide])
        shown = capsys.readouterr().out
        assert ("apple of a long…" in shown) == (not wide)
        assert "mostly_taken_for" in shown.split("Classes")[1].split("What it confuses")[0].splitlines()[2]
