"""Networks from files that may be anyone's: what is taken, what is refused, and that nothing else can happen."""

from __future__ import annotations

import json
import os
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpick import Run
from netpick.core.errors import CatalogueError, NetpickError, SpecError
from netpick.core.names import NAME, is_name
from netpick.exam.exports import export_networks
from netpick.networks.catalogue import catalogue, template
from netpick.networks.catalogue.import_file import judge, parse, read, to_lines
from netpick.networks.paper.operations import OPERATIONS
from netpick.networks.paper.whole_networks import WHOLE
from netpick.sessions import Options, train_run
from netpick.sessions.generate import generate_run

IMAGE = (1, 8, 8)
LINEAR = [{"op": "Flatten"}, {"op": "Linear", "in_features": 64, "out_features": 10}, {"op": "LogSoftmax"}]
TINY = {"name": "Tiny", "layers": LINEAR}


def wide(features):
    first, last = ({"op": "Linear", "in_features": i, "out_features": o} for i, o in ((64, features), (features, 10)))
    return [{"op": "Flatten"}, first, last, {"op": "LogSoftmax"}]


def one_line(error):
    assert len(str(error).splitlines()) == 1


def refused(value, **options):
    """The message for a value, or for a text, that is not taken."""
    text = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(SpecError) as caught:
        parse(text, "nets.json", IMAGE, 10, **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("nets.json:")
    return str(caught.value)


def test_what_a_run_writes_comes_back_with_the_same_hashes(tmp_path):
    made = generate_run("smoke", tmp_path / "one", "digits", limit=20)
    assert export_networks(Run(tmp_path / "one"), tmp_path / "nets.jsonl") == 20
    again = generate_run(None, tmp_path / "two", "digits", networks_file=tmp_path / "nets.jsonl")
    assert again.networks == made.networks
    one, two = (pd.read_parquet(tmp_path / run / "networks.parquet") for run in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)
    assert export_networks(Run(tmp_path / "two"), tmp_path / "basic.jsonl", ["Basic"]) == 1
    assert read(tmp_path / "basic.jsonl", IMAGE, 10).networks == made.networks[:1]
    with pytest.raises(NetpickError, match="is there already"):
        export_networks(Run(tmp_path / "two"), tmp_path / "basic.jsonl")


def test_families_are_worked_out_as_the_generator_says_them():
    networks = catalogue.generate(template.load("smoke"), IMAGE, 10)
    bare = [{"name": spec.name, "layers": [one.to_dict() for one in spec.layers]} for spec in networks]
    assert parse(json.dumps(bare), "x", IMAGE, 10).networks == networks


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(TINY),
        json.dumps(TINY, indent=2),
        json.dumps([TINY]),
        json.dumps([TINY], indent=2),
        f"\n{json.dumps(TINY)}\n\n",
    ],
)
def test_a_single_network_may_be_written_in_many_ways(text):
    (spec,) = parse(text, "x", IMAGE, 10).networks
    assert (spec.name, *spec.family) == ("Tiny", "Linear", "None")


def test_lines_and_words_of_the_family():
    second = {"name": "W", "layers": wide(5), "computation": "Mine", "activation": "ReLU"}
    text = f"{json.dumps(TINY)}\r\n\r\n{json.dumps(second)}"
    assert [spec.family for spec in parse(text, "x", IMAGE, 10).networks] == [("Linear", "None"), ("Mine", "ReLU")]


def test_whole_networks_are_completed():
    entries = [
        {"name": "A", "layers": [{"op": "torchvision:resnet18"}]},
        {"name": "B", "layers": [{"op": "baseline:nearest_mean", "metric": "L1"}]},
    ]
    a, b = parse(json.dumps(entries), "x", IMAGE, 10).networks
    assert [one.op for one in a.layers] == ["torchvision:resnet18", "LogSoftmax"]
    assert b.layers[0].resolved == {"metric": "L1", "num_classes": 10}


