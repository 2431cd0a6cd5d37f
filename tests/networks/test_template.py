from __future__ import annotations

import copy
import tomllib
from pathlib import Path

import msgspec
import pytest
import tomli_w
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from netpick.core.errors import NetpickError, TemplateError
from netpick.core.recipe import OPTIMIZERS, Augment, Recipe
from netpick.networks.catalogue import template
from netpick.networks.catalogue.cells import GridCell, SampledCell, SampledOptions
from netpick.networks.catalogue.template import parse, parse_recipe
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.training import Job, Plan
from netpick.training.choice import UNKNOWN
from netpick.training.steps import make_optimizer

TEMPLATES = Path(__file__).parents[2] / "templates"

HEAD = 'title = "t"\n'
CELL = '[[cells]]\nkind = "sampled"\ncomputation = "Linear"\ncount = 2\n'
GRID = '[[cells]]\nkind = "grid"\ncomputation = ["Linear"]\n'
EXPLICIT = '[[cells]]\nkind = "explicit"\nname = "A"\nlayers = [{ op = "ReLU" }]\n'

FULL = """
title = "all of it"
description = "every key"
dataset = "digits"

[recipe]
optimizer = "SGD"
optimizer_args = { momentum = 0.9, nesterov = true }
lr = 0.1
batch_size = 16
epochs = 3
order = "fixed"
normalize = "unit"
precision = "bf16"
train_samples = 100
validation = 0.25
replicates = 2
timeout = 60

[defaults]
depth = [2, 3]
bias = 1

[[cells]]
kind = "sampled"
computation = "Conv3dThenLinear"
count = { None = 3, ReLU = 0, Tanh = 2 }
depth = 4
linear_depth = [1, 2]
features = 7
channels = [2, 2]
kernel_size = [2, 3]
square = 0.5
activate = 0
factorisation = [4, 4, 4]
min_params = 10
max_params = 1000
min_macs = 1
max_macs = 10_000

[[cells]]
kind = "sampled"
computation = "ResNetStyle"
activation = "GELU"
count = 5
planes = 3
stride = 2
end = ["Linear"]
factorisation = "random"

[[cells]]
kind = "grid"
computation = ["Linear", "Conv2d"]
activation = ["None", "Mish"]
depth = [1, 2]
features = [5, [6, 7]]
bias = [true, false]
factorisation = ["cubic", [1, 8, 8]]
max_params = 99

[[cells]]
kind = "explicit"
name = "Mine-1.0_x"
computation = "Wide"
activation = "ELU"
layers = [{ op = "Reshape", shape = ["pixels"] }, { op = "Linear", in_features = 64, out_features = "classes" }]
"""


def refusal(text, *overrides):
    """The message of a template that is refused."""
    with pytest.raises(TemplateError) as caught:
        parse(text, "my.toml", overrides)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def recipe(line):
    return HEAD + f"[recipe]\n{line}\n" + CELL


def defaults(line):
    return HEAD + f"[defaults]\n{line}\n" + CELL


def test_every_key_reaches_its_place():
    found = parse(FULL)
    assert (found.title, found.description, found.dataset) == ("all of it", "every key", "digits")
    assert found.recipe == Recipe(
        optimizer="SGD",
        optimizer_args={"momentum": 0.9, "nesterov": True},
        lr=0.1,
        batch_size=16,
        epochs=3,
        order="fixed",
        normalize="unit",
        precision="bf16",
        train_samples=100,
        validation=0.25,
        replicates=2,
        timeout=60.0,
    )
    conv, resnet, grid, explicit = found.cells
    assert conv.families() == [("None", 3), ("Tanh", 2)]
    assert (conv.depth, conv.linear_depth, conv.features, conv.channels) == (4, [1, 2], 7, [2, 2])
    assert (conv.kernel_size, conv.square, conv.activate, conv.factorisation) == ([2, 3], 0.5, 0.0, [4, 4, 4])
    assert (conv.min_params, conv.max_params, conv.min_macs, conv.max_macs) == (10, 1000, 1, 10_000)
    assert resnet.families() == [("GELU", 5)]
    assert (resnet.planes, resnet.stride, resnet.end, resnet.factorisation) == (3, 2, ("Linear",), "random")
    assert (grid.computation, grid.activation, grid.depth) == (("Linear", "Conv2d"), ("None", "Mish"), (1, 2))
    assert (grid.features, grid.bias, grid.factorisation) == ((5, [6, 7]), (True, False), ("cubic", [1, 8, 8]))
    assert (explicit.name, explicit.computation, explicit.activation) == ("Mine-1.0_x", "Wide", "ELU")
    assert explicit.layers[1] == {"op": "Linear", "in_features": 64, "out_features": "classes"}


