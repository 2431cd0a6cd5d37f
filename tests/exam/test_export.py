import ast
import errno
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from netpick import Run
from netpick.core.errors import NetpickError, WorkError
from netpick.core.metrics import evaluate
from netpick.core.result import EpochResult, TrainingResult
from netpick.exam.exports import export, export_networks, normalisation, source
from netpick.networks.catalogue import catalogue, template
from netpick.networks.catalogue.layouts import COMPUTATIONS
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import LayerSpec, NetworkSpec, layer, sizes
from netpick.store.folder import Store

IMAGE, CLASSES = (1, 8, 8), ["nought", 'on"e', "two"]
END = [layer("Flatten"), layer("Linear", in_features=4 * 4 * 4, out_features=3), layer("LogSoftmax", dim=1)]


def block(inplanes, planes, stride=1, activation="ReLU"):
    return layer("BasicBlock", inplanes=inplanes, planes=planes, stride=stride, activation=activation)


def conv(dims, i, o, k, **more):
    return layer(f"Conv{dims}d", in_channels=i, out_channels=o, kernel_size=k, **more)


START = layer("Reshape", shape=[1, 8, 8])
NETWORKS = {
    "Basic": [
        layer("Reshape", shape=[64]), layer("Linear", in_features=64, out_features=3), layer("LogSoftmax", dim=1),
    ],
    "Conv1dTanh_2": [
        layer("Reshape", shape=[8, 8]), conv(1, 8, 5, [3], stride=[2], padding=[1], bias=False), layer("Tanh"),
        layer("MaxPool1d", kernel_size=[2]), conv(1, 5, 3, [2]), layer("Reshape", shape=[3]), layer("LogSoftmax"),
    ],
    "Conv3d_1": [
        layer("Reshape", shape=[1, 4, 4, 4]), conv(3, 1, 2, [2, 3, 2]), layer("PReLU"),
        layer("BatchNorm3d", num_features=2),
        layer("AdaptiveAvgPool3d", output_size=[1, 2, 1]), layer("Dropout", p=0.25), layer("Flatten"),
        layer("Linear", in_features=4, out_features=3, bias=False), layer("LogSoftmax", dim=-1),
    ],
    "ResNetStyle_1": [START, conv(2, 1, 4, 1), block(4, 4), block(4, 4, 2), *END],
    "ResNetStylePlain": [START, conv(2, 1, 4, 5, groups=1), block(4, 4, 1, "None"), *END],
    "ResNetStylePReLU": [START, conv(2, 1, 2, 5, dilation=[1, 1]), block(2, 4, 1, "PReLU"), *END],
    "2.mixed": [START, conv(2, 1, 4, [2, 2], stride=2),
        block(4, 2, 1, "Tanh"), block(2, 4), block(4, 4, 1, "None"), *END],
    "Skips": [START, conv(2, 1, 4, 3, padding=1), layer("ReLU"), conv(2, 4, 4, 3, padding=1, groups=4),
        layer("BatchNorm2d", num_features=4), LayerSpec("Add", {"from": 1}), LayerSpec("Concat", {"from": 2}),
        LayerSpec("Concat", {"from": -1}), conv(2, 9, 4, [1, 5], padding=[0, 2], dilation=[2, 1]),
        LayerSpec("Add", {"from": 2}), LayerSpec("Add", {"from": 5}), layer("GroupNorm", num_groups=2, num_channels=4),
        layer("Dropout2d", p=0.1), layer("AdaptiveMaxPool2d", output_size=[4, 4]),
        layer("LayerNorm", normalized_shape=[4, 4]), *END],
    "Arguments": [START, conv(2, 1, 4, [2, 3], padding="same", padding_mode="reflect"),
        layer("BatchNorm2d", num_features=4, eps=1e-3, momentum=None, bias=False),
        layer("LeakyReLU", negative_slope=0.25, inplace=True), conv(2, 4, 4, 1, device=None, padding_mode="zeros"),
        layer("Hardtanh", min_val=-0.5, inplace=True), layer("Dropout", p=0.25, inplace=True),
        layer("AvgPool2d", kernel_size=3, stride=2, ceil_mode=True, count_include_pad=False),
        layer("MaxPool2d", kernel_size=2, stride=1, padding=1, dilation=2), layer("PReLU", num_parameters=4),
        layer("AdaptiveAvgPool2d", output_size=[4, None]), layer("GELU", approximate="tanh"),
        layer("LayerNorm", normalized_shape=4, elementwise_affine=False), layer("Flatten", start_dim=2),
        layer("Flatten"), *END[1:]],
    "BasicBlock": [START, conv(2, 1, 4, 5), layer("GELU"), *END],
}  # fmt: skip