def test_the_same_layers_are_kept_once_and_named():
    taken = parse(json.dumps([TINY, {"name": "Twin", "layers": LINEAR}]), "x", IMAGE, 10)
    assert [spec.name for spec in taken.networks] == ["Tiny"]
    assert taken.notes == ["left out, since earlier networks have the same layers: Twin (as Tiny)"]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([{"op": "Linaer"}], "network 1 (Tiny): layer 0: unknown operation 'Linaer' (did you mean 'Linear'?)"),
        ([{"op": "module:os:system"}], "unknown operation 'module:os:system'"),
        ([{"op": "torchvision:list_models"}], "unknown operation 'torchvision:list_models'"),
        ([*LINEAR[:1], {"op": "Linear", "in_features": 60, "out_features": 10}],
         "layer 1: Linear wants in_features = 60, got an input of shape [64]"),
        ([{"op": "Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 9}],
         "layer 0: Conv2d with kernel_size [9, 9] does not fit into [1, 8, 8]"),
        ([LINEAR[0], {"op": "Linear", "in_features": 64, "out_features": 9}, LINEAR[2]], "gives [9], wanted [10]"),
        (LINEAR[:2], "layer 1: the last layer must be LogSoftmax or BinaryLogSigmoid, got Linear"),
        (wide(10**12 // 75), "has 999,999,999,985 parameters, at most 100,000,000"),
        (wide(10**15), "wants a positive integer"),
        (wide(True), "wants a positive integer, got True"),
        (wide(2.0), "wants a positive integer, got 2.0"),
        (wide("__import__('os')"), "wants a positive integer, got \"__import__"),
        ([], "layers: wants a list of layers, got []"),
        ({"op": "Linear"}, "layers: wants a list of layers"),
        ([["Linear"]], "layer 0: wants an object with an 'op'"),
        ([{"op": ["Linear"]}], "layer 0: wants an object with an 'op'"),
        ([{"op": "ReLU"}] * 1001, "layers: got 1001, at most 1000"),
        ([{"op": "Flatten", "inplace": True}, *LINEAR], "layer 0: Flatten has no argument 'inplace'"),
    ],
)  # fmt: skip
def test_layers_that_are_refused(layers, said):
    message = refused({"name": "Tiny", "layers": layers})
    assert said in message
    assert message.startswith("nets.json: network 1 (Tiny): ")


def test_a_layer_that_holds_too_much_is_refused_before_anything_is_made():
    layers = [{"op": "Conv2d", "in_channels": 1, "out_channels": 2_000_000, "kernel_size": 1}, *LINEAR]
    assert "layer 0: holds 128,000,064 elements for one input" in refused(
        {"name": "Tiny", "layers": [layers[0], {"op": "AdaptiveAvgPool2d", "output_size": 1}, {"op": "Flatten"},
         {"op": "Linear", "in_features": 2_000_000, "out_features": 10}, {"op": "LogSoftmax"}]}
    )  # fmt: skip


def test_the_limit_on_parameters_is_the_users():
    assert "--max-params" in refused([{"name": "W", "layers": wide(20)}], max_params=1000)
    (spec,) = parse(json.dumps({"name": "W", "layers": wide(2_000_000)}), "x", IMAGE, 10, 10**9).networks
    assert spec.name == "W"
    with pytest.raises(SpecError, match=r"network A: has 2,000 parameters, at most 1,000"):
        judge("A", 2000, 1, 1000)


@pytest.mark.parametrize(
    "name", ["../../x", "a/b", "..", ".", "", "a b", "a\\b", "a\0b", "Ä", "x" * 101, "a\n", None, 3, ["a"], "~", "C:x"]
)
def test_names_that_are_refused(name):
    assert "name: got" in refused({"name": name, "layers": LINEAR})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[]", "has no network in it"),
        ("3", "wants an object with name and layers, got 3"),
        ('"Tiny"', "wants an object"),
        ("null", "wants an object"),
        ('{"name": "A", "name": "B"}', "the key 'name' is given twice"),
        ('{"name": NaN}', "NaN is no number"),
        ('{"name": 1e999}', "name: got inf"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"name": ' + "9" * 5000 + "}", "not valid"),
        ('{"name": "A", "weights": "x.pt"}', "unknown key 'weights'"),
        ('{"name": "A", "layer": []}', "did you mean 'layers'?"),
        (json.dumps(TINY) + "\n{", "line 2: not valid JSON"),
        (json.dumps([TINY, TINY]), "network 2: the name 'Tiny' is taken"),
        (json.dumps({**TINY, "computation": "../x"}), "computation: got '../x'"),
        (json.dumps({**TINY, "activation": "Relu"}), "did you mean 'ReLU'?"),
        (json.dumps({**TINY, "activation": 3}), "activation: got 3"),
    ],
)
def test_files_that_are_refused(text, said):
    assert said in refused(text)


def test_files_that_can_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "latin").write_bytes(b"\xff\xfe\x00")
    for path, said in ((tmp_path / "none", "No such file"), (tmp_path, "directory"), (tmp_path / "latin", "UTF-8")):
        with pytest.raises(SpecError, match=said):
            read(path, IMAGE, 10)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpecError, match="not a regular file but a pipe: write what it gives into a file first"):
        read(tmp_path / "pipe", IMAGE, 10)
    monkeypatch.setattr("netpick.networks.catalogue.import_file.MAX_BYTES", 10)
    (tmp_path / "long").write_text(" " * 11)
    with pytest.raises(SpecError, match="larger than"):
        read(tmp_path / "long", IMAGE, 10)
    monkeypatch.setattr("netpick.networks.catalogue.sweeps.MOST", 1)
    assert "has 2 networks, at most 1" in refused([TINY, TINY])
    monkeypatch.setattr("netpick.networks.catalogue.import_file.MAX_BRACKETS", 7)
    assert "more than 7 objects and lists" in refused([TINY, TINY])


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(TINY).encode())
    assert len(read(tmp_path / "bom.json", IMAGE, 10).networks) == 1


