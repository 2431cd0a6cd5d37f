"""Sweeps of recipe values: what a template may say, which students come of it, and whole trainings of them."""

from __future__ import annotations

import itertools
import json
import re
import tomllib

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
import torch
from hypothesis import given
from hypothesis import strategies as st
from template_cells import MLP, explicit, linear

from netpick import Run, exam
from netpick.core.errors import RunError, TemplateError
from netpick.core.names import NAME
from netpick.exam.questions import questions
from netpick.networks.catalogue.catalogue import generate
from netpick.networks.catalogue.sweeps import base_name
from netpick.networks.catalogue.template import parse
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import NetworkSpec
from netpick.sessions import Options, train_run
from netpick.sessions.generate import digest, generate_run


def students(recipe, cells=MLP, overrides=()):
    parsed = parse(f'title = "x"\ndataset = "digits"\n[recipe]\n{recipe}\n{cells}', "x.toml", overrides)
    return {spec.name: dict(spec.recipe) for spec in generate(parsed, (1, 8, 8), 10)}


def test_a_list_makes_a_student_of_each_value():
    assert students("lr = [0.1, 0.01]\nbatch_size = [8, 16]") == {
        "Mlp.lr-0.1.batch_size-8": {},  # the first of each is the run's
        "Mlp.lr-0.1.batch_size-16": {"batch_size": 16},
        "Mlp.lr-0.01.batch_size-8": {"lr": 0.01},
        "Mlp.lr-0.01.batch_size-16": {"lr": 0.01, "batch_size": 16},
    }


def test_nothing_swept_leaves_names_and_hashes_as_they_are():
    plain = parse(f'title = "x"\n[recipe]\nlr = 0.1\n{MLP}')
    (spec,) = generate(plain, (1, 8, 8), 10)
    assert (spec.name, spec.recipe, spec.hash) == ("Mlp", {}, spec.layers_hash)
    assert "recipe" not in spec.to_dict()


def test_the_same_network_in_two_cells_keeps_its_name():
    cell = '[[cells]]\nkind = "grid"\ncomputation = ["Linear"]\ndepth = [2]\nfeatures = [6]\n'
    twice = f"{cell}{cell}recipe = {{ lr = [0.001, 0.5] }}\n{cell}recipe = {{ epochs = 9 }}\n"
    assert students("lr = 0.001", twice) == {
        "Linear_1": {},
        "Linear_1.lr-0.5": {"lr": 0.5},
        "Linear_1.epochs-9": {"epochs": 9},  # not swept, but said, as the name is taken
    }


def test_arguments_go_with_their_optimizer():
    both = (
        'optimizer = ["SGD", "Adam"]\noptimizer_args = { SGD = { momentum = [0.0, 0.9] }, Adam = { amsgrad = true } }'
    )
    assert students(both) == {
        "Mlp.optimizer-SGD.momentum-0": {},
        "Mlp.optimizer-SGD.momentum-0.9": {"optimizer_args": {"momentum": 0.9}},
        "Mlp.optimizer-Adam": {"optimizer": "Adam", "optimizer_args": {"amsgrad": True}},
    }
    # A pair by itself is one value of betas, a list of pairs is a sweep.
    assert students("optimizer_args.betas = [0.9, 0.99]") == {"Mlp": {}}
    assert len(students("optimizer_args.betas = [[0.9, 0.99], [0.8, 0.9]]")) == 2
    cell = MLP + 'recipe = { optimizer = ["Adam", "SGD"] }\n'
    assert students("optimizer_args.amsgrad = true", cell) == {
        "Mlp.optimizer-Adam": {},
        "Mlp.optimizer-SGD": {"optimizer": "SGD", "optimizer_args": {}},
    }