def test_a_cell_takes_the_defaults_unless_it_says_otherwise():
    conv, resnet, grid, _ = parse(FULL).cells
    assert (conv.depth, resnet.depth) == (4, [2, 3])
    assert (conv.bias, resnet.bias) == (1.0, 1.0)
    assert grid.bias == (True, False)  # a grid has lists of its own


def test_what_is_left_out_is_what_the_documentation_says():
    found = parse(HEAD + CELL)
    assert (found.dataset, found.description, found.recipe, found.defaults) == ("mnist", "", Recipe(), SampledOptions())
    assert msgspec.structs.asdict(found.recipe) == {
        "optimizer": "Adam",
        "optimizer_args": {},
        "lr": 0.001,
        "batch_size": 32,
        "epochs": 4,
        "schedule": "constant",
        "warmup": 0.0,
        "loss": "nll",
        "init": "default",
        "order": "shuffled",
        "seeding": "network",
        "label_smoothing": 0.0,
        "gradient_clip": 0.0,
        "augment": Augment(shift=0, flip=False, crop=1.0, erase=0.0),
        "normalize": "standard",
        "precision": "fp32",
        "train_samples": None,
        "validation": 0.0,
        "folds": 0,
        "replicates": 1,
        "timeout": None,
    }
    (cell,) = found.cells
    assert isinstance(cell, SampledCell)
    assert cell.families() == [("None", 2)]
    (grid,) = parse(HEAD + GRID).cells
    assert isinstance(grid, GridCell)
    assert (grid.activation, grid.depth, grid.kernel_size, grid.end) == (("None",), (2,), (3,), ("Linear",))


def test_a_recipe_written_down_is_read_back_the_same():
    for text in (FULL, HEAD + CELL):
        found = parse(text).recipe
        plain = {k: v for k, v in msgspec.to_builtins(found).items() if v is not None}
        assert parse_recipe(tomllib.loads(tomli_w.dumps(plain)), "run.toml") == found


@pytest.mark.parametrize("file", sorted(TEMPLATES.glob("*.toml")), ids=lambda file: file.stem)
def test_every_template_that_comes_along_parses(file):
    found = template.load(file.stem)
    assert found.title
    assert found.description
    assert template.builtin_templates()[file.stem].samefile(file)
    assert found == template.load(str(file)) == parse(file.read_text(encoding="utf-8"))


def test_the_study_is_trained_as_published():
    found = template.load("netpicking")
    wanted = Recipe(
        optimizer="Adam", optimizer_args={"amsgrad": True}, lr=0.002, batch_size=25, epochs=4, order="shuffled",
        normalize="standard",
    )  # fmt: skip
    assert (found.dataset, found.recipe) == ("mnist", wanted)


def test_find_prefers_a_path_then_the_users_templates_then_our_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert template.find("smoke").samefile(TEMPLATES / "smoke.toml")
    mine = tmp_path / "templates" / "smoke.toml"
    mine.parent.mkdir()
    mine.write_text(HEAD + CELL)
    assert template.find("smoke").samefile(mine)
    assert template.find("templates/smoke.toml").samefile(mine)
    (tmp_path / "smoke").write_text(HEAD + CELL)
    assert template.find("smoke").samefile(tmp_path / "smoke")


@pytest.mark.parametrize(
    "name", ["netpickin", "Netpicking", "nope", "", "a\nb", "\0", "x" * 5000, "/", ".", "/dev/null/x"]
)
def test_an_unknown_template_is_refused_with_those_there_are(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TemplateError) as caught:
        template.load(name)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith("no template '")
    assert "path of a TOML file" in message
    assert "netpicking" in message
    assert ("did you mean 'netpicking'?" in message) == name.lower().startswith("netpickin")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    file = tmp_path / "t.toml"
    file.write_bytes(b"title = \xff\xfe")
    with pytest.raises(TemplateError, match=r"t\.toml: can't be read as a text file: "):
        template.load(str(file))