def test_a_file_beside_a_template(tmp_path):
    (tmp_path / "nets.json").write_text(json.dumps([{"name": "Mine", "layers": wide(7)}]))
    made = generate_run("smoke", tmp_path / "run", "digits", limit=12, networks_file=tmp_path / "nets.json")
    assert {"Mine", "Basic"} <= {spec.name for spec in made.networks}
    assert len(made.networks) == 12
    (tmp_path / "nets.json").write_text(json.dumps([{"name": "Basic", "layers": wide(7)}]))
    with pytest.raises(CatalogueError, match="name 'Basic' is taken"):
        generate_run("smoke", tmp_path / "other", "digits", networks_file=tmp_path / "nets.json")


def test_what_is_imported_is_trained_and_asked(tmp_path):
    (tmp_path / "nets.jsonl").write_text("\n".join(json.dumps({"name": f"W{n}", "layers": wide(n)}) for n in (3, 30)))
    overrides = ["recipe.epochs=2", "recipe.train_samples=200"]
    generate_run(None, tmp_path / "run", "digits", 5, None, overrides, networks_file=tmp_path / "nets.jsonl")
    train_run(tmp_path / "run", Options(device="cpu", workers=1))
    run = Run(tmp_path / "run")
    assert run.manifest["seed"] == 5
    assert run.trainings["status"].tolist() == ["done", "done"]
    assert len(run.ask("notes", everyone=True).table)


def test_a_run_needs_networks_from_somewhere(tmp_path):
    with pytest.raises(NetpickError, match="TEMPLATE"):
        generate_run(None, tmp_path / "run")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
OPS = st.sampled_from(sorted({**OPERATIONS, **WHOLE})) | st.text(max_size=6)
ARGUMENTS = sorted({name for row in {**OPERATIONS, **WHOLE}.values() for name in [*row.arguments, *row.options]})
NUMBERS = st.integers(-2, 70) | st.lists(st.integers(-1, 9), max_size=4) | ANYTHING
LAYERS = st.builds(
    lambda op, args: {**args, "op": op}, OPS, st.dictionaries(st.sampled_from(ARGUMENTS), NUMBERS, max_size=4)
)
ENTRIES = st.fixed_dictionaries(
    {"name": st.just("A") | ANYTHING, "layers": st.lists(LAYERS | st.sampled_from(LINEAR) | ANYTHING, max_size=5)},
    optional={"computation": ANYTHING, "activation": ANYTHING},
)


@given(ANYTHING | ENTRIES | st.lists(ENTRIES, max_size=3))
def test_any_value_makes_networks_or_one_line(value):
    try:
        taken = parse(json.dumps(value), "x", IMAGE, 10)
    except NetpickError as error:
        one_line(error)
        return
    for spec in taken.networks:
        assert NAME.fullmatch(spec.name)
        assert parse(to_lines([spec]), "x", IMAGE, 10).networks == [spec]


@given(st.text(max_size=40))
def test_any_text_makes_networks_or_one_line(text):
    try:
        parse(text, "x", IMAGE, 10)
    except NetpickError as error:
        one_line(error)


@given(st.text(max_size=5) | st.from_regex(NAME, fullmatch=True))
def test_a_name_is_a_word_that_stays_in_its_folder(name):
    assert is_name(name) == (re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name) is not None and name not in {".", ".."})
