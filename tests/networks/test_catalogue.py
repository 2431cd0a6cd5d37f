from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tomli_w
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from template_cells import BASIC
from torch import nn

from netpick.core.errors import CatalogueError
from netpick.networks.catalogue import catalogue, template
from netpick.networks.catalogue.catalogue import enumerate_networks, share
from netpick.networks.catalogue.decisions import factorisations
from netpick.networks.catalogue.layouts import COMPUTATIONS, cubic_factorisation
from netpick.networks.modules.build import build
from netpick.networks.paper import spec
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.sessions.generate import digest

ROOT = Path(__file__).parents[2]
MNIST, DIGITS, CIFAR = (1, 28, 28), (1, 8, 8), (3, 32, 32)

# Counts of the published study, by computation, for the activations None, ReLU, SELU, Sigmoid and Tanh.
STUDY = {
    "Linear": (55, 23, 24, 25, 23),
    "Conv1d": (59, 23, 24, 21, 23),
    "Conv2d": (61, 23, 23, 20, 23),
    "Conv3d": (57, 23, 23, 22, 25),
    "Conv1dThenLinear": (34, 17, 17, 17, 15),
    "Conv2dThenLinear": (38, 14, 16, 16, 16),
    "Conv3dThenLinear": (33, 18, 16, 18, 15),
    "ResNetStyle": (0, 100, 0, 0, 0),
}
FIVE = ("None", "ReLU", "SELU", "Sigmoid", "Tanh")


def parse(cells):
    return template.parse('title = "t"\n' + cells)


def sampled(computation="Linear", count=3, **keys):
    return cell("sampled", computation=computation, count=count, **keys)


def cell(kind, **keys):
    tables = {key: value for key, value in keys.items() if isinstance(value, dict)}
    plain = {key: value for key, value in keys.items() if key not in tables}
    text = "[[cells]]\n" + tomli_w.dumps({"kind": kind, **plain})
    return text + "".join(f"[cells.{key}]\n" + tomli_w.dumps(value) for key, value in tables.items())


def generate(cells, image=DIGITS, classes=10, seed=0):
    return list(enumerate_networks(parse(cells), image, classes, seed))


def refusal(cells, image=DIGITS, classes=10):
    with pytest.raises(CatalogueError) as caught:
        generate(cells, image, classes)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.fixture(scope="module", params=[MNIST, DIGITS, CIFAR], ids=["mnist", "digits", "cifar"])
def study(request):
    return request.param, catalogue.generate(template.load("netpicking"), request.param, 10)


@pytest.fixture(scope="module")
def mnist():
    return catalogue.generate(template.load("netpicking"), MNIST, 10)


def computation_layers(network):
    """How many layers compute: a block counts for its two convolutions."""
    weights = {"BasicBlock": 2, "Linear": 1, "Conv1d": 1, "Conv2d": 1, "Conv3d": 1}
    return sum(weights.get(one.op, 0) for one in network.layers)


def activations(network):
    inside = [one.args.get("activation") for one in network.layers if one.op == "BasicBlock"]
    return [one.op for one in network.layers if one.op in ACTIVATIONS] + inside


# The study


def test_the_study_has_the_published_counts_and_names(study):
    _, networks = study
    wanted = {(c, a): n for c, counts in STUDY.items() for a, n in zip(FIVE, counts, strict=True) if n}
    assert sum(wanted.values()) == 1000
    basic, *others = networks
    assert (basic.name, basic.family) == ("Basic", ("Linear", "None"))
    assert Counter(one.family for one in others) == wanted
    names = ["Basic"]
    for (computation, activation), count in wanted.items():
        plain = activation == "None" or computation == "ResNetStyle"
        names += [f"{computation}{'' if plain else activation}_{i + 1}" for i in range(count)]
    assert sorted(one.name for one in networks) == sorted(names)
    assert {"Conv2dReLU_12", "Conv2dThenLinearTanh_3", "ResNetStyle_75"} <= set(names)


def test_no_two_networks_of_the_study_are_the_same(study):
    _, networks = study
    assert len({one.hash for one in networks}) == len({one.layers_json() for one in networks}) == 1001