@pytest.mark.parametrize(
    ("text", "line", "number"),
    [
        ('title = "t"\n[recipe]\nlr = = 3\n', "lr = = 3", 3),
        ('title = "t"\r\n  lr =\r\n', "lr =", 2),
        ('title = "t"\ntitle = "u"\n', 'title = "u"', 2),
        ('title = "t"\n[recipe\nlr = 1', "[recipe", 2),
        ('a = 1\n\ntitle = "never ends', 'title = "never ends', None),
        ("\x00", "\x00", 1),
    ],
)
def test_a_syntax_error_quotes_its_line(text, line, number):
    message = refusal(text)
    assert message.startswith("my.toml: not valid TOML: ")
    assert message.endswith(f": `{line}`")
    assert number is None or f"line {number}" in message


def test_brackets_without_end_are_no_crash():
    assert "nested too deeply" in refusal("x = " + 5000 * "[")
    assert "recipe.lr" in refusal(HEAD + CELL, "recipe.lr=" + 5000 * "[")


def test_keys_of_thousands_of_parts_are_refused_before_they_take_memory():
    dotted = ".".join("a" * 3000)
    assert "a key of it has more than 20 parts" in refusal(HEAD + f"{dotted} = 1\n" + CELL)
    assert "recipe.lr" in refusal(HEAD + CELL, f"recipe.lr={{{dotted} = 1}}")


def test_a_file_too_large_for_a_template_is_not_parsed(tmp_path):
    (tmp_path / "long.toml").write_text("x = [" + "[]," * 400_000 + "]\n" + HEAD + CELL)
    with pytest.raises(TemplateError, match="larger than 1,048,576 bytes"):
        template.load(str(tmp_path / "long.toml"))


def test_numbers_of_thousands_of_digits_are_no_crash():
    assert "not a template" in refusal("x = 1" + 5000 * "0")


