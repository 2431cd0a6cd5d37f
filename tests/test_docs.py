"""What the documentation says is held against the code: commands, options, keys, tables, examples, links."""

import ast
import random
import re
import shlex
import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pytest
import typer

from netpick import data
from netpick.cli import app as cli
from netpick.cli import ask as cli_exam
from netpick.exam.picking import picking
from netpick.exam.planted import planted
from netpick.exam.questions import questions
from netpick.networks.catalogue import cells, template
from netpick.networks.catalogue import layouts as computations
from netpick.networks.catalogue.catalogue import generate
from netpick.networks.catalogue.decisions import Sampler
from netpick.networks.catalogue.layouts import COMPUTATIONS, Computation
from netpick.networks.paper import operations
from netpick.networks.paper import whole_networks as whole
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.networks.paper.spec import NetworkSpec, check
from netpick.report import tables_page as schema_table
from netpick.sessions.generate import generate_run
from netpick.store.schema import TABLES
from netpick.training import choose

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="the documentation is not installed")
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/design.md", "docs/tables.md", "runs/README.md")
README, DESIGN, CONTRIBUTING = "README.md", "docs/design.md", "CONTRIBUTING.md"


def text(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), re.MULTILINE | re.DOTALL)


def shell_commands(page):
    for block in blocks(page, "sh"):
        for line in block.splitlines():
            for command in re.split(r"&&", line.partition("  #")[0]):
                if command.strip():
                    yield shlex.split(command)


def table(page, heading, number=0):
    """Return the rows of one of the tables under a heading, each as a list of cells."""
    section = re.split(rf"^#+ {re.escape(heading)}$", text(page), maxsplit=1, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", re.sub(r"^```.*?^```$", "", section, flags=re.MULTILINE | re.DOTALL), flags=re.M)[0]
    found = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)[number]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found.splitlines()]
    assert set("".join(rows[1])) == {"-"}
    return rows[2:]


def words(cell):
    return re.findall(r"`([^`]*)`", cell)


# Commands and options

GROUP = typer.main.get_command(cli.app)
NETPICK = [(page, line) for page in PAGES for line in shell_commands(page) if line[0] == "netpick"]


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
        constraints = cli_exam._constraints(context.args)
        assert {key.partition("_")[2] for key in constraints} <= set(picking.NUMBERS)
        assert {*(context.params["minimize"] or ()), *(context.params["maximize"] or ())} <= set(picking.NUMBERS)
        return
    if name != "ask" or not context.params["question"]:
        assert not context.args
        return
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "deeper.py").write_text(own_question())
    monkeypatch.chdir(tmp_path)
    command = typer.main.get_command(cli_exam._question_command(questions.find(context.params["question"]), "RUN"))
    assert not parse(command, "question", context.args).args


def test_the_parsing_of_this_file_refuses_what_does_not_exist():
    for line in ("train runs/x --wrokers 2", "show runs/x", "status one two"):
        name, *arguments = line.split()
        with pytest.raises(Exception, match=r"No such option|Missing parameter|unexpected"):
            parse(GROUP.commands[name], name, arguments)


def test_every_option_in_the_text_is_an_option_of_some_command():
    known = set().union(*(options_of(command) for command in GROUP.commands.values()))
    for question in questions.questions().values():
        known |= options_of(typer.main.get_command(cli_exam._question_command(question, "RUN")))
    known |= {f"--{end}-{column.replace('_', '-')}" for end in ("min", "max") for column in picking.NUMBERS}
    for page in PAGES:
        prose = re.sub(r"^```sh\n.*?^```$", "", text(page), flags=re.MULTILINE | re.DOTALL)
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]\b(?!-)", prose)) - {"--check"}  # ruff's own
        assert named <= known, f"{page}: {named - known}"


def test_every_command_is_in_the_readme():
    named = {line[1] for page, line in NETPICK if page == README} | set(re.findall(r"`netpick (\w+)", text(README)))
    assert named >= set(GROUP.commands)
    assert named <= {*GROUP.commands, "ask"}