def test_networks_of_the_study_keep_their_size_and_depth(study):
    image, networks = study
    for one in networks[1:]:
        size = spec.check(one.layers, image, 10)
        least = 3_000 if one.computation == "Conv1dThenLinear" else 5_000
        assert least <= size.params <= 5_000_000, one.name
        assert computation_layers(one) in ((5, 7, 9) if one.computation == "ResNetStyle" else range(2, 7)), one.name
        assert one.layers[0].op == "Reshape"
        assert one.layers[-1] == layer("LogSoftmax", dim=1)


def test_every_activation_family_has_its_activation_and_no_other(study):
    _, networks = study
    for one in networks:
        assert set(activations(one)) == ({one.activation} - {"None"}), one.name
    after_some = [one for one in networks if len(activations(one)) < computation_layers(one) - 1]
    assert len(after_some) > 100  # after some of the hidden layers, not after all of them


def test_the_layers_of_a_family_are_those_that_its_name_says(study):
    image, networks = study
    pixels = math.prod(image)
    inputs = {
        "Conv1d": {MNIST: (16, 49), DIGITS: (4, 16), CIFAR: (48, 64)}[image],
        "Conv2d": image,
        "Linear": (pixels,),
    }
    inputs["Conv3d"] = (image[0], *{MNIST: (16, 7, 7), DIGITS: (4, 4, 4), CIFAR: (16, 8, 8)}[image])
    for one in networks:
        convolution = "Conv2d" if one.computation == "ResNetStyle" else one.computation.removesuffix("ThenLinear")
        ops = [one.op for one in one.layers if one.op not in ("Reshape", "LogSoftmax", *ACTIVATIONS)]
        assert tuple(one.layers[0].args["shape"]) == inputs[convolution], one.name
        if one.computation == "ResNetStyle":
            assert ops == ["Conv2d", *["BasicBlock"] * (len(ops) - 3), "Conv2d", "Linear"]
        elif one.computation.endswith("ThenLinear"):
            split = ops.index("Linear")
            assert set(ops[:split]) == {convolution}
            assert set(ops[split:]) == {"Linear"}
        else:
            assert set(ops) == {convolution}


def test_the_study_is_as_mixed_as_it_says(mnist):
    biases = [one.resolved["bias"] for net in mnist[1:] for one in net.layers if "bias" in one.resolved]
    assert 0.3 <= sum(biases) / len(biases) <= 0.4
    kernels = [one.args["kernel_size"] for net in mnist for one in net.layers if one.op == "Conv2d"]
    assert all(len(set(kernel)) == 1 for kernel in kernels)
    depths = Counter(computation_layers(one) for one in mnist[1:] if one.computation != "ResNetStyle")
    assert set(depths) == {2, 3, 4, 5, 6}
    blocks = [[one.args for one in net.layers if one.op == "BasicBlock"] for net in mnist[1:]]
    assert Counter(map(len, blocks)) == {0: 900, 1: 72, 2: 14, 3: 14}
    assert all(one["inplanes"] == one["planes"] and one["stride"] == 1 for block in blocks for one in block)


# Of the networks that were published, by computation: 10 % quantile, median and 90 % quantile of parameters and of
# multiply-accumulates, in thousands, and the median depth.
PUBLISHED = {
    "Linear": ((19, 56, 95), (19, 56, 95), (3, 4)),
    "Conv1d": ((16, 34, 75), (77, 355, 1_070), (3, 4)),
    "Conv2d": ((29, 114, 408), (164, 2_190, 22_000), (3, 4)),
    "Conv3d": ((13, 45, 200), (136, 886, 7_900), (3, 4)),
    "Conv1dThenLinear": ((11, 31, 86), (60, 242, 573), (3, 4)),
    "Conv2dThenLinear": ((20, 88, 583), (98, 796, 2_300), (3, 4)),
    "Conv3dThenLinear": ((18, 102, 993), (145, 401, 1_200), (3, 4)),
    "ResNetStyle": ((65, 213, 706), (3_500, 18_000, 73_000), (5,)),
}


@pytest.mark.parametrize("computation", PUBLISHED)
def test_the_study_is_as_large_and_as_costly_as_published(mnist, computation):
    own = [one for one in mnist[1:] if one.computation == computation]
    params, macs, depths = PUBLISHED[computation]
    sizes = [spec.check(one.layers, MNIST, 10) for one in own]
    for wanted, values in ((params, [one.params for one in sizes]), (macs, [one.macs for one in sizes])):
        found = np.quantile(values, (0.1, 0.5, 0.9)) / 1000
        assert found == pytest.approx(wanted, rel=1 / 3)
        assert wanted == pytest.approx(found, rel=1 / 3)
    assert np.median([computation_layers(one) for one in own]) in depths