def test_tables_of_augmentation_are_values_like_others():
    lists = (
        "augment = [{}, { shift = 2 }, { flip = true, erase = 0.25 }]\nlabel_smoothing = [0.0, 0.1]\ngradient_clip = 1"
    )
    assert students(lists) == {
        "Mlp.augment-none.label_smoothing-0": {},
        "Mlp.augment-none.label_smoothing-0.1": {"label_smoothing": 0.1},
        "Mlp.augment-shift-2.label_smoothing-0": {"augment": {"shift": 2}},
        "Mlp.augment-shift-2.label_smoothing-0.1": {"augment": {"shift": 2}, "label_smoothing": 0.1},
        "Mlp.augment-flip-true_erase-0.25.label_smoothing-0": {"augment": {"flip": True, "erase": 0.25}},
        "Mlp.augment-flip-true_erase-0.25.label_smoothing-0.1": {
            "augment": {"flip": True, "erase": 0.25},
            "label_smoothing": 0.1,
        },
    }
    assert {base_name(name) for name in students(lists)} == {"Mlp"}
    assert students("", MLP + "recipe = { augment = { shift = 1, flip = false, crop = 1.0 } }\n") == {
        "Mlp": {"augment": {"shift": 1}}
    }


def test_set_on_the_command_line():
    assert list(students("lr = 0.1", overrides=["recipe.lr=[0.2,0.1]"])) == ["Mlp.lr-0.2", "Mlp.lr-0.1"]
    assert list(students("lr = [0.1, 0.2]", overrides=["recipe.lr=0.3"])) == ["Mlp"]
    assert students("lr = 0.1", overrides=["cells.0.recipe.epochs=[1,2]"]) == {
        "Mlp.epochs-1": {"epochs": 1},
        "Mlp.epochs-2": {"epochs": 2},
    }


def test_a_baseline_has_no_learning_rate():
    cell = """
[[cells]]
kind = "explicit"
name = "Mean"
layers = [{ op = "baseline:nearest_mean", num_classes = "classes" }]
"""
    assert students('lr = [0.1, 0.2]\nnormalize = ["unit", "standard"]', cell) == {
        "Mean.normalize-unit": {},
        "Mean.normalize-standard": {"normalize": "standard"},
    }