@pytest.mark.parametrize(
    ("text", "path", "near"),
    [
        (HEAD + "recpie = 1\n" + CELL, "recpie", "recipe"),
        (HEAD + "[[cell]]\n" + CELL, "cell", "cells"),
        (recipe("learning_rate = 1"), "recipe.learning_rate", None),
        (recipe("batchsize = 1"), "recipe.batchsize", "batch_size"),
        (recipe("optimizer_args = { amsgrd = true }"), "recipe.optimizer_args.amsgrd", "amsgrad"),
        (recipe('optimizer = "SGD"\noptimizer_args = { momentun = 1 }'), "recipe.optimizer_args.momentun", "momentum"),
        (recipe('optimizer = "SGD"\noptimizer_args = { amsgrad = true }'), "recipe.optimizer_args.amsgrad", None),
        (recipe("optimizer_args = { lr = 1 }"), "recipe.optimizer_args.lr", None),
        (defaults("depht = 2"), "defaults.depht", "depth"),
        (defaults("count = 2"), "defaults.count", None),
        (HEAD + CELL + "kernel_sise = 3", "cells[0].kernel_sise", "kernel_size"),
        (HEAD + CELL + CELL + "Bias = 1", "cells[1].Bias", "bias"),
        (HEAD + GRID + "depths = [1]", "cells[0].depths", "depth"),
        (HEAD + CELL + EXPLICIT + "layer = []", "cells[1].layer", "layers"),
        (HEAD + CELL + '"two\\nlines" = 1', "cells[0].two lines", None),
        (HEAD + '"a`b" = 1\n' + CELL, "a`b", None),
    ],
)
def test_an_unknown_key_is_refused_with_its_path_and_the_nearest(text, path, near):
    message = refusal(text)
    assert message.startswith(f"my.toml: {path}: ")
    assert "unknown key" in message or "has no such argument" in message
    assert "allowed are " in message
    assert (f"(did you mean '{near}'?)" in message) if near else ("did you mean" not in message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs at least one [[cells]]"),
        (HEAD, "needs at least one [[cells]]"),
        (CELL, "the template: needs the key 'title'"),
        (HEAD + "cells = 3", "cells: write each cell as a table under [[cells]]"),
        (HEAD + "[cells]\nkind = 'grid'", "cells: write each cell as a table under [[cells]]"),
        (HEAD + "cells = [1]", "cells: write each cell as a table under [[cells]]"),
        ("title = 3\n" + CELL, "title: expected str, got int: 3"),
        (HEAD + "dataset = 1979-05-27\n" + CELL, "dataset: expected str, got date"),
        (HEAD + "recipe = 3\n" + CELL, "recipe: expected object, got int: 3"),
        (HEAD + "defaults = []\n" + CELL, "defaults: expected object, got array: []"),
        (recipe("batch_size = 0"), "recipe.batch_size: expected int >= 1, got 0"),
        (recipe("batch_size = -5"), "recipe.batch_size: expected int >= 1, got -5"),
        (recipe("batch_size = 2.5"), "recipe.batch_size: expected int, got float: 2.5"),
        (recipe("batch_size = true"), "recipe.batch_size: expected int, got bool: True"),
        (recipe("batch_size = '9'"), "recipe.batch_size: expected int, got str: '9'"),
        (recipe("batch_size = 99999999999999999999999"), "recipe.batch_size: expected int <= 1099511627776, got 9999"),
        (recipe("epochs = 0"), "recipe.epochs: expected int >= 1, got 0"),
        (recipe("epochs = -1"), "recipe.epochs: expected int >= 1, got -1"),
        (recipe("epochs = 32768"), "recipe.epochs: expected int <= 32767, got 32768"),
        (recipe("replicates = 0"), "recipe.replicates: expected int >= 1, got 0"),
        (recipe("replicates = 40000"), "recipe.replicates: expected int <= 32767, got 40000"),
        (recipe("train_samples = 0"), "recipe.train_samples: expected int >= 1, got 0"),
        (recipe("lr = 0"), "recipe.lr: expected float > 0.0, got 0"),
        (recipe("lr = nan"), "recipe.lr: expected float > 0.0, got nan"),
        (recipe("lr = inf"), "recipe.lr: expected a finite number, got inf"),
        (recipe("shuffle = true"), "recipe.shuffle: unknown key"),
        (recipe("order = 1"), "recipe.order: expected str, got int: 1"),
        (recipe("loss = 'hinge'"), "recipe.loss: expected one of nll, mse, l1, distance, got 'hinge'"),
        (recipe("warmup = 1"), "recipe.warmup: expected float < 1.0, got 1"),
        (
            recipe("schedule = 'onecycle'\nwarmup = 0.1"),
            "recipe.warmup: onecycle has a warm-up of its own, the first quarter of all steps, got 0.1: leave it out",
        ),
        (recipe("validation = 1.0"), "recipe.validation: expected float < 1.0, got 1.0"),
        (recipe("validation = -0.1"), "recipe.validation: expected float >= 0.0, got -0.1"),
        (recipe("timeout = 0"), "recipe.timeout: expected float > 0.0, got 0"),
        (
            recipe("optimizer = 'Adamm'"),
            "recipe.optimizer: expected one of Adam, AdamW, SGD, RMSprop (did you mean 'Adam'?), got 'Adamm'",
        ),
        (recipe("optimizer = 3"), "recipe.optimizer: expected str, got int: 3"),
        (recipe("normalize = 'std'"), "recipe.normalize: expected one of standard, unit, got 'std'"),
        (recipe("precision = 'fp16'"), "recipe.precision: expected one of fp32, tf32, bf16"),
        (recipe("optimizer_args = { betas = 'x' }"), "recipe.optimizer_args.betas: expected "),
        (recipe("optimizer_args = { eps = 0, betas = [1, 'x'] }"), "recipe.optimizer_args.betas"),
        (recipe("optimizer_args = { betas = [0.9] }"), "betas: expected two numbers from 0 to below 1, got [0.9]"),
        (
            recipe("optimizer_args = { betas = [0.9, 1] }"),
            "betas: expected two numbers from 0 to below 1, got [0.9, 1.0]",
        ),
        (recipe("optimizer_args = { betas = 0.9 }"), "betas: expected two numbers from 0 to below 1, got 0.9"),
        (recipe("optimizer_args = { eps = -1 }"), "recipe.optimizer_args.eps: expected a number from 0 on, got -1.0"),
        (recipe("optimizer_args = { eps = true }"), "recipe.optimizer_args.eps: expected a number from 0 on, got True"),
        (recipe("optimizer_args = { weight_decay = nan }"), "weight_decay: expected a number from 0 on, got nan"),
        (recipe("optimizer_args = { amsgrad = 1 }"), "amsgrad: expected true or false, got 1.0"),
        (
            recipe("optimizer = 'SGD'\noptimizer_args = { nesterov = true }"),
            "recipe.optimizer_args.nesterov: goes with a momentum above 0 and no dampening",
        ),
        (
            defaults("depth = {}"),
            "defaults.depth: wants a table of depths from 1 to 1000, such as { 2 = 3, 4 = 1 }, got {}",
        ),
        (defaults("depth = { two = 1 }"), "such as { 2 = 3, 4 = 1 }, got 'two'"),
        (defaults("depth = { 2 = 1, 0 = 1 }"), "such as { 2 = 3, 4 = 1 }, got '0'"),
        (defaults("depth = { 1001 = 1 }"), "such as { 2 = 3, 4 = 1 }, got '1001'"),
        (HEAD + CELL + "depth = { 2 = 0 }", "cells[0].depth.2: expected int >= 1, got 0"),
        (defaults("planes = 'as'"), "defaults.planes: expected one of same, got 'as'"),
        (defaults("depth = [3, 2]"), "defaults.depth: impossible range [3, 2], the first is the lowest"),
        (defaults("depth = 0"), "defaults.depth: expected int >= 1, got 0"),
        (defaults("depth = 2147483648"), "defaults.depth: expected int <= 1000, got 2147483648"),
        (defaults("linear_depth = [1, 1001]"), "defaults.linear_depth[1]: expected int <= 1000, got 1001"),
        (HEAD + GRID + "depth = [1001]\n", "cells[0].depth[0]: expected int <= 1000, got 1001"),
        (
            HEAD + EXPLICIT.replace('[{ op = "ReLU" }]', "[" + '{ op = "ReLU" },' * 1001 + "]"),
            "cells[0].layers: expected array of length <= 1000",
        ),
        (defaults("depth = [1, 2, 3]"), "defaults.depth: expected array of length <= 2, got [1, 2, 3]"),
        (defaults("depth = [1]"), "defaults.depth: expected array of length >= 2, got [1]"),
        (defaults("depth = 'deep'"), "defaults.depth: expected int | object | array, got str: 'deep'"),
        (defaults("kernel_size = [0, 3]"), "defaults.kernel_size[0]: expected int >= 1, got 0"),
        (defaults("bias = 1.5"), "defaults.bias: expected float <= 1.0, got 1.5"),
        (defaults("bias = nan"), "defaults.bias: expected float >= 0.0, got nan"),
        (defaults("end = []"), "defaults.end: wants at least one of Conv2d, Linear, Conv2dThenLinear, got []"),
        (
            defaults("end = ['Conv3d']"),
            "defaults.end[0]: expected one of Conv2d, Linear, Conv2dThenLinear (did you mean 'Conv2d'?), got 'Conv3d'",
        ),
        (defaults("factorisation = 'cube'"), "expected one of cubic, random (did you mean 'cubic'?), got 'cube'"),
        (defaults("factorisation = [4, 4]"), "defaults.factorisation: expected array of length >= 3, got [4, 4]"),
        (
            defaults("min_params = 10\nmax_params = 9"),
            "defaults: impossible range: min_params = 10 lies above max_params = 9",
        ),
        (HEAD + CELL + "features = [9, 3]", "cells[0].features: impossible range [9, 3]"),
        (
            HEAD + "[defaults]\nmax_macs = 9\n" + CELL + "min_macs = 10",
            "cells[0]: impossible range: min_macs = 10 lies above max_macs = 9",
        ),
        (HEAD + GRID + "min_params = 3\nmax_params = 2", "cells[0]: impossible range: min_params = 3"),
        (HEAD + CELL + "activation = 'relu'", "cells[0].activation: unknown activation 'relu' (did you mean 'ReLU'?)"),
        (HEAD + CELL.replace("Linear", "Conv4d"), "cells[0].computation: unknown computation 'Conv4d'"),
        (HEAD + CELL.replace("sampled", "sample"), "cells[0].kind: got 'sample', allowed are sampled, grid, explicit"),
        (HEAD + CELL.replace('"sampled"', "[1]"), "cells[0].kind: got [1], allowed are sampled, grid, explicit"),
        (HEAD + "[[cells]]", "cells[0].kind: got None, allowed are sampled, grid, explicit"),
        (HEAD + CELL.replace("count = 2", ""), "cells[0]: needs the key 'count'"),
        (HEAD + CELL.replace("count = 2", "count = 0"), "cells[0].count: expected int >= 1, got 0"),
        (HEAD + CELL.replace("count = 2", "count = {}"), "cells[0].count: asks for no network at all"),
        (HEAD + CELL.replace("count = 2", "count = { ReLU = 0 }"), "cells[0].count: asks for no network at all"),
        (
            HEAD + CELL.replace("count = 2", "count = { Tanh = 1, ReLU = -1 }"),
            "cells[0].count.ReLU: expected int >= 0, got -1",
        ),
        (HEAD + CELL.replace("count = 2", "count = { Tahn = 1 }"), "unknown activation 'Tahn' (did you mean 'Tanh'?)"),
        (HEAD + GRID.replace('["Linear"]', '"Linear"'), "cells[0].computation: expected array, got str: 'Linear'"),
        (HEAD + GRID.replace('["Linear"]', "[]"), "cells[0].computation: a grid needs at least one value, got []"),
        (HEAD + GRID.replace("Linear", "Linaer"), "unknown computation 'Linaer' (did you mean 'Linear'?)"),
        (HEAD + GRID + "activation = ['None', 'Selu']", "unknown activation 'Selu'"),
        (HEAD + GRID + "features = [[5, 0]]", "cells[0].features[0][1]: expected int >= 1, got 0"),
        (HEAD + GRID + "bias = ['yes']", "cells[0].bias[0]: expected bool, got str: 'yes'"),
        (
            HEAD + EXPLICIT.replace('"A"', '"a b"'),
            "cells[0].name: got 'a b', allowed are 1 to 100 of A-Z a-z 0-9 _ . -",
        ),
        (HEAD + EXPLICIT.replace('"A"', '""'), "cells[0].name: got ''"),
        (HEAD + EXPLICIT.replace('"A"', '"a/../b"'), "cells[0].name: got 'a/../b'"),
        (HEAD + EXPLICIT.replace('"A"', f'"{101 * "a"}"'), "cells[0].name: got 'aaa"),
        (HEAD + EXPLICIT + 'computation = "a\\nb"', "cells[0].computation: got 'a\\nb'"),
        (HEAD + EXPLICIT + 'activation = "Step"', "cells[0].activation: unknown activation 'Step'"),
        (HEAD + EXPLICIT.replace('[{ op = "ReLU" }]', "3"), "cells[0].layers: expected array, got int: 3"),
        (HEAD + EXPLICIT.replace('[{ op = "ReLU" }]', "[3]"), "cells[0].layers[0]: expected object, got int: 3"),
    ],
)
def test_bad_values_are_refused_with_path_and_what_is_allowed(text, message):
    assert refusal(text).startswith("my.toml: ")
    assert message in refusal(text)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_can_be_asked_for(activation):
    (cell,) = parse(HEAD + CELL + f'activation = "{activation}"').cells
    assert cell.families() == [(activation, 2)]


