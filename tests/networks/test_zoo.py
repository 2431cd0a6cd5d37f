"""torchvision's models as networks: adapted, counted, trained and exported like any other."""

from __future__ import annotations

import importlib.util

import pandas as pd
import pytest
import torch
from torch import nn

from netpick import Run
from netpick.core.errors import CatalogueError, SpecError
from netpick.core.torchvision_import import torchvision_models
from netpick.data import DataRequest, load
from netpick.exam.exports import export
from netpick.networks.catalogue.catalogue import generate
from netpick.networks.catalogue.template import parse
from netpick.networks.modules.build import build
from netpick.networks.modules.measure import measure
from netpick.networks.modules.torchvision_models import torchvision_model, with_channels
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.networks.paper.inferred import family_of
from netpick.networks.paper.spec import check, layer
from netpick.networks.paper.whole_networks import TORCHVISION
from netpick.sessions import Options, train_run
from netpick.sessions.generate import generate_run


def template(*ops, extra=""):
    cells = (
        f'[[cells]]\nkind = "explicit"\nname = "N{i}"\nlayers = [{{ op = "torchvision:{op}"{extra} }}]'
        for i, op in enumerate(ops)
    )
    return "\n".join(
        ['title = "t"\ndataset = "digits"\n[recipe]\nepochs = 1\ntrain_samples = 101\nbatch_size = 25', *cells]
    )


def network(name, channels=1, classes=10):
    return layer(f"torchvision:{name}", in_channels=channels, num_classes=classes), layer("LogSoftmax")


def test_the_names_are_those_of_torchvision():
    models = torchvision_models()
    assert sorted(TORCHVISION) == sorted(models.list_models(module=models))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "mobilenet_v3_small", "convnext_tiny"])
def test_the_activation_is_the_one_inside(name):
    with torch.device("meta"):
        inside = {type(part).__name__ for part in torchvision_model(name, 1, 10).modules()} & set(ACTIVATIONS)
    assert family_of(network(name)) == ("Torchvision", next(iter(inside)) if len(inside) == 1 else "Mixed")


def test_resnet18_has_the_parameters_that_are_published():
    # torchvision's documentation: 11,689,512 with 3 channels and 1000 classes, of which 513,000 in the last layer
    published, last, first = 11_689_512, 513 * 1000, 3 * 64 * 49
    assert measure(network("resnet18"), (1, 28, 28)).params == published - last + 513 * 10 - first + first // 3
    assert measure(network("resnet18", 3, 1000), (3, 32, 32)).params == published


def test_another_number_of_channels_changes_the_first_convolution_alone():
    before, after = torchvision_model("resnet18", 3, 4), torchvision_model("resnet18", 2, 4)
    differ = [k for k, v in before.state_dict().items() if v.shape != after.state_dict()[k].shape]
    assert differ == ["conv1.weight"]
    for name in ("out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias", "padding_mode"):
        assert getattr(after.conv1, name) == getattr(before.conv1, name)
    plain = with_channels(nn.Sequential(nn.Sequential(nn.Conv2d(3, 5, (1, 2), 2, bias=True))), 7)
    assert plain(torch.zeros(1, 7, 4, 4)).shape == (1, 5, 2, 2)


def test_the_same_seed_gives_the_same_initial_weights():
    def weights(seed):
        torch.manual_seed(seed)
        return build(network("shufflenet_v2_x0_5")).state_dict()

    one, same, other = weights(3), weights(3), weights(4)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["0.conv1.0.weight"], other["0.conv1.0.weight"])


@pytest.mark.parametrize("name", ["googlenet", "regnet_x_400mf"])  # several outputs; can't be made on the meta device
def test_models_with_ways_of_their_own_give_one_output_in_training(name):
    model = build(network(name)).train()
    assert model(torch.rand(2, 1, 64, 64)).shape == (2, 10)
    assert measure(network(name), (1, 64, 64)).macs > 0


def test_a_log_softmax_is_added_once():
    (short,) = generate(parse(template("resnet18")), (1, 28, 28), 10)
    (longer,) = generate(
        parse(template("resnet18").replace(" }]", ' }, { op = "LogSoftmax", dim = 1 }]')), (1, 28, 28), 10
    )
    assert [one.op for one in short.layers] == ["torchvision:resnet18", "LogSoftmax"]
    assert short.hash == longer.hash
    assert check(short.layers, (1, 28, 28), 10).params == 0  # not told on paper


@pytest.mark.parametrize(
    ("op", "extra", "said"),
    [
        ("resnet19", "", "did you mean 'torchvision:resnet1"),
        ("resnet18", ", weights = 'DEFAULT'", "no argument 'weights'"),
        ("resnet18", ", in_channels = 3", r"wants an input of shape \[3, height, width\], got \[1, 8, 8\]"),
        ("resnet18", ", num_classes = 3", r"gives \[3\], wanted \[10\]"),
    ],
)
def test_what_a_model_does_not_take_is_one_line(op, extra, said):
    with pytest.raises(CatalogueError, match=said) as caught:
        generate(parse(template(op, extra=extra)), (1, 8, 8), 10)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_too_large_for_the_images_is_named(tmp_path):
    (tmp_path / "t.toml").write_text(template("resnet18", "vgg11"))
    with pytest.raises(
        SpecError, match=r"network N1: torchvision:vgg11 can't take images of 1×8×8: .*too small"
    ) as caught:
        generate_run(str(tmp_path / "t.toml"), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_model_is_trained_and_exported(tmp_path):
    (tmp_path / "t.toml").write_text(template("mnasnet0_5"))
    folder = tmp_path / "run"
    generate_run(str(tmp_path / "t.toml"), folder)
    train_run(folder, Options(device="cpu", workers=1))
    run = Run(folder)
    (row,) = run.trainings.to_dict("records")
    assert row["status"] == "done"
    export(run, "N0", tmp_path / "net.py")
    spec = importlib.util.spec_from_file_location("net", tmp_path / "net.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = load(DataRequest("digits", "", normalize="unit"))
    pixels = torch.from_numpy(data.inputs("test")[:20])
    scores = module.load()(module.prepare(pixels))
    assert scores.detach().numpy() == pytest.approx(run.scores()[0, :20], abs=1e-3)
    assert isinstance(run.ask("notes", everyone=True).table, pd.DataFrame)
