"""The tables that are made from the code say what the code does, have a meaning for everything, and are not typed."""

import re
import tomllib

import msgspec
import pytest
from pages import MEASURED, PAGES, ROOT, built, needs_pages, table, tables, text, words

from netpick import data
from netpick.core.recipe import OPTIMIZERS, Augment
from netpick.networks.catalogue import cells, template
from netpick.networks.catalogue.catalogue import generate
from netpick.networks.catalogue.layouts import COMPUTATIONS
from netpick.networks.paper import operations
from netpick.networks.paper import whole_networks as whole
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.store.schema import TABLES
from netpick.training import ENGINES, choose
from netpick.training.engines import compiled as machine_code
from netpick_docs import PLACE, columns, exams, expanded, keys
from netpick_docs import TABLES as MADE

pytestmark = needs_pages
KEYS, LAYERS = "docs/reference/template.md", "docs/reference/operations.md"


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
    rows = {words(row[0])[0]: row[1] for row in table(KEYS, "Keys of a template")}
    assert sorted(rows) == sorted(["title", "description", *DATA_KEYS, "recipe", "defaults", "cells"])
    assert {*rows, "sweep"} == {f.name for f in msgspec.structs.fields(template.Template)}  # worked out
    for key in ("title", "description", *DATA_KEYS, "cells"):
        check_default(rows[key], template.Template, key)


def test_keys_of_a_cell():
    rows = {words(row[0])[0]: row[1:4] for row in table(KEYS, "Keys of a cell")}
    for at, (name, kind) in enumerate(cells.KINDS.items()):
        assert words(rows["kind"][at]) == [f'"{name}"']
        fields = {f.name for f in msgspec.structs.fields(kind)}
        assert {key for key, held in rows.items() if held[at]} == {"kind", *fields}
        for key in fields:
            check_default(rows[key][at], kind, key)


def test_keys_of_the_recipe():
    rows = {words(row[0])[0]: row[1:] for row in table(KEYS, "Keys of the recipe")}
    assert list(rows) == [f.name for f in msgspec.structs.fields(template.Recipe)]
    for key, (default, *_) in rows.items():
        check_default(default, template.Recipe, key)
    ways = {words(row[0])[0]: row[1] for row in table(KEYS, "Keys of augment")}
    assert list(ways) == [f.name for f in msgspec.structs.fields(Augment)]
    for key, default in ways.items():
        check_default(default, Augment, key)
    said = {row[0].strip("`"): tuple(words(row[1])) for row in table(KEYS, "Arguments of the optimizers")}
    assert said == OPTIMIZERS
    assert set(words(rows["optimizer"][1])) == {f'"{name}"' for name in OPTIMIZERS}


@pytest.mark.parametrize("heading", ["Keys of a template", "Keys of a cell", "Keys of the recipe", "Keys of augment"])
def test_every_key_has_a_meaning(heading):
    assert all(re.fullmatch(r"\S.*\.", row[-1]) for row in table(KEYS, heading))


def test_values_are_said_in_words():
    assert keys.meanings(keys.Recipe)["lr"] == "Learning rate."
    rows = {words(row[0])[0]: row[2] for row in table(KEYS, "Keys of the recipe")}
    assert rows["validation"] == "number from 0 below 1"
    assert rows["lr"] == "number above 0"
    assert rows["epochs"] == "whole number from 1 to 32,767"
    assert rows["warmup"] == "number from 0 below 1"
    assert words(rows["normalize"]) == ['"standard"', '"unit"']


def test_computations_and_activations_are_all_named():
    for start, names in (("The computations", list(COMPUTATIONS)), ("The activations", ACTIVATIONS)):
        (sentence,) = re.findall(rf"^{start}: (.*?)\.$", built(KEYS), re.MULTILINE)
        assert words(sentence) == list(names)


def test_whole_networks_and_their_arguments_are_all_named():
    said = {}
    for ops, arguments, *_ in table(LAYERS, "Whole networks"):
        for op in words(ops):
            said[op] = arguments
    assert set(said) == {*whole.BASELINES, "torchvision:NAME"}
    assert f"`{whole.OWN}` is made by" in text(LAYERS)
    assert f"for {len(whole.MODELS)} image" in built(LAYERS)
    for op in whole.BASELINES:
        row = whole.WHOLE[op]
        assert set(re.findall(r"`(\w+)`", said[op])) == set(row.arguments), op
        for name, default in row.defaults.items():
            if default is not None:
                value = re.search(rf"`{name}` = (\S+?)(?:,|$)", said[op])[1]
                assert tomllib.loads(f"x = {value}")["x"] == default, (op, name)


def test_operations_and_their_arguments_are_all_named():
    said = {}
    for ops, arguments, *_ in table(LAYERS, "A network, as data"):
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


def test_torchs_further_arguments_are_all_named():
    said = {
        (op, words(argument)[0]): (words(default)[0], wanted)
        for argument, default, wanted, ops in table(LAYERS, "Torch's further arguments")
        for op in words(ops)
    }
    known = {(op, name): held for op, row in operations.OPERATIONS.items() for name, held in row.options.items()}
    assert set(said) == set(known)
    for key, option in known.items():
        default = list(option.default) if isinstance(option.default, tuple) else option.default
        assert msgspec.json.decode(said[key][0]) == default, key
        assert said[key][1] == option.kind.wanted, key