def test_the_catalogue_is_the_same_to_the_byte_everywhere():
    """A failure here means that no run made before can be made again."""
    text = BASIC + "".join(sampled(c, {"None": 2, "ReLU": 2}, max_params=10**6) for c in COMPUTATIONS)
    assert digest(generate(text)) == "4445cefb166c9b6def50cb47a3e4283e408a92b11768b1074d1b82289b155036"
    assert (
        digest(generate(text, CIFAR, 7, seed=5)) == "e6d1a11f76b8d64bf7ff222bf2d3c5c4f41f7c4db6f1b8a13dee4d8fbfecd5bf"
    )


def test_the_study_is_the_same_to_the_byte_everywhere(mnist):
    assert digest(mnist) == "8b8bd5b2283a437936920cc99b30a397a51e83f7c8f4c8ab8cc03c65d0c9a919"


def test_the_catalogue_does_not_depend_on_the_process():
    code = (
        "from netpick.networks.catalogue import catalogue, template; from netpick.sessions import generate; "
        "print(generate.digest(catalogue.generate(template.load('smoke'), (1, 8, 8), 10, 3)))"
    )
    wanted = digest(catalogue.generate(template.load("smoke"), DIGITS, 10, 3))
    for seed in ("1", "2"):  # of Python's own hashes
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == wanted


def test_another_seed_gives_other_networks_of_the_same_families(mnist):
    others = catalogue.generate(template.load("netpicking"), MNIST, 10, seed=1)
    assert [one.name for one in others] == [one.name for one in mnist]
    same = {one.hash for one in others} & {one.hash for one in mnist}
    assert len(same) < 50
    assert others[0] == mnist[0]


def test_a_cell_draws_the_same_whatever_the_others_are():
    alone = generate(sampled("Conv2d", 4, activation="Tanh"))
    others = sampled("Linear", 9) + BASIC + sampled("Conv2d", {"ReLU": 5, "Tanh": 4}) + sampled("Conv1d", 2)
    assert [one for one in generate(others) if one.family == ("Conv2d", "Tanh")] == alone
    longer = generate(sampled("Conv2d", 6, activation="Tanh"))
    assert longer[:4] == alone


def test_two_cells_of_one_family_number_on_and_differ():
    networks = generate(sampled("Linear", 3) + sampled("Linear", 3))
    assert [one.name for one in networks] == [f"Linear_{i}" for i in range(1, 7)]
    assert len({one.hash for one in networks}) == 6
    longer = generate(sampled("Linear", 6))  # a cell has numbers of its own to draw from, not those of the one before
    assert networks[:3] == longer[:3]
    assert networks[3:] != longer[3:]


def cell_size(cell):
    if hasattr(cell, "families"):
        return sum(n for _, n in cell.families())
    return math.prod(len(values) for values in msgspec.structs.astuple(cell) if isinstance(values, tuple))


@pytest.mark.parametrize("file", sorted((ROOT / "templates").glob("*.toml")), ids=lambda file: file.stem)
def test_every_template_that_comes_along_can_be_filled(file):
    asked = template.load(file.stem)
    # Convolutions that are written out have a size of image in mind.
    for image in (MNIST,) if file.stem == "wizard" else (MNIST, DIGITS):
        networks = catalogue.generate(asked, image, len(asked.classes or range(10)))
        if not any(getattr(cell, "recipe", None) for cell in asked.cells):  # else see test_studies
            assert len(networks) == sum(cell_size(c) for c in asked.cells)
        assert len({one.hash for one in networks}) == len(networks)


# Cells