def make_specs():
    return [NetworkSpec(n, n.split("_")[0], "ReLU", tuple(layers)) for n, layers in NETWORKS.items()]


@pytest.fixture(scope="module")
def images():
    return torch.rand(20, *IMAGE, generator=torch.Generator().manual_seed(0))


def make_run(folder, images, keep_weights=True, only=None, specs=None, **manifest):
    """Networks of all kinds, with random weights and random running statistics, and their true scores."""
    specs = [s for s in specs or make_specs() if only is None or s.name in only]
    rows = [
        {
            "name": s.name, "hash": s.hash, "computation": s.computation, "activation": s.activation,
            "layers": s.layers_json(), "params": sizes(s.layers, IMAGE).params, "memory": 1, "ops": 1, "depth": 1,
            "macs": sizes(s.layers, IMAGE).macs, "thop_macs": None,
        }
        for s in specs
    ]  # fmt: skip
    about = {"classes": CLASSES, "shape": list(IMAGE), "dataset": "shapes", "recipe": {}, **manifest}
    store = Store.create(folder, about, rows)
    labels = np.arange(20) % 3
    store.write_samples(
        {"split": "test", "sample": i, "index": i, "label": int(c), "class_name": CLASSES[c], "image": b""}
        for i, c in enumerate(labels)
    )
    for s in specs:
        torch.manual_seed(int(s.hash[:4], 16))
        model = build(s.layers)
        for name, tensor in model.state_dict().items():
            if "running" in name:
                tensor.copy_(torch.rand(tensor.shape) + 0.5)
        with torch.no_grad():
            scores = model.eval()(images.clone()).numpy()
        weights = {k: v.numpy() for k, v in model.state_dict().items()} if keep_weights else None
        epochs = (EpochResult(1, 1.0, 1.0, None, (evaluate("test", scores, labels, 0.1),)),)
        now = datetime(2024, 1, 1, tzinfo=UTC)
        store.commit(
            TrainingResult(s.name, s.hash, 0, "done", 0, "cpu", "-", now, 1.0, epochs=epochs, weights=weights),
            {"test": labels},
        )
    return Run(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory, images):
    return make_run(tmp_path_factory.mktemp("run") / "run", images, input={"mean": [0.25], "std": [0.5]})


RUNNER = """
import importlib.util, json, sys
import numpy as np, torch
images = torch.from_numpy(np.load(sys.argv[1]))
out = {}
for path in sys.argv[3:]:
    spec = importlib.util.spec_from_file_location("exported", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.load()
    with torch.no_grad():
        out[path] = network(images).numpy()
        assert torch.allclose(module.prepare(images), (images - 0.25) / 0.5)
    shapes = {k: list(v.shape) for k, v in network.layers.state_dict().items()}
    out[path + ".shapes"] = np.array(json.dumps(shapes))
    assert module.CLASSES == ["nought", 'on"e', "two"]
assert not [m for m in sys.modules if m.startswith("netpick")]
np.savez(sys.argv[2], **out)
"""


def check_scores(run, specs, images, tmp_path):
    """In another process, from another folder, without netpick."""
    files = [export(run, one.name, tmp_path / f"net{i}.py") for i, one in enumerate(specs)]
    assert all(
        f.weights == tmp_path / f"{s.name}.safetensors" and f.note == "" for f, s in zip(files, specs, strict=True)
    )
    np.save(tmp_path / "images.npy", images.numpy())
    arguments = [str(tmp_path / "images.npy"), str(tmp_path / "out.npz"), *(str(f.source) for f in files)]
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUNNER, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    out = np.load(tmp_path / "out.npz")
    for spec, file in zip(specs, files, strict=True):
        stored = run.scores(networks=spec.name)[0]
        assert np.abs(out[str(file.source)] - stored).max() < 1e-5, spec.name
        shapes = {k: list(v.shape) for k, v in build(spec.layers).state_dict().items()}
        assert ast.literal_eval(str(out[f"{file.source}.shapes"])) == shapes


def test_exported_networks_give_the_stored_scores(run, images, tmp_path):
    check_scores(run, make_specs(), images, tmp_path)