def test_templates_and_data_sets_are_those_that_there_are():
    rows = {words(row[0])[0]: row[1] for row in table("docs/howto/template.md", "Templates that come along")}
    assert rows == {name: template.load(name).title for name in template.builtin_templates()}
    rows = {words(row[0])[0]: row for row in table("docs/howto/images.md", "Data sets that have a name")}
    assert set(rows) == set(data.DATASETS)
    for name, (_, image, counts, files) in rows.items():
        source = data.DATASETS[name]
        assert image == "×".join(map(str, source.shape))
        assert counts == f"{source.train:,} + {source.test:,}"
        assert words(files) == ([source.folder] if source.folder else [])


def test_the_page_of_tables_has_every_column_with_its_sentence():
    page = built("docs/reference/tables.md")
    rows = re.findall(r"^\| `(\S+)` \| (\w+) \| (.*?) \| (.*) \|$", page, re.MULTILINE)
    assert rows == [(c.name, c.type, c.unit, c.meaning) for held in TABLES.values() for c in held]
    assert {c.type for held in TABLES.values() for c in held} <= set(columns.TYPES)
    assert set(columns.ROWS) == set(TABLES)


def test_the_short_table_of_tables_is_complete():
    rows = {words(row[0])[0]: words(row[1]) for row in table("docs/reference/tables.md", "The tables of a run")}
    assert rows == {name: [c.name for c in held] for name, held in TABLES.items()}


def test_every_engine_has_its_row():
    page = "docs/explanation/engines.md"
    assert [words(row[0])[0] for row in table(page, "Engines")] == list(ENGINES)
    (sentence,) = re.findall(r"^Compiled are (.*)\.$", built(page), re.MULTILINE)
    assert f"{machine_code.MOST_MACS:,} macs ({machine_code.MOST_LINEAR_MACS:,}" in sentence
    assert set(words(sentence)) >= {*machine_code.MISSING, *machine_code.OPTIMIZERS}


def test_every_room_has_its_row():
    rows = {words(row[0])[0] for row in table("docs/explanation/house.md", "How data flows")}
    assert rows == {path.name for path in (ROOT / "netpick").iterdir() if (path / "__init__.py").is_file()}


def test_every_made_table_stands_somewhere_and_no_other_is_asked_for():
    asked = {name for page in PAGES for name in PLACE.findall(text(page))}
    assert asked == set(MADE)
    with pytest.raises(KeyError):
        expanded("{{ no_such_table }}")


def test_no_made_table_is_typed_as_well():
    typed = {tuple(row) for page in PAGES for held in tables(text(page)) for row in held[1:]}
    typed_names = [{tuple(words(row[0])) for row in held[1:]} for page in PAGES for held in tables(text(page))]
    for name, make in MADE.items():
        for _, *rows in tables(make()):
            assert not typed & {tuple(row) for row in rows}, name
            names = {tuple(words(row[0])) for row in rows}
            assert not any(names <= others for others in typed_names), name


RESIDUAL = """
title = "The residual network of the page"
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


def test_the_numbers_of_basic_and_of_the_residual_network_are_those_that_are_measured():
    from netpick.networks.modules.measure import measure

    residual, basic = (
        measure(generate(template.parse(given), (1, 28, 28), 10)[0].layers, (1, 28, 28))
        for given in (RESIDUAL, template.find("smoke").read_text())
    )
    rows = {words(row[0])[0]: row[-1] for row in table(MEASURED, "What is measured")}
    for key in ("params", "memory", "ops", "depth", "macs", "thop_macs"):
        (number,) = re.findall(r"^(?:.*= )?(\d+)(?::.*)?$", rows[key])
        assert float(number) == getattr(basic, key), key
    for number in (residual.macs, residual.thop_macs, residual.thop_macs - residual.macs):
        assert f"{number:,.0f}" in text(MEASURED)
    assert residual.thop_macs - residual.macs == 4 * 3 * 16 * 13 * 13


def test_the_plan_of_the_page_is_one_that_is_chosen():
    recipe = template.Recipe()
    assert f"`{choose(recipe, 'cpu')}`" in text("docs/explanation/engines.md")
    assert recipe.batch_size != template.load("thousand-light").recipe.batch_size == 200  # a decision says so
    assert template.load("netpicking").recipe.batch_size == 25


def test_the_pages_of_exams_that_there_are_are_listed_and_their_anchors_can_be_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(exams, "FOLDER", tmp_path)
    (tmp_path / "index.md").write_text("# Exams\n")
    assert "toctree" not in exams.exams()
    (tmp_path / "mnist.md").write_text('# The exam of x\n\n- [a](#weird)\n\n<a id="weird"></a>\n\n### A\n')
    assert "- [The exam of x](mnist.md)" in exams.exams()
    assert exams.exams().splitlines()[-2:] == ["mnist", "```"]
    page = exams.anchored((tmp_path / "mnist.md").read_text(), "exam/mnist")
    assert "- [a](#mnist-weird)\n\n(mnist-weird)=\n\n### A" in page  # another page may have the same question
    assert exams.anchored("[a](#b)", "index") == "[a](#b)"
