"""Networks of the user's own Python: found, tried, trained, and every way in which they can go wrong in one line."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
import textwrap
import tomllib
import uuid

import pyarrow.parquet as pq
import pytest
import tomli_w
import torch

from netpick import Run
from netpick.cli.app import main
from netpick.core.errors import CatalogueError, NetpickError, RunError, SpecError
from netpick.data import DataRequest, load
from netpick.exam.exports import export
from netpick.exam.network_card import card
from netpick.networks.modules.build import build
from netpick.networks.modules.measure import measure
from netpick.networks.modules.user_networks import read
from netpick.networks.paper.inferred import squashed
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.sessions import Listener, Options, train_run
from netpick.sessions.generate import generate_run

GOOD = """
import torch
from torch import nn

class Flat(nn.Module):
    def __init__(self, hidden=12):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
    def forward(self, x):
        return self.layers(x)

class Image(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 3, 8), nn.Linear(3, 10)
    def forward(self, x):
        return self.last(self.conv(x).flatten(1)).log_softmax(1)

class Rows(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.last = nn.LSTM(8, 5, batch_first=True), nn.Linear(5, 10)
    def forward(self, x):
        return self.last(self.rnn(x)[0][:, -1])

class Sure(Flat):
    def forward(self, x):
        return super().forward(x).softmax(1)

class Needy(nn.Module):
    def __init__(self, size):
        super().__init__()

SEVERAL = [Flat, Image, lambda: Flat(3)]

def made():
    return [Flat(2), Flat(4)]

def one():
    return Flat(5)

NUMBER = 3
INSTANCE = Flat()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write the source of a module under a name of its own into the folder where one stands; return the name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write(source):
        name = f"nets_{uuid.uuid4().hex[:8]}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        return name

    return write


def take(target):
    return read(target, (1, 8, 8), 10)


def test_every_class_that_wants_no_arguments(module):
    name = module(GOOD)
    taken = take(name)
    layers = {spec.name: [one.op for one in spec.layers] for spec in taken.networks}
    assert layers == {
        "Flat": ["Reshape", "Module", "LogSoftmax"],
        "Image": ["Module"],
        "Rows": ["Reshape", "Module", "LogSoftmax"],
        "Sure": ["Reshape", "Module", "LogSoftmax"],
    }
    shapes = {spec.name: spec.layers[0].args.get("shape") for spec in taken.networks}
    assert shapes == {"Flat": [64], "Image": None, "Rows": [8, 8], "Sure": [64]}
    gives = {s.name: next(one.args["gives"] for one in s.layers if one.op == "Module") for s in taken.networks}
    assert gives == {"Flat": "logits", "Image": "log_probabilities", "Rows": "logits", "Sure": "probabilities"}
    families = [("Linear", "ReLU"), ("Conv2dThenLinear", "None"), ("LSTM", "None"), ("Linear", "ReLU")]
    assert [spec.family for spec in taken.networks] == families
    assert "left out: Needy (wants size)" in taken.notes
    assert squashed(taken.networks) == ["Sure"]
    assert "Rows: takes (N, 8, 8), gives logits" in taken.notes


MADE_OF = """
import torch
from torch import nn
from torch.nn import functional as F

class BasicBlock(nn.Sequential):
    def __init__(self, size=3):
        super().__init__(nn.Conv2d(size, size, 3, padding=1), nn.ReLU(), nn.Conv2d(size, size, 3, padding=1))
    def forward(self, x):
        return (x + super().forward(x)).relu()

class Functions(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.weight = nn.Conv2d(1, 3, 3), nn.Parameter(torch.randn(108, 10))
    def forward(self, x):
        return F.selu(self.conv(x)).view(len(x), -1) @ self.weight

class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv1d(8, 4, 3, bias=False), nn.Conv1d(4, 10, 6, bias=False)
        self.act = nn.ReLU6()  # a hardtanh inside
    def forward(self, x):
        return self.b(self.act(self.a(x.view(-1, 8, 8)))).view(-1, 10).log_softmax(1)

class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 3, 3), BasicBlock(), nn.Flatten(), nn.Linear(108, 10))
    def forward(self, x):
        return self.layers(x)

class Mixture(nn.Module):
    def __init__(self):
        super().__init__()
        norm = nn.LayerNorm(9)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 9), norm, nn.Tanh(), nn.PReLU(), nn.Linear(9, 10))
    def forward(self, x):
        return self.layers(x)

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.last = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 10)
    def forward(self, x):
        x = x.reshape(-1, 8, 8)
        return self.last(self.attention(x, x, x)[0].mean(1))

class Nothing(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :10]
"""


def test_a_module_is_of_the_family_of_what_it_is_made_of(module):
    name = module(MADE_OF)
    own = [take(f"{name}:{kind}").networks[0] for kind in re.findall(r"class (\w+)\(nn.Module", MADE_OF)]
    assert {spec.name: spec.family for spec in own} == {
        "Functions": ("Conv2dThenLinear", "SELU"),
        "Convolutions": ("Conv1d", "ReLU6"),
        "Residual": ("ResNetStyle", "ReLU"),
        "Mixture": ("Linear", "Mixed"),
        "Attention": ("MultiheadAttention", "None"),
        "Nothing": ("Module", "None"),
    }


def test_views_of_a_module_count_as_those_of_a_network_file(module, tmp_path):
    (own,) = take(f"{module(MADE_OF)}:Convolutions").networks
    written = [
        layer("Reshape", shape=[8, 8]), layer("Conv1d", in_channels=8, out_channels=4, kernel_size=3, bias=False),
        layer("ReLU6"), layer("Conv1d", in_channels=4, out_channels=10, kernel_size=6, bias=False),
        layer("Reshape", shape=[10]), layer("LogSoftmax", dim=1),
    ]  # fmt: skip
    here, there = measure(own.layers, (1, 8, 8)), measure(written, (1, 8, 8))
    assert (here.params, here.macs, here.memory) == (there.params, there.macs, there.memory - 10)
    # Of the module's own log_softmax, a function, nothing is known. By hand: input, view, convolution, activation, ...
    assert here.memory == 64 + 64 + 24 + 24 + 10 + 10


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("Flat", ["Flat"]),
        ("SEVERAL", ["Flat", "Image", "Module_3"]),
        ("made", ["Flat_1", "Flat_2"]),
        ("one", ["one"]),
    ],
)
def test_what_a_name_stands_for(module, what, names):
    networks = take(f"{module(GOOD)}:{what}").networks
    assert [spec.name for spec in networks] == names
    assert len({spec.hash for spec in networks}) == len(networks)