def test_exported_wild_networks_give_the_stored_scores(images, tmp_path):
    """Networks with all that cells can ask for, skip connections too."""
    wild = catalogue.generate(template.load("wild"), IMAGE, 3)
    some = wild[:2] + wild[5:-8:14] + wild[-8::4]
    assert {one.computation for one in some} == set(COMPUTATIONS)
    assert sum(any(part.op == "Add" for part in one.layers) for one in some) >= 8
    run = make_run(tmp_path / "run", images, specs=some, input={"mean": [0.25], "std": [0.5]})
    check_scores(run, some, images, tmp_path)


def test_source_says_only_what_is_needed(run):
    basic = source(run, "Basic")[0]
    assert "class Basic(nn.Module):" in basic
    assert "Reshape" not in basic
    assert "BasicBlock" not in basic
    assert "nn.Linear(64, 3),  # 3\n" in basic
    convolution = source(run, "Conv1dTanh_2")[0]
    assert "class Conv1dTanh2(nn.Module):" in convolution
    assert "Reshape(8, 8)" in convolution
    assert "nn.Conv1d(8, 5, kernel_size=3, stride=2, padding=1, bias=False),  # 5 × 4\n" in convolution
    assert "nn.Tanh(),\n" in convolution
    assert "self.shortcut" not in source(run, "ResNetStylePlain")[0]
    assert "activation1" not in source(run, "ResNetStylePlain")[0]
    assert "stride" not in source(run, "ResNetStylePReLU")[0].split("class ResNetStylePReLU")[0]
    mixed = source(run, "2.mixed")[0]
    assert "class Network2mixed(nn.Module):" in mixed
    assert "BasicBlock(4, 2, activation=nn.Tanh)" in mixed
    assert "BasicBlock(4, 4, activation=nn.Identity)" in mixed
    assert "class BasicBlockNetwork(nn.Module):" in source(run, "BasicBlock")[0]