# Overrides


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("recipe.lr=0.5", "lr", 0.5),
        (" recipe.lr = 0.5 ", "lr", 0.5),
        ("recipe.lr=1", "lr", 1.0),
        ("recipe.epochs=7", "epochs", 7),
        ("recipe.optimizer=SGD", "optimizer", "SGD"),
        ("recipe.optimizer='SGD'", "optimizer", "SGD"),
        ("recipe.order=fixed", "order", "fixed"),
        ("recipe.optimizer_args={amsgrad=true}", "optimizer_args", {"amsgrad": True}),
        ("recipe.optimizer_args.eps=0.25", "optimizer_args", {"eps": 0.25}),
        ("recipe.optimizer_args.betas=[0.5, 0]", "optimizer_args", {"betas": [0.5, 0.0]}),
        ("recipe.train_samples=1_000", "train_samples", 1000),
    ],
)
def test_set_takes_a_value_in_tomls_notation_or_a_bare_word(override, key, value):
    assert getattr(parse(HEAD + CELL, overrides=[override]).recipe, key) == value


def test_set_goes_before_the_template_and_the_last_one_counts():
    text = recipe("lr = 1\nbatch_size = 2")
    assert parse(text, overrides=["recipe.lr=2"]).recipe.lr == 2
    assert parse(text, overrides=["recipe.lr=2"]).recipe.batch_size == 2
    assert parse(text, overrides=["recipe.lr=2", "recipe.lr=3"]).recipe.lr == 3