def test_ranges_and_probabilities_of_a_sampled_cell_are_kept():
    networks = generate(
        sampled(
            "Conv2dThenLinear",
            60,
            activation="SELU",
            depth=[4, 5],
            linear_depth=[2, 3],
            channels=[3, 5],
            features=[20, 22],
            kernel_size=[1, 3],
            square=0,
            bias=1,
            activate=1,
        )
    )
    seen = defaultdict(set)
    for one in networks:
        convs = [part for part in one.layers if part.op == "Conv2d"]
        linears = [part for part in one.layers if part.op == "Linear"]
        seen["depth"].add(len(convs) + len(linears))
        seen["linear_depth"].add(len(linears))
        seen["channels"] |= {part.args["out_channels"] for part in convs}
        seen["features"] |= {part.args["out_features"] for part in linears[:-1]}
        seen["kernel"] |= {size for part in convs for size in part.args["kernel_size"]}
        seen["square"] |= {part.args["kernel_size"][0] == part.args["kernel_size"][1] for part in convs}
        seen["bias"] |= {part.args["bias"] for part in convs + linears}
        assert len(activations(one)) == len(convs) + len(linears) - 1
    assert seen == {
        "depth": {4, 5},
        "linear_depth": {2, 3},
        "channels": {3, 4, 5},
        "features": {20, 21, 22},
        "kernel": {1, 2, 3},
        "square": {True, False},
        "bias": {True},
    }


def test_depths_of_a_table_are_dealt_in_turn():
    networks = generate(sampled("Linear", 30, depth={"2": 7, "4": 2, "5": 1}, features=[10, 60]))
    depths = [computation_layers(one) for one in networks]
    assert Counter(depths) == {2: 21, 4: 6, 5: 3}
    for number in range(1, 30):  # and so in the first few, which are what a limit takes
        taken = Counter(depths[:number])
        assert all(abs(taken[depth] - number * share / 10) < 1 for depth, share in ((2, 7), (4, 2), (5, 1)))
    assert [computation_layers(one) for one in generate(sampled("Linear", 9, depth={"3": 1, "2": 1}))] == [3, 2] * 4 + [
        3
    ]


def test_a_kernel_that_leaves_no_room_may_span_the_image_and_kernels_of_1_follow():
    def sizes(**keys):
        networks = generate(sampled("Conv2d", 40, depth=4, kernel_size=[1, 28], channels=[2, 9], **keys), MNIST)
        return [[part.args["kernel_size"][0] for part in one.layers if part.op == "Conv2d"] for one in networks]

    assert all(max(one[:-1]) <= 25 and one[-1] >= 2 for one in sizes())
    free = sizes(leave_room=False)
    assert all(sum(one) - 3 == 28 for one in free)  # each takes away its size but one, until one value is left
    spanning = [one for one in free if one[0] > 25]
    assert spanning
    assert all(1 in one[1:] for one in spanning if one[0] > 26)


def test_blocks_with_the_same_planes_and_both_ends():
    keys = {"planes": "same", "stride": 1, "channels": [3, 9], "end": ["Conv2dThenLinear"]}
    networks = generate(sampled("ResNetStyle", 12, activation="ReLU", depth=[5, 7], **keys), MNIST)
    for one in networks:
        ops = [part.op for part in one.layers if part.op not in ("Reshape", "ReLU", "LogSoftmax")]
        assert ops == ["Conv2d", *["BasicBlock"] * (len(ops) - 3), "Conv2d", "Linear"]
        blocks = [part.args for part in one.layers if part.op == "BasicBlock"]
        assert {block["inplanes"] for block in blocks} == {block["planes"] for block in blocks}
    assert Counter(map(computation_layers, networks)).keys() == {5, 7}
    assert 'with end = "Conv2dThenLinear" the depth is odd, got 6' in refusal(
        sampled("ResNetStyle", 1, activation="ReLU", depth=6, **keys), MNIST
    )


@pytest.mark.parametrize(
    ("image", "wanted"), [(MNIST, (16, 49)), (DIGITS, (4, 16)), (CIFAR, (48, 64)), ((1, 7, 5), (1, 35))]
)
def test_a_cubic_input_of_a_conv1d(image, wanted):
    grid = cell("grid", computation=["Conv1d", "Conv2d"], kernel_size=[2], input_shape=["cubic"])
    for networks in (generate(grid, image), generate(sampled("Conv1d", 1, input_shape="cubic"), image)):
        assert tuple(networks[0].layers[0].args["shape"]) == wanted
    assert tuple(generate(grid, image)[1].layers[0].args["shape"]) == image


def test_a_fixed_cell_has_nothing_to_draw():
    one, other = generate(sampled("Linear", 2, depth=3, features=[7, 7], bias=0.5, activate=0))[:2]
    for net in (one, other):
        assert [part.args.get("out_features") for part in net.layers] == [None, 7, 7, 10, None]
    message = refusal(sampled("Linear", 3, depth=2, features=7, bias=1))
    assert message.startswith("cells[0] (Linear): can't be filled, 1 of 3 networks found")
    assert "repeats an earlier network" in message
    assert "ask for fewer networks or widen" in message


