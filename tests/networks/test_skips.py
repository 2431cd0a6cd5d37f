from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from netpick.core.errors import SpecError
from netpick.networks.modules.build import build
from netpick.networks.modules.measure import measure
from netpick.networks.paper import spec
from netpick.networks.paper.spec import LayerSpec, NetworkSpec, layer
from netpick.networks.paper.written import layer_table

IMAGE = (2, 5, 4)


def conv(i, o, k=3, p=1):
    return layer("Conv2d", in_channels=i, out_channels=o, kernel_size=k, padding=p, bias=False)


def join(op, source):
    return LayerSpec(op, {"from": source})


END = (layer("Flatten"), layer("Linear", in_features=100, out_features=3, bias=False), layer("LogSoftmax"))
NET = (
    conv(2, 2),  # 0
    layer("ReLU"),  # 1
    join("Add", -1),  # 2: + the image
    conv(2, 3),  # 3
    join("Concat", 0),  # 4: 5 channels
    join("Concat", 2),  # 5: 7 channels
    layer("Conv2d", in_channels=7, out_channels=5, kernel_size=1, bias=False),  # 6
    join("Add", 4),  # 7
    *END,
)


def by_hand(model, x):
    """The same in plain functions."""
    first = model[0](x)
    second = first.clamp(min=0) + x
    both = torch.cat([model[3](second), first], 1)
    last = model[6](torch.cat([both, second], 1)) + both
    return nn.functional.log_softmax(last.flatten(1) @ model[9].weight.T, 1)


@pytest.mark.parametrize("tuned", [False, True])
def test_skips_are_what_one_would_write_by_hand(tuned):
    torch.manual_seed(0)
    model = build(NET, tuned=tuned)
    x = torch.randn(6, *IMAGE)
    wanted = by_hand(model, x)
    torch.testing.assert_close(model(x), wanted)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(model(x)[:, 0].sum(), parameters)
    theirs = torch.autograd.grad(wanted[:, 0].sum(), parameters)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_parameters_keep_their_names():
    assert list(build(NET).state_dict()) == ["0.weight", "3.weight", "6.weight", "9.weight"]


def test_skips_on_paper():
    shapes = spec.shapes(NET, IMAGE)
    assert shapes == [(2, 5, 4)] * 3 + [(3, 5, 4), (5, 5, 4), (7, 5, 4), (5, 5, 4), (5, 5, 4), (100,), (3,), (3,)]
    size = spec.check(NET, IMAGE, 3)
    assert size.params == 9 * 2 * 2 + 9 * 2 * 3 + 7 * 5 + 300
    assert size.macs == 20 * (36 + 54 + 35) + 300


def test_skips_measured():
    found = measure(NET, IMAGE)
    size = spec.sizes(NET, IMAGE)
    assert (found.params, found.macs, found.depth) == (size.params, size.macs, 4)
    # What a skip goes back to is held already: only what it makes is new. Flatten makes nothing new.
    assert found.memory == 20 * (2 + 2 + 2 + 2 + 3 + 5 + 7 + 5 + 5) + 3 + 3
    # conv, relu, add; conv, cat, cat; conv, add; view; t, mm; log_softmax
    assert found.ops == 3 + 3 + 2 + 1 + 2 + 1
    assert found.thop_macs == size.macs


def test_the_card_of_a_network_with_skips():
    rows = layer_table(NET, IMAGE)["layer"].tolist()
    assert rows[1] == "1: ReLU()"
    assert rows[2] == "2: Add(from=-1)  # + the input"
    assert rows[4] == "4: Concat(from=0)  # with layer 0: Conv2d"
    assert rows[7] == "7: Add(from=4)  # + layer 4: Concat"
    assert layer_table(NET[:2], IMAGE)["layer"].tolist()[1] == "ReLU()"


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([join("Add", -1)], "layer 0: Add wants an earlier layer to go back to, got the first layer"),
        ([conv(2, 2), join("Add", 0)], "layer 1: Add wants from = -1 (-1 is the network's input), a layer before"),
        ([conv(2, 2), layer("ReLU"), join("Add", 1)], "layer 2: Add wants from = -1 to 0 "),
        ([conv(2, 2), layer("ReLU"), join("Add", 3), layer("ReLU")], "got 3"),
        ([conv(2, 3), join("Add", -1)], "layer 1: Add wants two equal shapes, got [3, 5, 4], and [2, 5, 4] from the"),
        ([conv(2, 3), conv(3, 2), join("Add", 0)], "got [2, 5, 4], and [3, 5, 4] from layer 0"),
        ([conv(2, 3, 2, 0), join("Concat", -1)], "differ in the first size alone, got [3, 4, 3], and [2, 5, 4]"),
        ([conv(2, 3), layer("Flatten"), join("Concat", 0)], "got [60], and [3, 5, 4] from layer 0"),
        ([conv(2, 3), join("Add", "0")], "layer 1: Add.from wants the number of an earlier layer"),
        ([conv(2, 3), LayerSpec("Add", {"form": 0})], "Add has no argument 'form' (did you mean 'from'?)"),
    ],
)
def test_skips_that_cannot_be_are_refused(layers, words):
    with pytest.raises(SpecError) as caught:
        spec.check([*layers, *END], IMAGE, 3)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_skips_survive_json_and_count_in_the_hash():
    one = NetworkSpec("a", "Conv2d", "ReLU", NET)
    again = NetworkSpec.from_dict({**one.to_dict(), "layers": one.layers_json()})
    assert again == one
    assert again.hash == one.hash
    other = NetworkSpec("a", "Conv2d", "ReLU", (*NET[:5], join("Concat", 1), *NET[6:]))
    assert spec.shapes(other.layers, IMAGE) == spec.shapes(NET, IMAGE)
    assert other.hash != one.hash


@given(st.lists(st.tuples(st.sampled_from(["Linear", "Tanh", "Add", "Concat"]), st.integers(-1, 9)), max_size=9))
def test_any_row_of_layers_and_skips_is_the_same_as_a_list_of_outputs(choices):
    """Those that paper passes run, and give what a loop gives that keeps everything."""
    layers, shape = [], [(4,)]
    for op, number in choices:
        size = shape[-1][0]
        if op == "Linear":
            layers.append(layer("Linear", in_features=size, out_features=4 + number % 2))
        else:
            layers.append(layer("Tanh") if op == "Tanh" else join(op, number))
        try:
            shape = [(4,), *spec.shapes(layers, (4,))]
        except SpecError:
            layers.pop()
    model, x = build(layers), torch.randn(3, 4)
    outputs = [x]
    for one, module in zip(layers, model, strict=True):
        more = {"Add": lambda a, b: a + b, "Concat": lambda a, b: torch.cat([a, b], 1)}.get(one.op)
        outputs.append(more(outputs[-1], outputs[one.args["from"] + 1]) if more else module(outputs[-1]))
    assert torch.equal(model(x), outputs[-1])
    assert [tuple(out.shape[1:]) for out in outputs] == shape