def test_every_question_that_is_named_exists():
    named = {line[3] for _, line in NETPICK if line[1] == "ask" and len(line) > 3} - {"deeper"}
    named |= set(re.findall(r'ask\("(\w+)"', text(README)))
    assert named
    assert named <= set(questions.questions())
    assert sorted(w for row in table(README, "Ask") for w in words(row[1])) == sorted(questions.questions())


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    for page in PAGES:
        named = [w for line in shell_commands(page) if line[0] == "make" for w in line[1:] if "=" not in w]
        named += [w for given in re.findall(r"`make ([^`]*)`", text(page)) for w in given.split() if "=" not in w]
        assert set(named) <= targets, f"{page}: {set(named) - targets}"
    variables = set(re.findall(r"^([A-Z]+) +\?=", text("Makefile"), re.MULTILINE))
    assert set(re.findall(r"\b([A-Z]+)=\w", " ".join(blocks(README, "sh")))) <= variables


def test_templates_and_data_sets_are_those_that_there_are():
    (line,) = [line for block in blocks(README, "sh") for line in block.splitlines() if "netpick templates" in line]
    assert line.partition("#")[2].strip().split(", ") == list(template.builtin_templates())
    rows = {words(row[0])[0]: row for row in table(README, "The real thing: MNIST", 1)}
    assert set(rows) == set(data.DATASETS)
    for name, (_, image, counts, files) in rows.items():
        source = data.DATASETS[name]
        assert image == "×".join(map(str, source.shape))
        assert counts == f"{source.train:,} + {source.test:,}"
        assert words(files) == ([source.folder] if source.folder else [])


# Templates


def default_of(kind, field):
    """Return a field's default in TOML's types, or None where it is needed or absent."""
    (found,) = [f for f in msgspec.structs.fields(kind) if f.name == field]
    default = found.default if found.default_factory is msgspec.NODEFAULT else found.default_factory()
    plain = None if default is msgspec.NODEFAULT else msgspec.to_builtins(default)
    return list(plain) if isinstance(plain, tuple) else plain


def check_default(cell, kind, key):
    required = next(f.required for f in msgspec.structs.fields(kind) if f.name == key)
    if required:
        assert cell == "needed", key
    elif cell == "none":
        assert default_of(kind, key) is None, key
    else:
        (value,) = words(cell)
        assert tomllib.loads(f"x = {value}")["x"] == default_of(kind, key), key


DATA_KEYS = ["dataset", "classes", "image_size", "color", "skip_unreadable"]


def test_keys_of_a_template():
    rows = {words(row[0])[0]: row[1] for row in table(README, "Keys of a template")}
    assert list(rows) == ["title", "description", *DATA_KEYS, "recipe", "defaults", "cells"]
    assert {*rows, "sweep"} == {f.name for f in msgspec.structs.fields(template.Template)}  # worked out
    for key in ("title", "description", *DATA_KEYS, "cells"):
        check_default(rows[key], template.Template, key)


def test_keys_of_a_cell():
    rows = {words(row[0])[0]: row[1:4] for row in table(README, "Keys of a cell")}
    for at, (name, kind) in enumerate(cells.KINDS.items()):
        assert words(rows["kind"][at]) == [f'"{name}"']
        keys = {f.name for f in msgspec.structs.fields(kind)}
        assert {key for key, cells in rows.items() if cells[at]} == {"kind", *keys}
        for key in keys:
            check_default(rows[key][at], kind, key)


def test_keys_of_the_recipe():
    rows = {words(row[0])[0]: row[1:] for row in table(README, "Keys of the recipe")}
    assert list(rows) == [f.name for f in msgspec.structs.fields(template.Recipe)]
    for key, (default, _) in rows.items():
        check_default(default, template.Recipe, key)
    said = set(words(rows["optimizer_args"][1]))
    assert said == {argument for arguments in template.OPTIMIZERS.values() for argument in arguments}
    assert set(words(rows["optimizer"][1])) == set(template.OPTIMIZERS)


def test_computations_and_activations_are_all_named():
    rows = {words(row[0])[0]: row[-1] for row in table(README, "Keys of a cell")}
    assert words(rows["computation"]) == list(COMPUTATIONS)
    (sentence,) = re.findall(r"^The activations: (.*?)\.$", text(README), re.MULTILINE | re.DOTALL)
    assert words(sentence) == ACTIVATIONS


def test_whole_networks_and_their_arguments_are_all_named():
    said = {}
    for ops, arguments, *_ in table(DESIGN, "Whole networks"):
        for op in words(ops):
            said[op] = arguments
    assert set(said) == {*whole.BASELINES, "torchvision:NAME", whole.OWN}
    assert f"for {len(whole.MODELS)} image" in text(DESIGN)
    for op in whole.BASELINES:
        row = whole.WHOLE[op]
        assert set(re.findall(r"`(\w+)`", said[op])) == set(row.arguments), op
        for name, default in row.defaults.items():
            if default is not None:
                value = re.search(rf"`{name}` = (\S+?)(?:,|$)", said[op])[1]
                assert tomllib.loads(f"x = {value}")["x"] == default, (op, name)