def test_set_reaches_title_data_set_and_defaults():
    found = parse(HEAD + CELL, overrides=["dataset=cifar10", "title=A new one", "defaults.depth=[3, 4]"])
    assert (found.dataset, found.title, found.cells[0].depth) == ("cifar10", "A new one", [3, 4])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe.lr", "--set recipe.lr: wants key=value, such as recipe.lr=0.001"),
        ("", "--set : wants key=value"),
        ("=3", "--set =3: wants key=value"),
        ("recipe..lr=3", "--set recipe..lr=3: wants key=value"),
        (".lr=3", "--set .lr=3: wants key=value"),
        ("recipe.lr=", "recipe.lr: expected float, got str: ''"),
        ("recipe.lr=fast", "recipe.lr: expected float, got str: 'fast'"),
        ("recipe.lr=1\nseed=2", "wants a value of one line"),
        ("recipe.epoch=2", "recipe.epoch: unknown key (did you mean 'epochs'?)"),
        ("recpie.epochs=2", "recpie: unknown key (did you mean 'recipe'?)"),
        ("recipe=4", "recipe: expected object, got int: 4"),
        ("title.x=1", "--set title.x=1: 'title' is not a table"),
        ("cells.9.count=3", "--set cells.9.count=3: wants the number of a cell, 0 to "),
        ("cells=3", "cells: write each cell as a table under [[cells]]"),
        ("recipe.epochs=0", "recipe.epochs: expected int >= 1, got 0"),
        ("a\nb=3", "a b: unknown key"),
    ],
)
def test_a_malformed_or_wrong_set_is_refused(override, message):
    assert message in refusal(HEAD + CELL, override)