def test_factorisations_of_the_image():
    assert cubic_factorisation(28, 28) == (16, 7, 7)
    assert cubic_factorisation(8, 8) == (4, 4, 4)
    assert cubic_factorisation(32, 32) == (16, 8, 8)
    assert cubic_factorisation(7, 5) == (1, 7, 5)
    assert factorisations(8) == [(2, 2, 2)]
    assert sorted(factorisations(6)) == sorted({*itertools.permutations([1, 1, 6]), *itertools.permutations([1, 2, 3])})
    threes = [t for t in itertools.product(range(2, 65), repeat=3) if math.prod(t) == 64]
    assert sorted(factorisations(64)) == sorted(threes)
    given_shapes = {
        tuple(one.layers[0].args["shape"]) for one in generate(sampled("Conv3d", 3, factorisation=[2, 4, 8]))
    }
    assert given_shapes == {(1, 2, 4, 8)}
    drawn = {tuple(one.layers[0].args["shape"]) for one in generate(sampled("Conv3d", 60, factorisation="random"))}
    assert drawn <= {(1, *t) for t in threes}
    assert len(drawn) > 4
    assert "factorisation [2, 3, 4] does not make 8×8 = 64" in refusal(sampled("Conv3d", 1, factorisation=[2, 3, 4]))


@pytest.mark.parametrize("key", ["max_params", "min_params", "max_macs", "min_macs"])
def test_constraints_are_kept_and_one_that_cannot_be_is_named(key):
    free = generate(sampled("Conv2d", 40))
    values = sorted(getattr(spec.check(one.layers, DIGITS, 10), key[4:]) for one in free)
    median = values[20]
    kept = generate(sampled("Conv2d", 40, **{key: median}))
    for one in kept:
        value = getattr(spec.check(one.layers, DIGITS, 10), key[4:])
        assert value <= median if key.startswith("max") else value >= median
    impossible = 20 if key.startswith("max") else 10**12
    message = refusal(sampled("Conv2d", 2, **{key: impossible}))
    assert (
        f"cells[0] (Conv2d): can't be filled, 0 of 2 networks found; 2000 of the last 2000 draws: {key} = " in message
    )
    assert f"{key} = {impossible} is at fault, the nearest drawn has " in message
    assert "move the constraint or widen the cell's ranges" in message


def test_the_constraint_that_is_at_fault_is_the_one_that_most_draws_break():
    message = refusal(sampled("Linear", 1, depth=2, features=[10, 20], min_params=100, max_macs=640))
    assert "max_macs = 640 is at fault, the nearest drawn has 740 macs" in message  # (64 + 10) × 10


@pytest.mark.parametrize(
    ("computation", "depth", "activation", "words"),
    [
        ("Conv2dThenLinear", 1, "None", "depth 1 is too small, the least is 2"),
        ("Conv2dThenLinear", 1, "ReLU", "depth 1 is too small, the least is 2"),
        ("ResNetStyle", 1, "ReLU", "is too small, the least is "),
        ("Linear", 1, "ReLU", "ReLU has no place: depth 1 has no hidden layer"),
    ],
)
def test_a_depth_that_a_computation_cannot_have_is_refused(computation, depth, activation, words):
    assert words in refusal(sampled(computation, 1, depth=depth, activation=activation))
    assert words in refusal(sampled("Linear", 1) + sampled(computation, 1, depth=depth, activation=activation))


def test_depth_one_is_a_single_layer():
    (linear,) = generate(sampled("Linear", 1, depth=1, bias=1))
    assert [(one.op, dict(one.args)) for one in linear.layers] == [
        ("Reshape", {"shape": [64]}),
        ("Linear", {"in_features": 64, "out_features": 10, "bias": True}),
        ("LogSoftmax", {"dim": 1}),
    ]
    (conv,) = generate(sampled("Conv1d", 1, depth=1, bias=0), (3, 4, 5), 7)
    assert dict(conv.layers[1].args) == {"in_channels": 12, "out_channels": 7, "kernel_size": [5], "bias": False}


def test_a_drawn_network_takes_no_name_and_no_place_of_an_explicit_one():
    mine = BASIC.replace('"Basic"', '"Linear_2"')
    message = refusal(sampled("Linear", 1, depth=1, bias=1) + mine)
    assert "repeats an earlier network" in message
    assert [one.name for one in generate(sampled("Linear", 2, features=[5, 50]) + mine)] == [
        "Linear_2",
        "Linear_1",
        "Linear_3",
    ]


