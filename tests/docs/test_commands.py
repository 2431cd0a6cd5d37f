"""Every command that the documentation names is one that there is: netpick's, make's, scripts; and all are named."""

import itertools
import re
import shlex

import pytest
import typer
from pages import PAGES, README, ROOT, blocks, built, needs_pages, shell_commands, table, text, words

from netpick.cli import app as cli
from netpick.cli import ask as cli_exam
from netpick.exam import questions
from netpick.exam.picking import columns, constraints

pytestmark = needs_pages
GROUP = typer.main.get_command(cli.app)
NETPICK = [(page, line) for page in PAGES for line in shell_commands(page) if line[0] == "netpick"]
QUESTION = "docs/howto/question.md"
OTHERS = {"--check", "--only", "--times", "--kills", "--again", "--stand-in", "--write"}
OTHERS |= {"--nthreads", "--nworkers", "--lifetime", "--lifetime-stagger", "--gres"}
"""Options of ruff, of benchmarks, of Dask's workers and of SLURM, which pages name."""


def options_of(command):
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def parse(command, name, arguments):
    """Have typer parse a command line, which refuses unknown options and missing arguments, and not call it."""
    return command.make_context(name, [a for a in arguments if a != "--help"])


@pytest.mark.parametrize(("page", "line"), NETPICK, ids=[" ".join(line) for _, line in NETPICK])
def test_every_command_line_is_one_that_netpick_takes(page, line, monkeypatch, tmp_path):
    _, name, *arguments = line
    assert name in GROUP.commands, f"{page}: {shlex.join(line)}"
    context = parse(GROUP.commands[name], name, arguments)
    if name == "pick":  # the rest is constraints
        wanted = constraints.bounds(context.args)
        assert {key.partition("_")[2] for key in wanted} <= set(columns.NUMBERS)
        assert {*(context.params["minimize"] or ()), *(context.params["maximize"] or ())} <= set(columns.NUMBERS)
        return
    named = [context.params.get(key) for key in ("first", "second")] if name == "ask" else []
    if not named or named[1] is None:
        assert not context.args
        return
    (tmp_path / "analysis").mkdir()
    (question,) = [block for block in blocks(QUESTION, "python") if "def ask(" in block]
    (tmp_path / "analysis" / "deeper.py").write_text(question)
    monkeypatch.chdir(tmp_path)
    command = typer.main.get_command(cli_exam._question_command(cli_exam._asked(named[1]), "RUN"))
    assert not parse(command, "question", context.args).args


def test_the_parsing_of_this_file_refuses_what_does_not_exist():
    for line in ("train runs/x --wrokers 2", "export runs/x", "status one two"):
        name, *arguments = line.split()
        with pytest.raises(Exception, match=r"No such option|Missing parameter|unexpected"):
            parse(GROUP.commands[name], name, arguments)


def test_every_other_command_line_names_programs_and_scripts_that_there_are():
    programs = {"netpick", "make", "python", "python3", "pip", "git", "dask", "openssl", "."}
    for page in PAGES:
        for line in shell_commands(page):
            program, *rest = [*itertools.dropwhile(lambda word: re.match(r"[A-Z_]+=", word), line)] or ["."]
            assert program in programs or program.startswith(".venv/bin/"), f"{page}: {program}"
            if program == "python" and rest[0].endswith(".py"):
                assert (ROOT / rest[0]).is_file(), f"{page}: {rest[0]}"


def test_every_option_in_the_text_is_an_option_of_some_command():
    known = options_of(GROUP).union(*(options_of(command) for command in GROUP.commands.values()))
    for question in questions.questions().values():
        known |= options_of(typer.main.get_command(cli_exam._question_command(question, "RUN")))
    known |= {f"--{end}-{column.replace('_', '-')}" for end in ("min", "max") for column in columns.NUMBERS}
    for page in set(PAGES) - {"benchmarks/README.md"}:  # whose scripts have options of their own
        prose = re.sub(r"^```sh\n.*?^```$", "", text(page), flags=re.MULTILINE | re.DOTALL)
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]\b(?!-)", prose)) - OTHERS
        assert named <= known, f"{page}: {named - known}"


def test_every_command_is_in_the_readme():
    named = {line[1] for page, line in NETPICK if page == README} | set(re.findall(r"`netpick (\w+)", text(README)))
    assert named >= set(GROUP.commands)
    assert named <= {*GROUP.commands, "ask"}


def test_every_command_has_its_section_in_the_reference_with_all_its_options():
    for name, command in GROUP.commands.items():
        rows = table("docs/reference/commands.md", f"netpick {name}") if command.params else []
        named = {word.split()[0] for row in rows for word in words(row[0])}
        assert named >= {flag for p in command.params for flag in (*p.opts, *p.secondary_opts) if flag[0] == "-"}


def test_every_question_that_is_named_exists():
    named = {line[3] for _, line in NETPICK if line[1] == "ask" and len(line) > 3} - {"deeper"}
    named |= {name for page in PAGES for name in re.findall(r'ask\("(\w+)"', text(page))}
    assert named
    assert named <= {*questions.questions(), *questions.aliases()}


def test_every_question_has_one_card_in_the_gallery():
    page = built("docs/gallery/index.md")
    shown = re.findall(r"^:link: questions/(\w+)$", page, re.MULTILINE)
    assert sorted(shown) == sorted(questions.questions())
    groups = questions.groups()
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == list(groups)
    assert questions.listing.MORE not in groups  # each has a place


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    for page in PAGES:
        named = [w for line in shell_commands(page) if line[0] == "make" for w in line[1:] if "=" not in w]
        named += [w for given in re.findall(r"`make ([^`]*)`", text(page)) for w in given.split() if "=" not in w]
        assert set(named) <= targets, f"{page}: {set(named) - targets}"
    variables = set(re.findall(r"^([A-Z]+) +\?=", text("Makefile"), re.MULTILINE))
    given = " ".join(word for page in PAGES for line in shell_commands(page) if "make" in line for word in line)
    assert set(re.findall(r"\b([A-Z]+)=\w", given)) <= variables