def test_the_cells_of_whole_networks_in_the_readme_make_networks():
    _, *rest = blocks(README, "toml")
    cells = "\n".join(one for one in rest if 'name = "NearestMean"' in one)
    parsed = template.parse(f'title = "x"\n{cells}')
    assert [spec.computation for spec in generate(parsed, (1, 8, 8), 10)] == ["Baseline", "Baseline", "Torchvision"]


def test_operations_and_their_arguments_are_all_named():
    said = {}
    for ops, arguments, *_ in table(DESIGN, "A network, as data"):
        for op in words(ops):
            said[op] = arguments
    known = {name: row for name, row in operations.OPERATIONS.items() if row.role != "activation"}
    assert set(said) == set(known)
    for op, row in known.items():
        assert words(said[op]) == list(row.arguments), op
        for name, default in row.defaults.items():
            if default is not None:
                value = re.search(rf"`{name}` = (\S+?)(?:,|$)", said[op])[1]
                assert tomllib.loads(f"x = {value}")["x"] == default, (op, name)


def test_the_template_of_the_readme_gives_the_networks_that_it_says(tmp_path):
    given, *_ = blocks(README, "toml")
    parsed = template.parse(given)
    specs = generate(parsed, data.describe(parsed.dataset).shape, 10)
    families = {}
    for spec in specs:
        families[spec.family] = families.get(spec.family, 0) + 1
    assert families == {
        ("Conv2dThenLinear", "ReLU"): 20,
        ("Conv2dThenLinear", "GELU"): 20,
        ("Linear", "ReLU"): 4,
        ("Linear", "Tanh"): 4,
        ("Linear", "None"): 1,
        ("Conv2d", "Tanh"): 1,
    }
    assert parsed.title.endswith(f"{len(specs)} networks")
    (tmp_path / "mine.toml").write_text(given)
    made = generate_run(str(tmp_path / "mine.toml"), tmp_path / "run", limit=6).store.manifest
    said = {key for row in table("runs/README.md", "Runs", 1) for key in words(row[0])}
    assert set(made) <= said
    # Two come with training; there is a commit in a checkout only, and an entry of data where not all is as usual.
    assert said - set(made) <= {"keep", "training", "git_commit", "input", "data"}


def test_the_json_of_the_design_is_a_network():
    (given,) = blocks(DESIGN, "json")
    spec = NetworkSpec.from_dict(msgspec.json.decode(given))
    assert check(spec.layers, (1, 28, 28), 10).params == 5 * 5 * 62 + 62 + 24 * 24 * 62 * 10


def test_the_computation_of_contributing_builds():
    (given,) = blocks(CONTRIBUTING, "python")
    names = {**vars(computations), "COMPUTATIONS": {}}
    exec(given, names)
    row = names["COMPUTATIONS"]["Bottleneck"]
    assert isinstance(row, Computation)
    cell = template.parse(
        'title = "t"\n[[cells]]\nkind = "sampled"\ncomputation = "Linear"\ncount = { Tanh = 1 }'
    ).cells[0]
    for image in ((1, 8, 8), (1, 28, 28), (3, 32, 32)):
        layers = row.layout(image, 10, Sampler(cell, "Tanh", random.Random(0)))
        check(layers, image, 10)
        assert [layer.op for layer in layers] == ["Reshape", "Linear", "Tanh", "Linear", "LogSoftmax"]


# Tables

RESIDUAL = """
title = "The residual network of README"
[[cells]]
kind = "grid"
computation = ["ResNetStyle"]
activation = ["ReLU"]
depth = [4]
channels = [8]
kernel_size = [3]
planes = [16]
stride = [2]
end = ["Linear"]
"""


def test_the_page_of_tables_is_that_of_the_schema():
    assert text("docs/tables.md") == schema_table.markdown(), "python -m netpick.report.tables_page docs/tables.md"


def test_the_page_of_tables_has_every_column_with_its_sentence():
    rows = re.findall(r"^\| `(\S+)` \| (\w+) \| (.*?) \| (.*) \|$", text("docs/tables.md"), re.MULTILINE)
    assert rows == [(c.name, c.type, c.unit, c.meaning) for columns in TABLES.values() for c in columns]
    assert {c.type for columns in TABLES.values() for c in columns} <= set(schema_table.TYPES)