@pytest.mark.parametrize(
    ("recipe", "cell", "said"),
    [
        ("lr = []", "", "recipe.lr: a sweep needs at least one value, got []"),
        ("lr = [0.1, 'x']", "", "recipe.lr: expected float, got str: 'x'"),
        ("lr = [0.1, -1.0]", "", "recipe.lr: expected float > 0.0, got -1.0"),
        ("lr = [[0.1]]", "", "recipe.lr: expected float, got array: [0.1]"),
        ("validation = [0.1, 0.2]", "", "recipe.validation: can't be swept, got [0.1, 0.2]: all networks of a run are"),
        ("replicates = [1, 2]", "", "recipe.replicates: can't be swept"),
        ("lrr = [1, 2]", "", "recipe.lrr: unknown key (did you mean 'lr'?)"),
        ('optimizer = ["SGD", "Adam"]\noptimizer_args.momentum = 0.9', "", "write a table for each optimizer, such as"),
        ("optimizer_args = { Adam = { eps = 1.0 }, beta = 3 }", "", "recipe.optimizer_args.beta: among tables"),
        ("optimizer_args = { Adam = { momentum = [0.1] } }", "", "recipe.optimizer_args.momentum: Adam has no such"),
        ("optimizer_args = { amsgrad = [] }", "", "recipe.optimizer_args.amsgrad: a sweep needs at least one value"),
        ("label_smoothing = 1", "", "recipe.label_smoothing: expected float < 1.0, got 1"),
        ("label_smoothing = 0.1\nloss = ['nll', 'mse']", "", "goes with the loss nll, got 0.1 with mse: leave one"),
        ("gradient_clip = -1", "", "recipe.gradient_clip: expected float >= 0.0, got -1"),
        ("gradient_clip = inf", "", "recipe.gradient_clip: expected a finite number, got inf"),
        ("augment = true", "", "recipe.augment: expected object, got bool: True"),
        ("augment = { shfit = 2 }", "", "recipe.augment.shfit: unknown key (did you mean 'shift'?)"),
        ("augment = { shift = 0.5 }", "", "recipe.augment.shift: expected int, got float: 0.5"),
        ("augment = { shift = [1, 2] }", "", "recipe.augment.shift: expected int, got array: [1, 2]"),
        ("augment = [{ erase = 2 }]", "", "recipe.augment.erase: expected float <= 1.0, got 2"),
        ("augment = { crop = 0.0 }", "", "recipe.augment.crop: expected float > 0.0, got 0.0"),
        ("optimizer_args = 3", "", "recipe.optimizer_args: expected object, got int: 3"),
        ("", "recipe = { validation = 0.1 }", "cells[0].recipe.validation: is one for all networks of a run, got 0.1"),
        ("", "recipe = { lr = 'x' }", "cells[0].recipe.lr: expected float, got str: 'x'"),
        ("", "recipe = { batch = 3 }", "cells[0].recipe.batch: unknown key"),
        ("", "recipe = { optimizer_args = 4 }", "cells[0].recipe.optimizer_args: expected a table, got 4"),
        (
            f"batch_size = {list(range(1, 101))}\nepochs = {list(range(1, 1002))}",
            "",
            "100,100 recipes for this cell",
        ),
        ("", "recipe = 3", "cells[0].recipe: expected object, got int: 3"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(recipe, cell, said):
    with pytest.raises(TemplateError, match=re.escape(said)) as error:
        students(recipe, MLP + cell)
    assert str(error.value).startswith("x.toml: ")
    assert "\n" not in str(error.value)


def test_a_grid_too_large_is_refused_before_it_is_built():
    wide = f'[[cells]]\nkind = "grid"\ncomputation = ["Linear"]\ndepth = [2]\nfeatures = {list(range(1, 2001))}\n'
    with pytest.raises(TemplateError, match=r"600 recipes for this cell's networks come to more than 100,000"):
        students(f"batch_size = {list(range(1, 601))}", wide)
    with pytest.raises(TemplateError, match=r"asks for 4,000,000 networks, the most is 100,000"):
        students("", wide + f"channels = {list(range(1, 2001))}\n")
    with pytest.raises(
        TemplateError, match=r"cells: ask for 120,000 networks in all, the most is 100,000: take some out"
    ):
        students(f"batch_size = {list(range(1, 31))}", wide * 2)


VALUES = {
    "lr": st.floats(1e-12, 1e12, allow_subnormal=False),
    "batch_size": st.integers(1, 2**40),
    "order": st.sampled_from(["shuffled", "fixed", "by_class"]),
    "loss": st.sampled_from(["nll", "mse", "l1", "distance"]),
    "warmup": st.floats(0, 0.9),
    "optimizer": st.sampled_from(["Adam", "SGD", "RMSprop"]),
    "precision": st.sampled_from(["fp32", "bf16"]),
}


@given(
    st.dictionaries(st.sampled_from(list(VALUES)), st.none()).flatmap(
        lambda keys: st.fixed_dictionaries({k: st.lists(VALUES[k], min_size=1, max_size=4, unique=True) for k in keys})
    )
)
def test_combinations_are_the_product_and_have_names_of_their_own(lists):
    text = "\n".join(f"{key} = {json.dumps(values)}" for key, values in lists.items())
    made = generate(parse(f'title = "x"\n[recipe]\n{text}\n{MLP}'), (1, 8, 8), 10)
    base = {key: values[0] for key, values in lists.items()}
    expected = [dict(zip(lists, chosen, strict=True)) for chosen in itertools.product(*lists.values())]
    assert [{**base, **spec.recipe} for spec in made] == expected
    assert len({spec.name for spec in made}) == len({spec.hash for spec in made}) == len(expected)
    for spec in made:
        assert NAME.fullmatch(spec.name)
        assert base_name(spec.name) == "Mlp" or spec.name == f"Mlp.{spec.hash}"  # where all values are too long


SWEPT = (
    """
title = "Swept"
dataset = "digits"

[recipe]
lr = [0.01, 0.1]
epochs = [1, 3]
normalize = ["standard", "unit"]
train_samples = [200, 300]
optimizer = "SGD"
batch_size = 25
validation = 0.2
"""
    + MLP
    + explicit("Thrice", '"Flatten"', linear("pixels", "classes"), '"LogSoftmax"')
    + """recipe = { lr = 0.5, epochs = 2, normalize = "unit", train_samples = 200, replicates = 3 }
"""
)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    (folder / "swept.toml").write_text(SWEPT)
    generate_run(str(folder / "swept.toml"), folder / "run")
    for _ in range(2):  # the second time there is nothing to do
        statuses = train_run(folder / "run", Options(workers=2))
    assert statuses == {"done": 19}
    return Run(folder / "run")


def test_each_combination_is_a_training_with_its_recipe_in_the_tables(swept):
    trainings = pd.read_parquet(swept.path / "trainings").astype({"network": str})
    mlp = trainings[trainings["network"].str.startswith("Mlp")]
    keys = ["lr", "epochs", "normalize", "train_samples"]
    assert sorted(mlp[keys].itertuples(index=False, name=None)) == sorted(
        itertools.product([0.01, 0.1], [1, 3], ["standard", "unit"], [200, 300])
    )
    assert set(mlp["optimizer"]) == {"SGD"}
    assert set(mlp["order"]) == {"shuffled"}
    assert set(mlp["optimizer_args"]) == {"{}"}
    for row in mlp.itertuples():
        assert row.network == (
            f"Mlp.lr-{row.lr:g}.epochs-{row.epochs}.normalize-{row.normalize}.train_samples-{row.train_samples}"
        )
    thrice = trainings[trainings["network"] == "Thrice"]
    assert sorted(thrice["replicate"]) == [0, 1, 2]
    assert thrice["seed"].nunique() == 3
    assert mlp["seed"].nunique() == 1  # one network: the same weights and order for all
    assert swept.wanted == 19
    assert swept.recipe_of("Thrice")["lr"] == 0.5


def test_the_recipe_is_what_it_was_trained_by(swept):
    """Accuracy and loss of a student by a plain loop of one's own."""
    from netpick.data import DataRequest, load

    row = swept.trainings.set_index("network").loc["Mlp.lr-0.1.epochs-3.normalize-unit.train_samples-200"]
    data = load(DataRequest("digits", "", 0, 200, 0.2, "unit"))
    x, y = torch.from_numpy(data.inputs("train")), torch.from_numpy(data.split("train").labels)
    from netpick.networks.paper.spec import NetworkSpec

    networks = swept.networks.set_index("name", drop=False)
    spec = NetworkSpec.from_dict(networks.loc[row.name].to_dict())
    torch.manual_seed(int(row["seed"]))
    model = build(spec.layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    order = torch.Generator().manual_seed(int(row["seed"]) ^ 0x5EED)
    for _ in range(3):
        for part in torch.randperm(len(y), generator=order).split(25):
            optimizer.zero_grad()
            torch.nn.functional.nll_loss(model(x[part]), y[part]).backward()
            optimizer.step()
    test = torch.from_numpy(data.inputs("test")), torch.from_numpy(data.split("test").labels)
    loss = torch.nn.functional.nll_loss(model(test[0]), test[1]).item()
    epochs = swept.epochs[(swept.epochs["network"] == row.name) & (swept.epochs["split"] == "test")]
    assert epochs["epoch"].tolist() == [1, 2, 3]
    assert epochs["loss"].iloc[-1] == pytest.approx(loss, rel=1e-4)


def test_the_last_epoch_is_that_of_each_student(swept):
    frame = exam.students(swept).set_index("name")
    last = swept.epochs[swept.epochs["split"] == "test"].sort_values("epoch").astype({"network": str})
    expected = last.groupby(["network", "replicate"])["accuracy"].last().groupby("network").mean()
    assert frame["accuracy"].to_dict() == pytest.approx(expected[frame.index].to_dict())
    assert swept.predicted().shape == (17, 360)
    names, predicted, labels = exam.final(swept)
    for name, answers in zip(names, predicted, strict=True):
        one = last[(last["network"] == name) & (last["replicate"] == 0)]
        assert (answers == labels).mean() == pytest.approx(one["accuracy"].iloc[-1])


@pytest.mark.parametrize(("option", "value"), [("epochs", 5), ("overrides", ["recipe.lr=0.3"])])
def test_training_can_not_change_what_is_swept(swept, tmp_path, option, value):
    (tmp_path / "swept.toml").write_text(SWEPT)
    generate_run(str(tmp_path / "swept.toml"), tmp_path / "run")
    with pytest.raises(RunError, match=r"the networks of .* differ in it, as their template says"):
        train_run(tmp_path / "run", Options(**{option: value}))


def test_generating_it_again_is_the_same_run_and_other_values_are_not(swept):
    template = str(swept.path.parent / "swept.toml")
    assert generate_run(template, swept.path).unchanged
    with pytest.raises(RunError, match="is a run already, with another"):
        generate_run(template, swept.path, overrides=["recipe.lr=[0.01,0.2]"])


def test_card_and_export_know_the_recipe(swept):
    from netpick.exam.exports import normalisation
    from netpick.exam.network_card import card

    name = "Mlp.lr-0.1.epochs-1.normalize-unit.train_samples-200"
    rows = card(swept, name).recipe.set_index("key")
    assert rows.loc["lr"].tolist() == ["0.1", "this network's"]
    assert rows.loc["batch_size"].tolist() == ["25", "the run's"]
    assert normalisation(swept, name) == ([0.0], [1.0])
    assert normalisation(swept, name.replace("unit", "standard")) != ([0.0], [1.0])


MEASURED = {"layer_times", "representative"}
"""Questions that other commands than train measure for."""


@pytest.mark.parametrize("name", sorted(set(questions()) - {"ability", "compare", "short", "versus", *MEASURED}))
def test_questions_get_on_with_students_of_different_lengths(swept, name):
    options = {"everyone": True} if "everyone" in questions()[name].options else {}
    assert swept.ask(name, **options).text


def test_attempts_of_different_lengths(swept):
    table = swept.ask("attempts").table.set_index("name")
    marks = exam.students(swept).set_index("name")["accuracy"]
    assert table["last"].to_dict() == pytest.approx(marks[table.index].to_dict())


RETRIED = f"""
title = "Retried"
dataset = "digits"

[recipe]
lr = [0.1, 1e30]
epochs = [1, 2]
optimizer = "SGD"
train_samples = 200
{MLP}"""


def test_retrying_trains_those_students_alone_and_by_their_own_recipe(tmp_path):
    (tmp_path / "retried.toml").write_text(RETRIED)
    generate_run(str(tmp_path / "retried.toml"), tmp_path / "run")
    wild = ["Mlp.lr-1e30.epochs-1", "Mlp.lr-1e30.epochs-2"]
    started = []
    for retry in ((), ("failed",), ("diverged",)):
        assert train_run(tmp_path / "run", Options(workers=1, retry=retry)) == {"done": 2, "diverged": 2}
        rows = Run(tmp_path / "run").trainings.astype({"network": str}).set_index("network")
        assert sorted(rows.index[rows["status"] == "diverged"]) == wild
        assert rows.loc[wild, "lr"].tolist() == [1e30, 1e30]
        assert rows.loc[wild, "epochs"].tolist() == [1, 2]
        started.append(rows["started"])
    assert started[0].equals(started[1])
    again = started[2] > started[0]
    assert sorted(again.index[again]) == wild


def test_a_run_from_before_there_were_recipes_of_networks_is_read_as_it_was(tmp_path):
    (tmp_path / "plain.toml").write_text(f'title = "Plain"\ndataset = "digits"\n[recipe]\nepochs = 2\n{MLP}')
    folder = tmp_path / "run"
    generate_run(str(tmp_path / "plain.toml"), folder, overrides=["recipe.lr=0.03", "recipe.replicates=2"])
    assert train_run(folder, Options(workers=1)) == {"done": 2}
    now = Run(folder)
    added = ["optimizer", "optimizer_args", "lr", "batch_size", "epochs", "normalize", "precision"]
    added += ["schedule", "warmup", "loss", "init", "order", "seeding", "label_smoothing", "gradient_clip", "augment"]
    for file, columns in [(folder / "networks.parquet", ["recipe"])] + [
        (file, [*added, "train_samples"]) for file in (folder / "trainings").glob("*.parquet")
    ]:
        whole = pq.read_table(file)
        old = whole.drop_columns([column for column in columns if column in whole.column_names])
        assert old.num_columns < whole.num_columns
        pq.write_table(old, file)
    run = Run(folder)
    assert run.wanted == 2
    assert run.recipe_of("Mlp") == now.recipe_of("Mlp") == run.recipe
    kept = [column for column in added if column != "optimizer_args"]
    pd.testing.assert_frame_equal(run.trainings[kept], now.trainings[kept], check_dtype=False)
    for question in ("scores", "curves", "sweep", "mistakes"):
        assert run.ask(question).text == now.ask(question).text
    assert train_run(folder, Options(workers=1)) == {"done": 2}  # nothing is trained again
    assert Run(folder).trainings["started"].tolist() == now.trainings["started"].tolist()
    with pytest.raises(RunError, match=r"has 2 results of another recipe"):
        train_run(folder, Options(overrides=["recipe.lr=0.3"]))


def test_a_run_of_before_that_says_shuffle_goes_on_as_it_was(tmp_path):
    """`order` was called `shuffle`, and the other keys were not there: hashes, names and results stay."""
    text = f'title = "Old"\ndataset = "digits"\n[recipe]\nepochs = 1\norder = "fixed"\nreplicates = 2\n{MLP}'
    (tmp_path / "old.toml").write_text(text + 'recipe = { order = "shuffled" }\n')
    folder = tmp_path / "run"
    generate_run(str(tmp_path / "old.toml"), folder)
    assert train_run(folder, Options(workers=1)) == {"done": 2}
    keys = ["schedule", "warmup", "loss", "init", "order", "seeding", "label_smoothing", "gradient_clip", "augment"]
    old = NetworkSpec.from_dict(
        pq.read_table(folder / "networks.parquet").to_pylist()[0] | {"recipe": {"shuffle": True}}
    )
    manifest = tomllib.loads((folder / "run.toml").read_text())
    manifest["recipe"] = {k: v for k, v in manifest["recipe"].items() if k not in keys} | {"shuffle": False}
    manifest |= {"schema_version": 1, "catalogue": digest([old])}
    (folder / "run.toml").write_text(tomli_w.dumps(manifest))
    networks = pd.read_parquet(folder / "networks.parquet").assign(recipe='{"shuffle": true}', hash=old.hash)
    table = pq.read_table(folder / "networks.parquet")
    pq.write_table(pa.Table.from_pandas(networks, table.schema, preserve_index=False), folder / "networks.parquet")
    for part in ("trainings", "epochs", "predictions", "weights"):
        for file in (folder / part).glob("*"):
            file.unlink()
    run = Run(folder)
    assert run.recipe["order"] == "fixed"
    assert run.recipe_of("Mlp")["order"] == "shuffled"
    with pytest.raises(RunError, match=r"the networks of .* differ in it"):
        train_run(folder, Options(overrides=["recipe.order=by_class"]))
    with pytest.raises(TemplateError, match=r"recipe.shuffle: unknown key.*allowed are .*order"):
        train_run(folder, Options(overrides=["recipe.shuffle=true"]))
    assert train_run(folder, Options(workers=1)) == {"done": 2}
    assert set(Run(folder).trainings["hash"]) == {old.hash}
    assert Run(folder).trainings[keys].iloc[0].tolist() == [
        *("constant", 0.0, "nll", "default", "shuffled", "network"),
        *(0.0, 0.0, "{}"),
    ]