def test_skips_have_names_in_the_forward_pass(run):
    forward = source(run, "Skips")[0].split("def forward(self, x: Tensor) -> Tensor:")[-1].split("\n\n")[0]
    assert [line.strip() for line in forward.strip().splitlines()] == [
        "image = x",
        "after_1 = self.layers[:2](x)",
        "after_2 = self.layers[2](after_1)",
        "after_5 = self.layers[3:5](after_2) + after_1",
        "x = torch.cat([after_5, after_2], dim=1)",
        "x = torch.cat([x, image], dim=1)",
        "x = self.layers[8](x) + after_2",
        "x = x + after_5",
        "return self.layers[11:](x)",
    ]
    assert "nn.Identity(),  # 8 × 8 × 8; see forward: the channels of two\n" in source(run, "Skips")[0]
    assert "return self.layers(x)" in source(run, "Basic")[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_source_is_clean(run, name, tmp_path):
    ruff = pytest.importorskip("ruff")
    path = export(run, name, tmp_path).source
    command = [ruff.find_ruff_bin(), "check", "--isolated", "--select", "E,F,W,I,UP,B,N,C4,SIM", "--line-length", "120"]
    done = subprocess.run([*command, "--ignore", "N999", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_without_weights(tmp_path, images):
    run = make_run(tmp_path / "run", images, keep_weights=False, only=["Basic"])
    out = export(run, "Basic", tmp_path)
    assert out.weights is None
    assert "--weights last" in out.note
    text = out.source.read_text()
    assert "load" not in text
    assert "safetensors" not in text
    assert "Pixels from 0 to 1 are to be normalised" in text
    ast.parse(text)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Basic.py", "run"]


def test_what_is_there_is_not_written_over(run, tmp_path):
    (tmp_path / "net.py").write_text("mine")
    with pytest.raises(NetpickError, match=r"net\.py is there already"):
        export(run, "Basic", tmp_path / "net.py")
    assert (tmp_path / "net.py").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [tmp_path / "net.py"]
    export(run, "Basic", tmp_path / "net.py", overwrite=True)
    with pytest.raises(NetpickError, match=r"Basic\.safetensors is there already"):
        export(run, "Basic", tmp_path / "other.py")


def test_bad_input(run, tmp_path):
    with pytest.raises(NetpickError, match=r"no network 'basic' .did you mean 'Basic'"):
        export(run, "basic", tmp_path / "net.py")
    with pytest.raises(NetpickError, match=r"does not end in \.py"):
        export(run, "Basic", tmp_path / "net.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match="can't be written"):
        export(run, "Basic", tmp_path / "file" / "net.py")


def test_a_full_disk_leaves_no_half_of_a_file_and_the_one_that_is_named_is_the_one(run, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "net.py").write_text("old")
    attempts = {
        "Basic.safetensors": lambda: export(run, "Basic", tmp_path / "net.py", overwrite=True),
        "all.jsonl": lambda: export_networks(run, tmp_path / "all.jsonl"),
    }
    for name, attempt in attempts.items():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))  # no file of this process gets larger
        try:
            with pytest.raises(WorkError) as caught:
                attempt()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert str(caught.value) == f"{tmp_path / name} can't be written (File too large): give another path"
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("net.py", "old")]


def test_what_could_not_be_exported_can_be_once_there_is_room(run, tmp_path, monkeypatch):
    """Weights that came first would be in the way of the same command."""
    write = Path.write_bytes

    def full(path, content):
        if path.name.startswith(".net.py"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(WorkError, match=r"net\.py can't be written .No space"):
            export(run, "Basic", tmp_path / "net.py")
    assert list(tmp_path.iterdir()) == []
    assert export(run, "Basic", tmp_path / "net.py").weights.is_file()


def test_rotten_weights_are_not_passed_on(run, images, tmp_path):
    rotten = make_run(tmp_path / "run", images, only=["Basic"])
    path = rotten.path / "weights" / "Basic-0.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(NetpickError, match=r"Basic-0\.safetensors can't be read .*checksum"):
        export(rotten, "Basic", tmp_path / "net.py")
    assert not (tmp_path / "net.py").exists()


def test_a_link_that_leads_nowhere_is_not_written_over(run, tmp_path):
    (tmp_path / "net.py").symlink_to(tmp_path / "nowhere")
    with pytest.raises(NetpickError, match=r"net\.py is there already"):
        export(run, "Basic", tmp_path / "net.py")
    assert (tmp_path / "net.py").is_symlink()


def test_normalisation(tmp_path, images, run):
    assert normalisation(run) == ([0.25], [0.5])
    one = {"only": ["Basic"], "keep_weights": False}
    assert normalisation(make_run(tmp_path / "a", images, **one, recipe={"normalize": "unit"})) == ([0.0], [1.0])
    assert normalisation(make_run(tmp_path / "b", images, **one)) is None


CODE = "open('executed', 'w').close()"
HOSTILE = f'"""\n{CODE}\n"""\\"" \r\n\f\x00\u2028#\n{CODE}\n'


def test_what_a_run_names_is_text_in_the_source(tmp_path, images, monkeypatch):
    """Names of data set, families, classes, the run's folder: none of them is code, and the file can be read."""
    monkeypatch.chdir(tmp_path)
    network = NetworkSpec(f"a'{CODE}", HOSTILE, HOSTILE, tuple(NETWORKS["Basic"]))
    classes = ["two", f'"] + [{CODE}] + ["', f"{HOSTILE}"]
    folder = f'"""\n{CODE}\n'
    named = {"classes": classes, "dataset": HOSTILE, "input": {"mean": [0.5], "std": [0.25]}}
    run = make_run(tmp_path / folder, images, specs=[network], **named)
    made = export(run, network.name, tmp_path / "net.py")
    names = {"__name__": "net", "__file__": str(made.source)}
    exec(compile(made.source.read_bytes(), "net.py", "exec"), names)
    assert not (tmp_path / "executed").exists()
    assert names["CLASSES"] == classes
    assert names["WEIGHTS"].name == f"{network.name}.safetensors"


@pytest.mark.parametrize(
    "of",
    [
        f"os:system('{CODE}') or nn.Identity", f"os:x\n{CODE}", f"os\n{CODE}:x", "os:x()", "os:x;y", "os:x[y]",
        "os:x[0]y", "os:x()[0]()", "os", ":x", "os:", "a b:c", "os:x.y", "os:x[\u0663]", "import:x", "os:a\xb2",
    ],
)  # fmt: skip
def test_code_of_ones_own_is_named_by_identifiers_alone(tmp_path, images, of):
    network = NetworkSpec("Own", "Module", "None", (
        layer("Module", of=of, gives="logits", source="", path="", num_classes=3), layer("LogSoftmax", dim=1),
    ))  # fmt: skip
    other = NetworkSpec("Own", "Module", "None", tuple(NETWORKS["Basic"]))
    run = make_run(tmp_path / "run", images, specs=[other], keep_weights=False)
    run.networks["layers"] = network.layers_json()
    with pytest.raises(NetpickError, match=r"Module\.of wants package\.module:NAME"):
        export(run, "Own", tmp_path / "net.py")
    assert not (tmp_path / "net.py").exists()


def test_export_needs_no_torch():
    code = "import sys; from netpick.exam import card, export, pick; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