def test_the_short_tables_of_the_readme_are_complete():
    rows = {words(row[0])[0]: words(row[2]) for row in table(README, "The tables")}
    assert rows == {name: [c.name for c in columns] for name, columns in TABLES.items()}


def test_the_numbers_of_basic_and_of_the_residual_network_are_those_that_are_measured():
    from netpick.networks.modules.measure import measure

    residual, basic = (
        measure(generate(template.parse(given), (1, 28, 28), 10)[0].layers, (1, 28, 28))
        for given in (RESIDUAL, template.find("smoke").read_text())
    )
    rows = {words(row[0])[0]: row[-1] for row in table(README, "What is measured, and how")}
    for key in ("params", "memory", "ops", "depth", "macs", "thop_macs"):
        assert float(rows[key]) == getattr(basic, key), key
    for number in (residual.macs, residual.thop_macs, residual.thop_macs - residual.macs):
        assert f"{number:,.0f}" in text(README)
    assert residual.thop_macs - residual.macs == 4 * 3 * 16 * 13 * 13


# Python examples


def own_question():
    (question,) = [block for block in blocks(README, "python") if "def ask(" in block]
    return question


@pytest.fixture(scope="module")
def exam(tmp_path_factory):
    """A folder to stand in, with a run where README has one."""
    from safetensors.numpy import save_file

    here = tmp_path_factory.mktemp("here")
    planted.plant(here / "runs" / "demo", networks=24, samples=120, epochs=4)
    (here / "runs" / "demo" / "weights").mkdir()
    save_file({"1.weight": np.zeros((10, 64), np.float32)}, here / "runs/demo/weights/Basic-0.safetensors")
    (here / "analysis").mkdir()
    (here / "analysis" / "deeper.py").write_text(own_question())
    return here


def test_the_python_of_the_readme_runs(exam, monkeypatch):
    monkeypatch.chdir(exam)
    examples = [block for block in blocks(README, "python") if "def ask(" not in block]
    assert len(examples) == 4
    for example in examples:
        if "duckdb" in example:
            pytest.importorskip("duckdb")
        *before, last = ast.parse(example).body  # as in a notebook, the last expression is what is shown
        names = {}
        exec(compile(ast.Module(before, []), "README.md", "exec"), names)
        if "import pandas" in example or "duckdb" in example:
            shown = eval(compile(ast.Expression(last.value), "README.md", "eval"), names)
            assert len(shown) == 10
            assert shown.notna().all(axis=None)
        else:
            exec(compile(ast.Module([last], []), "README.md", "exec"), names)


def test_the_question_of_the_readme_has_fifteen_lines_and_answers(exam, monkeypatch, capsys):
    assert len([line for line in own_question().splitlines() if line.strip()]) == 15
    monkeypatch.chdir(exam)
    (line,) = [line for page, line in NETPICK if page == README and "deeper" in line]
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "Linear: the median is highest at" in out
    assert (exam / "deeper.png").read_bytes().startswith(b"\x89PNG")
    assert questions.questions()["deeper"].title == "Do deeper networks score better?"


# The house, and links


def test_the_plan_of_the_design_is_one_that_is_chosen():
    recipe = template.Recipe()
    assert f"`{choose(recipe, 'cpu')}`" in text(DESIGN)
    assert recipe.batch_size != template.load("thousand-light").recipe.batch_size == 200  # CONTRIBUTING says so
    assert template.load("netpicking").recipe.batch_size == 25


def test_every_room_has_its_row():
    rows = {words(row[0])[0]: row for row in table(DESIGN, "How data flows")}
    assert rows.keys() == {path.name for path in (ROOT / "netpick").iterdir() if (path / "__init__.py").is_file()}


def slug(heading):
    """Turn a heading into its anchor, as GitHub does."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_link_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)]+)\)", text(page)):
            if target.startswith("https://"):
                continue
            path, _, anchor = target.partition("#")
            there = (ROOT / page).parent / path if path else ROOT / page
            assert there.exists(), f"{page}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in map(slug, headings), f"{page}: {target}"


def test_files_of_the_project_that_are_named_exist():
    for page in PAGES:
        named = re.findall(r"`((?:netpick|analysis|templates|tests|benchmarks|docs)/[\w./-]*)`", text(page))
        for name in named:
            assert (ROOT / name).exists() or name == "analysis/deeper.py", f"{page}: {name}"