def test_probabilities_are_warned_about_and_refused_on_request(module, tmp_path):
    name = module(GOOD)
    made = generate_run(None, tmp_path / "run", "digits", modules=[name])
    assert len(made.warnings) == 1
    assert "Sure" in made.warnings[0]
    with pytest.raises(NetpickError, match=r"Sure.*--strict"):
        generate_run(None, tmp_path / "other", "digits", modules=[name], strict=True)
    assert not (tmp_path / "other").exists()


def test_the_same_seed_makes_the_same_module_and_the_place_is_in_no_hash(module, tmp_path):
    (spec,) = take(f"{module(GOOD)}:Flat").networks

    def weights(seed):
        torch.manual_seed(seed)
        return build(spec.layers).state_dict()["1.layers.0.weight"]

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    text = spec.layers_json()
    elsewhere = type(spec).from_dict({**spec.to_dict(), "layers": text.replace(str(tmp_path), "/elsewhere")})
    assert elsewhere.layers != spec.layers
    assert elsewhere.hash == spec.hash


def test_looking_at_modules_leaves_the_random_numbers_as_they_were(module):
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    take(module(GOOD))
    assert torch.equal(torch.rand(3), wanted)


def test_modules_are_measured_trained_asked_shown_and_exported(module, tmp_path):
    name = module(GOOD)
    overrides = ["recipe.epochs=1", "recipe.train_samples=100"]
    made = generate_run(None, tmp_path / "run", "digits", overrides=overrides, modules=[f"{name}:SEVERAL"])
    assert len(made.networks) == 3
    train_run(tmp_path / "run", Options(device="cpu", workers=1, modules=[name]))
    run = Run(tmp_path / "run")
    assert run.trainings["status"].tolist() == ["done"] * 3, run.trainings["error"].tolist()
    networks = run.networks.set_index("name")
    assert networks.loc["Flat", ["params", "macs"]].tolist() == [64 * 12 + 12 + 120 + 10, 64 * 12 + 120]
    assert networks.loc["Image", "macs"] == 3 * 64 + 30
    assert len(run.ask("notes", everyone=True).table)
    told = card(run, "Flat")
    assert f"Module({name}:SEVERAL[0])" in told.text
    for one in ("Flat", "Image"):
        export(run, one, tmp_path / f"{one}.py")
        spec = importlib.util.spec_from_file_location(one, tmp_path / f"{one}.py")
        exported = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(exported)
        pixels = torch.from_numpy(load(DataRequest("digits", "", normalize="unit")).inputs("test")[:9])
        scores = exported.load()(exported.prepare(pixels)).detach().numpy()
        assert scores == pytest.approx(run.scores(networks=[one])[0, :9], abs=1e-3)
    (tmp_path / f"{name}.py").write_text(GOOD + "\n# another line\n")
    with pytest.raises(RunError, match=rf"{name}.py has changed") as caught:
        train_run(tmp_path / "run", Options(device="cpu", workers=1, modules=[name]))
    assert "\n" not in str(caught.value)
    (tmp_path / f"{name}.py").unlink()
    assert card(run, "Flat").text == told.text  # nothing of the user's is imported to show it
    with pytest.raises(RunError, match=r"is not in .* any more"):
        train_run(tmp_path / "run", Options(device="cpu", workers=1, modules=[name]))