# Grids


def test_a_grid_is_every_combination():
    networks = generate(
        cell(
            "grid",
            computation=["Linear"],
            activation=["None", "ReLU"],
            depth=[2, 3],
            features=[5, 6, [7, 8]],
            bias=[True, False],
        )
    )
    assert len(networks) == 2 * 2 * 3 * 2
    seen = {
        (
            one.activation,
            tuple(part.args["out_features"] for part in one.layers if part.op == "Linear"),
            {part.args["bias"] for part in one.layers if part.op == "Linear"} == {True},
        )
        for one in networks
    }
    widths = [(5, 10), (5, 5, 10), (6, 10), (6, 6, 10), (7, 10), (7, 8, 10)]
    assert seen == set(itertools.product(["None", "ReLU"], widths, [True, False]))
    for one in networks:  # in a grid the activation follows every hidden layer
        assert len(activations(one)) == (computation_layers(one) - 1) * (one.activation != "None")
    assert {one.name for one in networks} == {f"Linear{a}_{i}" for a in ("", "ReLU") for i in range(1, 13)}


def test_a_grid_keeps_one_of_equals_and_leaves_out_what_does_not_fit():
    # A Linear network has no kernels and no channels: 1 of it; Conv2d: kernels 3 and 8 in the first of two layers of an
    # 8×8 image, and 9 does not fit: 2 channels × 2 kernels.
    networks = generate(cell("grid", computation=["Linear", "Conv2d"], kernel_size=[3, 8, 9], channels=[4, 5]))
    assert Counter(one.computation for one in networks) == {"Linear": 1, "Conv2d": 4}
    limited = generate(cell("grid", computation=["Linear"], depth=[2], features=[1, 2, 3], max_params=160))
    # (64 + 1) w + (w + 1) 10: 85, 160, 235
    assert [spec.check(one.layers, DIGITS, 10).params for one in limited] == [85, 160]
    limited = generate(cell("grid", computation=["Linear"], depth=[2], features=[1, 2, 3], min_params=160))
    assert [spec.check(one.layers, DIGITS, 10).params for one in limited] == [160, 235]


def test_a_grid_has_all_computations_and_ends():
    networks = generate(
        cell(
            "grid",
            computation=list(COMPUTATIONS),
            depth=[4],
            linear_depth=[2],
            channels=[2],
            planes=[3],
            kernel_size=[2],
            activation=["ReLU"],
            stride=[1, 2],
            end=["Conv2d", "Linear"],
        )
    )
    # Strides and ends are for ResNetStyle alone.
    assert Counter(one.computation for one in networks) == {**dict.fromkeys(COMPUTATIONS, 1), "ResNetStyle": 4}
    blocks = [dict(part.args) for one in networks for part in one.layers if part.op == "BasicBlock"]
    assert blocks == [{"inplanes": 2, "planes": 3, "stride": s, "activation": "ReLU"} for s in (1, 1, 2, 2)]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"depth": [3], "features": [[5]]}, "features = [5] has no value for hidden layer 2"),
        ({"computation": ["Conv2d"], "kernel_size": [9]}, "Conv2d with kernel_size [9, 9] does not fit into [1, 8, 8]"),
        ({"computation": ["Conv2dThenLinear"], "depth": [1]}, "depth 1 is too small, the least is 2"),
        (
            {"computation": ["Conv2dThenLinear"], "depth": [2], "linear_depth": [2]},
            "linear_depth 2 leaves no convolution",
        ),
        ({"max_params": 5}, "max_params = 5 is broken"),
        ({"computation": ["Conv3d"], "factorisation": [[2, 2, 2]]}, "factorisation [2, 2, 2] does not make 8×8 = 64"),
        ({"features": [2**39]}, "parameters, more than any machine can hold"),
    ],
)
def test_a_grid_without_any_network_says_why(keys, words):
    message = refusal(cell("grid", **{"computation": ["Linear"], **keys}))
    assert message.startswith("cells[0]: none of 1 combinations can be used; 1 times: ")
    assert words in message


def test_a_grid_of_repeats_says_so():
    grid = cell("grid", computation=["Linear"], channels=[1, 2])
    assert "none of 2 combinations can be used; 2 times: all repeat earlier networks" in refusal(grid + grid)


