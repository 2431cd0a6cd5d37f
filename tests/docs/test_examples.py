"""Every example of the documentation does what the page says: Python runs, templates and networks are made."""

import ast
import random
import re

import msgspec
import numpy as np
import pytest
from pages import CONTRIBUTING, PAGES, README, TEMPLATE, blocks, needs_pages, shell_commands, table, text, words

from netpick import data
from netpick.cli import app as cli
from netpick.exam import plant, questions
from netpick.networks.catalogue import layouts as computations
from netpick.networks.catalogue import template
from netpick.networks.catalogue.catalogue import generate
from netpick.networks.catalogue.decisions import Sampler
from netpick.networks.catalogue.layouts import Computation
from netpick.networks.paper.spec import NetworkSpec, check
from netpick.sessions.generate import generate_run

pytestmark = needs_pages
QUESTION = "docs/howto/question.md"
RUNNING = [page for page in PAGES if page != CONTRIBUTING and blocks(page, "python")]


def own_question():
    (question,) = [block for block in blocks(QUESTION, "python") if "def ask(" in block]
    return question


@pytest.fixture(scope="module")
def exam(tmp_path_factory):
    """A folder to stand in, with a run where the pages have one."""
    from safetensors.numpy import save_file

    here = tmp_path_factory.mktemp("here")
    plant(here / "runs" / "demo", networks=24, samples=120, epochs=4)
    (here / "runs" / "demo" / "weights").mkdir()
    save_file({"1.weight": np.zeros((10, 64), np.float32)}, here / "runs/demo/weights/Basic-0.safetensors")
    (here / "analysis").mkdir()
    (here / "analysis" / "deeper.py").write_text(own_question())
    return here


@pytest.mark.parametrize("page", RUNNING)
def test_the_python_of_a_page_runs(page, exam, monkeypatch):
    monkeypatch.chdir(exam)
    for example in (block for block in blocks(page, "python") if "def ask(" not in block):
        if "duckdb" in example:
            pytest.importorskip("duckdb")
        *before, last = ast.parse(example).body  # as in a notebook, the last expression is what is shown
        names = {}
        exec(compile(ast.Module(before, []), page, "exec"), names)
        if "import pandas" in example or "duckdb" in example:
            shown = eval(compile(ast.Expression(last.value), page, "eval"), names)
            assert len(shown) == 10
            assert shown.notna().all(axis=None)
        elif "plant(" in example:
            assert eval(compile(ast.Expression(last.value), page, "eval"), names) is True
        else:
            exec(compile(ast.Module([last], []), page, "exec"), names)


def test_there_are_examples_in_python():
    assert sum(len(blocks(page, "python")) for page in RUNNING) >= 8
    assert README in RUNNING


def test_the_question_of_the_page_has_fifteen_lines_and_answers(exam, monkeypatch, capsys):
    assert len([line for line in own_question().splitlines() if line.strip()]) == 15
    monkeypatch.chdir(exam)
    (line,) = [line for line in shell_commands(QUESTION) if "deeper" in line]
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "Linear: the median is highest at" in out
    assert (exam / "deeper.png").read_bytes().startswith(b"\x89PNG")
    assert questions.title_of(questions.own_files()["deeper"]) == "Do deeper networks score better?"


def test_every_block_of_code_is_of_a_kind_that_is_checked():
    for page in PAGES:
        fences = re.findall(r"^```+(\S*)", text(page), re.MULTILINE)
        assert all(fences[::2]), f"{page}: a block without a language"
        assert not any(fences[1::2]), f"{page}: a block that is not closed"
        assert set(fences[::2]) <= {"sh", "python", "toml", "json", "text", "{toctree}", "{include}", "{raw}"}, page


@pytest.mark.parametrize(("page", "given"), [(page, block) for page in PAGES for block in blocks(page, "toml")])
def test_every_template_and_every_part_of_one_makes_networks(page, given):
    parsed = template.parse(given if given.startswith("title") else f'title = "x"\n{given}')
    assert len(generate(parsed, (1, 8, 8), 10)) >= 1


def test_the_cells_of_whole_networks_make_networks():
    (cells,) = blocks("docs/howto/networks.md", "toml")
    parsed = template.parse(f'title = "x"\n{cells}')
    assert [spec.computation for spec in generate(parsed, (1, 8, 8), 10)] == ["Baseline", "Baseline", "Torchvision"]


def test_the_template_of_the_page_gives_the_networks_that_it_says(tmp_path):
    given, *_ = blocks(TEMPLATE, "toml")
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
    # Some come later, or from elsewhere; a commit is in a checkout only, and data where not all is as usual.
    assert said - set(made) <= {"keep", "training", "git_commit", "input", "data", "imported", "relabelled"}


def test_the_json_of_the_reference_is_a_network():
    (given,) = blocks("docs/reference/operations.md", "json")
    spec = NetworkSpec.from_dict(msgspec.json.decode(given))
    assert check(spec.layers, (1, 28, 28), 10).params == 5 * 5 * 62 + 62 + 24 * 24 * 62 * 10


def test_the_json_of_the_networks_page_is_a_file_of_networks(tmp_path):
    (given,) = blocks("docs/howto/networks.md", "json")
    (tmp_path / "networks.jsonl").write_text(given)
    made = generate_run(None, tmp_path / "run", dataset="digits", networks_file=str(tmp_path / "networks.jsonl"))
    assert [spec.name for spec in made.networks] == ["Tiny"]


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