@pytest.mark.parametrize("of", ["evil:Net", "evil.deeper:Net", "os:abort"])
def test_no_command_runs_the_code_of_a_run_that_the_user_has_not_named(module, tmp_path, monkeypatch, capsys, of):
    """A run from elsewhere: its table names code that lies in it, and in the folder where the user stands."""
    name = module(GOOD)
    folder, mark = tmp_path / "run", tmp_path / "executed"
    generate_run(None, folder, "digits", modules=[f"{name}:Flat"])
    code = f"open({str(mark)!r}, 'w').close()\n"
    for place in (tmp_path, folder):
        (place / "evil").mkdir()
        (place / "evil" / "__init__.py").write_text(code)
        (place / "evil" / "deeper.py").write_text(code)
    table = pq.read_table(folder / "networks.parquet")
    text = table["layers"][0].as_py().replace(f"{name}:Flat", of).replace(str(tmp_path), str(folder))
    source = next(one["source"] for one in json.loads(text) if "source" in one)
    text = text.replace(source, hashlib.sha256(code.encode()).hexdigest()[:16] if "evil" in of else "")
    index = table.schema.get_field_index("layers")
    table = table.set_column(index, "layers", [[text]])
    spec = NetworkSpec.from_dict(table.to_pylist()[0])
    table = table.set_column(table.schema.get_field_index("hash"), "hash", [[spec.hash]])
    pq.write_table(table, folder / "networks.parquet")
    manifest = tomllib.loads((folder / "run.toml").read_text())
    manifest.pop("catalogue")
    (folder / "run.toml").write_text(tomli_w.dumps(manifest))
    monkeypatch.chdir(tmp_path)
    for command in (
        ["show", "Flat"],
        ["show", "Flat", "--as", "json"],
        ["estimate"],
        ["time", "--busy"],
        ["train"],
        ["status"],
    ):
        with pytest.raises(SystemExit):
            main([command[0], str(folder), *command[1:]])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        if command[0] in ("estimate", "time", "train"):
            assert f"code of the module '{of.partition(':')[0]}', which is run only where you say so" in captured.err
        assert not mark.exists()
    if of == "os:abort":
        for way in (["--module", "os"], ["--trust", str(folder)]):
            with pytest.raises(SystemExit):
                main(["train", str(folder), "--device", "cpu", *way])
            assert "since the run was generated" in capsys.readouterr().err