# Whatever comes


VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["Linear", "ReLU", "None", "sampled", "grid", "explicit", "cubic", "SGD"])
    | st.dates()
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
RAW = tomllib.loads(FULL)


def places(value, path=()):
    """The paths of all tables, lists and values inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


@given(st.data())
def test_no_value_anywhere_raises_anything_but_a_netpick_error(data):
    raw = copy.deepcopy(RAW)
    *path, last = data.draw(st.sampled_from(places(RAW)[1:]))
    spot = raw
    for key in path:
        spot = spot[key]
    if isinstance(spot, dict) and data.draw(st.booleans()):
        last = data.draw(st.text(max_size=8))
    spot[last] = data.draw(VALUES)
    try:
        parse(tomli_w.dumps(raw))
    except NetpickError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  most values are refused, a few are not


@given(st.text(), st.lists(st.text() | st.text("recip.lset=[]{}'\"1\n"), max_size=2))
def test_no_text_raises_anything_but_a_netpick_error(text, overrides):
    for given_text in (text, HEAD + CELL + text, HEAD + text + CELL):
        try:
            parse(given_text, overrides=overrides)
        except NetpickError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017


@given(st.sampled_from(sorted(OPTIMIZERS)), st.data())
def test_torch_takes_every_recipe_that_is_not_refused(optimizer, data):
    number = st.floats(0, 1) | st.sampled_from([-1.0, 0, 1, 2, float("inf"), float("nan"), True])
    values = {"betas": st.lists(number, min_size=1, max_size=3) | number}
    values |= dict.fromkeys(("amsgrad", "nesterov", "centered"), st.booleans() | number)
    kinds = {name: values.get(name, number) for name in OPTIMIZERS[optimizer]}
    args = data.draw(st.fixed_dictionaries({}, optional=kinds))
    try:
        found = parse_recipe({"optimizer": optimizer, "optimizer_args": args, "lr": 0.1}, "here")
    except TemplateError:
        return
    model = nn.Linear(2, 1)
    stepper = make_optimizer(model.parameters(), Job(UNKNOWN, found, 0, Plan(kernel="foreach")))
    assert type(stepper) is getattr(torch.optim, optimizer)
    model(torch.ones(1, 2)).sum().backward()
    stepper.step()


def test_a_byte_order_mark_is_said_to_be_one(tmp_path):
    (tmp_path / "marked.toml").write_bytes(b"\xef\xbb\xbf" + b'title = "x"\n')
    with pytest.raises(TemplateError, match=r"marked.toml: begins with a byte-order mark, .* save it as UTF-8 without"):
        template.load(str(tmp_path / "marked.toml"))