# Explicit networks


def test_placeholders_of_an_explicit_network():
    text = """
[[cells]]
kind = "explicit"
name = "Mine"
layers = [
    { op = "Reshape", shape = "input" },
    { op = "Flatten" },
    { op = "Linear", in_features = "pixels", out_features = 5 },
    { op = "Linear", in_features = 5, out_features = "classes", bias = false },
    { op = "LogSoftmax", dim = -1 },
]
"""
    (one,) = generate(text, (3, 4, 5), 7)
    assert (one.name, one.family) == ("Mine", ("Linear", "None"))
    assert [dict(part.args) for part in one.layers] == [
        {"shape": [3, 4, 5]},
        {},
        {"in_features": 60, "out_features": 5},
        {"in_features": 5, "out_features": 7, "bias": False},
        {"dim": -1},
    ]
    assert tuple(build(one.layers)(torch.zeros(2, 3, 4, 5)).shape) == (2, 7)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ("[]", "a network needs at least one layer"),
        ("[{ shape = [64] }]", "a layer wants an 'op' with the name of an operation, got {'shape': [64]}"),
        ("[{ op = ['ReLU'] }]", "a layer wants an 'op' with the name of an operation, got {'op': ['ReLU']}"),
        ("[{ op = { a = 1 } }]", "a layer wants an 'op' with the name of an operation, got {'op': {'a': 1}}"),
        ("[{ op = 'Flaten' }]", "layer 0: unknown operation 'Flaten' (did you mean 'Flatten'?)"),
        ("[{ op = 'Flatten' }]", "the last layer gives [64], wanted [10]"),
        (
            "[{ op = 'Flatten' }, { op = 'Linear', in_features = 9, out_features = 'classes' }]",
            "layer 1: Linear wants in_features = 9, got an input of shape [64]",
        ),
        (
            "[{ op = 'Flatten' }, { op = 'Linear', in_features = 'pixel', out_features = 'classes' }]",
            "layer 1: Linear.in_features wants a positive integer, got 'pixel'",
        ),
        (
            "[{ op = 'Flatten' }, { op = 'Linear', in_features = 'pixels', out_features = 'classes' }]",
            "layer 1: the last layer must be LogSoftmax or BinaryLogSigmoid, got Linear",
        ),
        ("[{ op = 'Reshape', shape = 1979-05-27 }]", "layer 0: Reshape.shape wants a list of integers"),
    ],
)
def test_an_explicit_network_that_is_wrong_is_refused_with_its_name(layers, words):
    message = refusal(f"[[cells]]\nkind = 'explicit'\nname = 'Mine'\nlayers = {layers}\n")
    assert message.startswith("cells[0] (Mine): ")
    assert words in message


def test_two_explicit_networks_need_two_names_and_two_contents():
    assert refusal(BASIC + BASIC) == "cells[1]: the name 'Basic' is taken, give each network a name of its own"
    again = BASIC.replace("Basic", "Simple").replace('"LogSoftmax"', '"LogSoftmax", dim = 1')
    assert refusal(BASIC + again) == "cells[1] (Simple): the same network as Basic, take one out"


# Sharing out


def family_of(name):
    stem, _, number = name.rpartition("_")
    return stem if stem and number.isdigit() else name


def by_family(networks):
    out = defaultdict(list)
    for one in networks:
        out[family_of(one.name)].append(one.name)
    return out


@pytest.mark.parametrize("limit", [1, 2, 36, 37, 38, 100, 200, 500, 999, 1000, 1001, 2000])
def test_a_share_of_the_study(mnist, limit):
    part = share(mnist, limit)
    assert len(part) == min(limit, 1001)
    assert part[0].name == "Basic"
    whole, taken = by_family(mnist), by_family(part)
    for family, names in taken.items():
        assert names == whole[family][: len(names)]
    assert [one for one in mnist if one in part] == part
    if limit >= len(whole):
        assert taken.keys() == whole.keys()
    if limit >= 200:  # every family's quota is above 1 from 1001 / 14 on
        for family, names in whole.items():
            assert abs(len(taken[family]) - len(names) * min(limit, 1001) / 1001) < 1