def test_trust_shows_file_and_hash_and_takes_the_run_alone(module, tmp_path, capsys, monkeypatch):
    name = module(GOOD)
    monkeypatch.chdir(tmp_path)
    generate_run(None, "run", "digits", modules=[f"{name}:Flat"], overrides=["recipe.train_samples=50"])
    with pytest.raises(RunError, match="wants the run itself"):
        train_run("run", Options(device="cpu", workers=1, trust="other"))
    assert not list((tmp_path / "run" / "trainings").iterdir())

    class Notes(Listener):
        def note(self, text):
            notes.append(text)

    notes = []
    assert train_run("run", Options(device="cpu", workers=1, trust="run", epochs=1), Notes())["done"] == 1
    digest = hashlib.sha256((tmp_path / f"{name}.py").read_bytes()).hexdigest()[:16]
    assert f"runs code of {tmp_path / name}.py ({digest})" in notes


CLASS = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        {init}
    def forward(self, x):
        {forward}
"""


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("import nothing_like_it", "", r"can't be imported: ModuleNotFoundError: .*nothing_like_it.*\(nets_\w+.py:1\)"),
        ("x = (", "", r"can't be imported: SyntaxError: .*\(nets_\w+.py:1\)"),
        ("\nraise ValueError('one\\ntwo')", "", r"ValueError: two \(nets_\w+.py:2\)"),
        ("import sys\nsys.exit(3)", "", r"SystemExit: 3 \(nets_\w+.py:2\)"),
        ("x = 1", "", "no class of torch.nn.Module"),
        (GOOD, ":Flatt", "did you mean 'Flat'"),
        (GOOD, ":Needy", "wants size"),
        (GOOD, ":NUMBER", "is a int: name a class"),
        (GOOD, ":INSTANCE", "is a Flat: name a class"),
        (GOOD, ":__import__('os')", "has no '__import__"),
        (CLASS.format(init="self.x = 1 / 0", forward="pass"), "",
         r"can't be made: ZeroDivisionError: .*\(nets_\w+.py:7\)"),
        (CLASS.format(init="pass", forward="raise KeyError('gone')"), "",
         r"takes no images of 1×8×8: of \(N, 1, 8, 8\): KeyError: 'gone' \(nets_\w+.py:9\)"),
        (CLASS.format(init="self.l = nn.Linear(64, 9)", forward="return self.l(x.flatten(1))"), "",
         r"it makes \(N, 9\), wanted \(N, 10\)"),
        (CLASS.format(init="pass", forward="return x, x"), "", "it makes tuple, wanted"),
        ("def f():\n    return 3", ":f", "gives a int, wanted a torch.nn.Module"),
        ("def f():\n    return [][0]", ":f", r"can't be called: IndexError: .*\(nets_\w+.py:2\)"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_line_that_says_where(module, source, target, said):
    with pytest.raises(SpecError, match=said) as caught:
        take(f"{module(source)}{target}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["", "a/b.py", "nets.py:", "../x", "no_such_module_at_all"])
def test_targets_that_are_no_module(module, target):
    with pytest.raises(SpecError, match=r"wants package.module|can't be imported"):
        take(target)


def test_a_template_can_not_name_code(tmp_path):
    cell = '[[cells]]\nkind = "explicit"\nname = "A"\nlayers = [{ op = "Module", of = "os:abort", path = "/" }]'
    (tmp_path / "bad.toml").write_text(f'title = "b"\ndataset = "digits"\n{cell}')
    with pytest.raises(CatalogueError, match="named with --module alone"):
        generate_run(str(tmp_path / "bad.toml"), tmp_path / "run")


def test_a_file_can_not_name_code(tmp_path):
    (tmp_path / "bad.json").write_text('{"name": "A", "layers": [{"op": "Module", "of": "os:abort", "path": "/"}]}')
    with pytest.raises(NetpickError, match="unknown operation 'Module'"):
        generate_run(None, tmp_path / "run", "digits", networks_file=tmp_path / "bad.json")
