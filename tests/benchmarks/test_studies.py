"""The templates of the studies: each generates, with the networks that were published, and trains."""

from __future__ import annotations

import pytest

from netpick import Run
from netpick.networks.catalogue.catalogue import generate
from netpick.networks.catalogue.template import load
from netpick.sessions import Options, train_run
from netpick.sessions.generate import generate_run

IMAGE = (1, 28, 28)


@pytest.mark.parametrize(
    ("template", "params"),
    [
        # inputs · outputs + outputs, layer by layer
        ("wizard", {
            "Mlp_512_512": 784 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10,
            "Mlp_64": 784 * 64 + 64 + 64 * 10 + 10,
            **dict.fromkeys(("Cnn", "Cnn_shuffled"), 16 * 25 + 16 + 32 * 16 * 49 + 32 + 288 * 10 + 10),
        }),
        ("shallow", {
            "Mlp_4": 784 * 4 + 4 + 40 + 10, "Mlp_16": 784 * 16 + 16 + 160 + 10, "Mlp_32": 784 * 32 + 32 + 320 + 10,
            "Mlp_16_16": 784 * 16 + 16 + 16 * 16 + 16 + 160 + 10, "Softmax_4": 784 * 4 + 4 + 40 + 10,
        }),
    ],
)  # fmt: skip
def test_networks_are_those_of_the_study(template, params):
    from netpick.networks.modules.measure import measure

    made = generate(load(template), IMAGE, 10)
    assert {spec.name: measure(spec.layers, IMAGE).params for spec in made} == params


def test_exploration_changes_one_choice_at_a_time():
    made = {spec.name: spec for spec in generate(load("exploration"), IMAGE, 10)}
    base = made["Base"]
    assert dict(base.recipe) == {"replicates": 3}
    twins = {name: dict(spec.recipe) for name, spec in made.items() if spec.layers_hash == base.layers_hash}
    alone = [recipe for recipe in twins.values() if len(recipe) == 1]
    rates = {0.003, *(recipe["lr"] for recipe in alone if "lr" in recipe)}
    assert rates == {1e-5, 3e-5, 1e-4, 3e-4, 7e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1}
    assert {r["batch_size"] for r in alone if "batch_size" in r} == {1, 8, 32, 64, 256, 512}
    assert {r["epochs"] for r in alone if "epochs" in r} == {30}
    later = [recipe for recipe in twins.values() if len(recipe) == 2]  # after the learning rate's own test
    assert sorted((r["optimizer"], r["lr"]) for r in later) == [("RMSprop", 0.0007), ("SGD", 0.0007)]
    others = [spec for spec in made.values() if spec.layers_hash != base.layers_hash]
    widths = [[one.args["out_features"] for one in spec.layers if one.op == "Linear"][:-1] for spec in others]
    relu = [w for w, spec in zip(widths, others, strict=True) if spec.activation == "ReLU"]
    assert sorted(len(w) for w in relu if set(w) == {256}) == [1, 5, 10, 15, 20]
    assert sorted(w[0] for w in relu if len(w) == 2) == [16, 32, 64, 128, 512, 1024, 2048]
    assert {(s.activation, s.recipe.get("lr")) for s in others} == {("ReLU", None), ("PReLU", 7e-4), ("ELU", 7e-4)}


LINEAR = "[{op='Flatten'},{op='Linear',in_features='pixels',out_features='classes',bias=false},{op='LogSoftmax'}]"
SMALLER = {
    "wizard": [f"cells.{n}.layers={LINEAR}" for n in (2, 3)],  # digits of 8x8 have no room for its convolutions
    "shallow": [],
    "exploration": [  # one of each sweep is enough
        "cells.2.depth=[4]", "cells.3.features=[16]", "cells.4.recipe.batch_size=[8,64]", "cells.5.recipe.lr=[0.1]",
    ],
    "threes-sevens": ["cells.7.layers=" + LINEAR],  # the ResNet takes seconds
}  # fmt: skip


@pytest.mark.parametrize("template", list(SMALLER))
def test_a_study_trains_on_a_few_samples(template, tmp_path):
    cells = range(len(load(template).cells))
    keys = ("train_samples=60", "epochs=1", "replicates=1")
    few = [f"cells.{n}.recipe.{key}" for n in cells for key in keys] + SMALLER[template]
    made = generate_run(template, tmp_path / "run", dataset="digits", overrides=few)
    assert set(train_run(tmp_path / "run", Options(workers=1))) == {"done"}
    assert len(Run(tmp_path / "run").trainings) == len(made.networks)