def test_no_limit_is_all(mnist):
    assert share(mnist, None) == mnist
    assert catalogue.generate(template.load("smoke"), DIGITS, 10, limit=5)[0].name == "Basic"
    assert len(catalogue.generate(template.load("smoke"), DIGITS, 10, limit=5)) == 5


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.data())
def test_any_share_has_its_number_its_proportions_and_every_family(counts, data):
    networks = [NetworkSpec(f"F{f}_{i}", "Linear", "None", ()) for f, n in enumerate(counts) for i in range(1, n + 1)]
    named = data.draw(st.integers(0, 2))
    networks += [NetworkSpec(f"Own{i}", "Linear", "None", ()) for i in range(named)]
    limit = data.draw(st.integers(1, len(networks)))
    part = share(networks, limit)
    assert len(part) == limit
    whole, taken = by_family(networks), by_family(part)
    assert all(names == whole[family][: len(names)] for family, names in taken.items())
    assert sum(name.startswith("Own") for name in taken) == min(limit, named)
    quotas = {family: len(names) * limit / len(networks) for family, names in whole.items()}
    if limit >= len(whole):
        assert taken.keys() == whole.keys()
    if min(quotas.values()) >= 1:
        assert all(abs(len(taken[family]) - quota) < 1 for family, quota in quotas.items())


# Whatever the images and classes are


def all_computations(**keys):
    small = {"depth": [2, 6], "channels": [1, 3], "features": [1, 20], "planes": [1, 3], "kernel_size": [1, 7]}
    return "".join(sampled(name, {"None": 1, "ReLU": 1}, **small, **keys) for name in COMPUTATIONS)


@settings(max_examples=25)
@given(
    st.sampled_from([1, 3]),
    st.integers(4, 40),
    st.integers(4, 40),
    st.integers(2, 1000),
    st.integers(0, 10**6),
    st.booleans(),
)
def test_networks_for_any_images_and_classes_are_valid_and_run(channels, height, width, classes, seed, cubic):
    image = (channels, height, width)
    text = all_computations() if cubic else all_computations(factorisation="random", square=0.0)
    networks = generate(text, image, classes, seed)
    assert Counter(one.computation for one in networks) == dict.fromkeys(COMPUTATIONS, 2)
    assert len({one.hash for one in networks}) == len(networks)
    for one in networks:
        spec.check(one.layers, image, classes)
        scores = build(one.layers).eval()(torch.randn(2, *image))
        assert scores.shape == (2, classes)
        torch.testing.assert_close(scores.exp().sum(1), torch.ones(2))


SMALL = st.integers(1, 6) | st.lists(st.integers(1, 9), min_size=2, max_size=2).map(sorted)


@given(st.data())
def test_a_cell_is_filled_or_refused_in_words(data):
    keys = {
        **dict.fromkeys(("depth", "linear_depth", "features", "channels", "planes", "kernel_size", "stride"), SMALL),
        **dict.fromkeys(("square", "bias", "activate"), st.floats(0, 1)),
        "factorisation": st.sampled_from(["cubic", "random", [2, 2, 5], [1, 4, 5]]),
        "max_params": st.integers(1, 3000),
    }
    computation = data.draw(st.sampled_from(sorted(COMPUTATIONS)))
    args = data.draw(st.fixed_dictionaries({}, optional=keys))
    text = sampled(computation, 2, activation=data.draw(st.sampled_from(["None", "Tanh"])), **args)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "MAX_DRAWS", 20)
        try:
            networks = generate(text, (1, 4, 5), 3)
        except CatalogueError:
            return
    assert len(networks) == 2
    for one in networks:
        build(one.layers).eval()(torch.zeros(1, 1, 4, 5))
        low, high = args.get("depth", 2), args.get("depth", 6)
        low, high = (low if isinstance(low, int) else low[0]), (high if isinstance(high, int) else high[1])
        assert low <= computation_layers(one) <= high or computation == "ResNetStyle"


def test_every_activation_can_be_drawn_and_trained_for_any_computation():
    for name in COMPUTATIONS:
        count = dict.fromkeys(ACTIVATIONS, 1)
        networks = generate(
            sampled(name, count, depth=[4, 5], channels=[2, 3], features=[5, 9], planes=[2, 3], activate=1)
        )
        assert [one.activation for one in networks] == list(ACTIVATIONS)
        for one in networks:
            model = build(one.layers)
            nn.functional.nll_loss(model(torch.randn(4, *DIGITS)), torch.arange(4)).backward()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters()), one.name
