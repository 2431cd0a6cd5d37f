"""A small trained run of all families, and what torch says of its networks: for the tests of the live class."""

from __future__ import annotations

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from template_cells import BASIC, explicit, linear

from netpick.core.recipe import Recipe
from netpick.data import load, request_of, sample_rows
from netpick.exam.run import Run
from netpick.networks.modules.build import build
from netpick.networks.paper.spec import NetworkSpec
from netpick.sessions.generate import generate_run
from netpick.store.folder import Store
from netpick.training import Job, Plan, train

FAMILIES = [
    *("Linear", "Conv1d", "Conv2d", "Conv3d"),
    *("Conv1dThenLinear", "Conv2dThenLinear", "Conv3dThenLinear", "ResNetStyle"),
]
STEEP = explicit(
    "Steep", '"Flatten"', linear("pixels", 100), linear(100, 100), linear(100, "classes"), '"LogSoftmax"',
    more="recipe = { lr = 1e30 }\n",
)  # fmt: skip
MEAN = explicit("Mean", '"baseline:nearest_mean"')


def sampled(computation):
    activation = "ReLU" if computation == "ResNetStyle" else "Tanh"
    return (
        f'\n[[cells]]\nkind = "sampled"\ncomputation = "{computation}"\ncount = 2\nactivation = "{activation}"\n'
        "depth = [2, 5]\nchannels = [8, 24]\nplanes = [8, 12]\nfeatures = [20, 60]\nkernel_size = [2, 4]\n"
        "batch_norm = 0.5\nskip = 0.3\npool = 0.2\nmin_params = 1500\nmax_params = 9000\n"
    )


def template(folder):
    """Write a template on the digits, of which 500 are the test samples, and its data; return its path."""
    digits = load_digits()
    pixels = np.rint(digits.images * 255 / 16).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(pixels))
    test, train = order[:500], order[500:]
    np.savez(
        folder / "digits.npz", x_train=pixels[train], y_train=digits.target[train],
        x_test=pixels[test], y_test=digits.target[test],
    )  # fmt: skip
    path = folder / "small.toml"
    cells = "".join(map(sampled, FAMILIES))
    path.write_text(f'title = "Small"\ndataset = "npz:{folder / "digits.npz"}"\n{BASIC}{MEAN}{STEEP}{cells}')
    return path


def train_small(folder):
    """Train such a run in this process: a session would take as long again to begin."""
    generate_run(str(template(folder)), folder / "run", seed=1)
    store = Store.open(folder / "run")
    dataset = load(request_of(store.manifest, "data"))
    data = {
        split: (torch.from_numpy(dataset.inputs(split)), torch.from_numpy(dataset.split(split).labels))
        for split in ("train", "test")
    }
    store.write_samples(sample_rows(dataset, ["test"]))
    store.update_manifest(input={"mean": list(dataset.mean), "std": list(dataset.std)})
    labels = {"test": dataset.split("test").labels}
    with store.lock():
        for spec in map(NetworkSpec.from_dict, store.networks()):
            recipe = Recipe(epochs=2, batch_size=25, lr=spec.recipe.get("lr", 0.005))
            job = Job(spec, recipe, 0, Plan(mode="eager", convolutions="plain"), keep_weights=True)
            store.commit(train(job, data), labels)
    return store.path


def untrained_weights(folder):
    """Give a planted run weights as they are drawn, and say how its images are normalised."""
    run, store = Run(folder), Store.open(folder)
    images = np.stack([np.atleast_3d(run.image(s)) for s in range(len(run.labels()))]) / 255
    store.update_manifest(input={"mean": images.mean((0, 1, 2)).tolist(), "std": images.std((0, 1, 2)).tolist()})
    (folder / "weights").mkdir()
    torch.manual_seed(0)
    for spec in map(NetworkSpec.from_dict, store.networks()):
        save_file(build(spec.layers).state_dict(), folder / "weights" / f"{spec.name}-0.safetensors")


def said_by_torch(run: Run, names):
    """Return the scores of networks on all test samples, worked out from the run's files by torch alone."""
    images = np.stack([np.atleast_3d(run.image(s)).transpose(2, 0, 1) for s in range(len(run.labels()))])
    mean, std = (torch.tensor(run.manifest["input"][key]).reshape(-1, 1, 1) for key in ("mean", "std"))
    inputs = ((torch.from_numpy(images) / 255 - mean) / std).float()
    rows = {row["name"]: row for row in run.networks.to_dict("records")}
    out = []
    with torch.inference_mode():
        for name in names:
            model = build(NetworkSpec.from_dict(rows[name]).layers).eval()
            model.load_state_dict(load_file(run.path / "weights" / f"{name}-0.safetensors"))
            out.append(torch.log_softmax(model(inputs), 1).numpy())
    return np.stack(out)
