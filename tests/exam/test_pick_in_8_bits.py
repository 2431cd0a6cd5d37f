"""Picking by what networks score in 8 bits: nobody is tried, or judged, by the samples that judge."""

from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from netpick import Run
from netpick.core.errors import NetpickError, RunError
from netpick.core.metrics import evaluate
from netpick.core.pixels import Pixels
from netpick.core.result import EpochResult, TrainingResult
from netpick.exam import Splits, pick
from netpick.exam.device.onnx_file import export_onnx
from netpick.exam.picking import in_8_bits
from netpick.networks.paper.spec import NetworkSpec, layer, sizes
from netpick.store.folder import Store

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

IMAGE, CLASSES, COUNTS = (1, 4, 4), ["a", "b", "c"], {"test": 240, "validation": 120}


def networks():
    """A teacher, the same with one value that is so large that 8 bits have no room for the others, and worse ones."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(8, 16)).astype(np.float32), rng.normal(size=(3, 8)).astype(np.float32)
    first -= first.mean(axis=1, keepdims=True)
    usual = np.maximum(rng.random((500, 16), np.float32) @ first.T, 0).mean(axis=0)
    second -= np.outer(second @ usual, usual) / (usual @ usual)  # so that no class is the answer to everything

    def with_units(count, size=0.0):
        more = np.full((count, 16), size, np.float32)
        return np.concatenate([first, more]), np.concatenate([second, np.zeros((3, count), np.float32)], axis=1)

    def noisy(number):
        shaken = (w + 0.03 * number * rng.normal(size=w.shape).astype(np.float32) for w in with_units(2 + number))
        return tuple(shaken)

    return {
        "Spoiled": with_units(1, 1e5), "Good": with_units(2), "Same": with_units(9),
        **{f"Noisy{i}": noisy(i) for i in range(1, 5)},
    }  # fmt: skip


def made(folder, validation, weights=True):
    rng, made_of = np.random.default_rng(1), networks()
    pixels = {s: rng.random((n, *IMAGE), np.float32) for s, n in COUNTS.items() if validation or s == "test"}
    specs, models = {}, {}
    for name, (first, second) in made_of.items():
        hidden = len(first)
        specs[name] = NetworkSpec(name, "Linear", "ReLU", (
            layer("Flatten"), layer("Linear", in_features=16, out_features=hidden, bias=False), layer("ReLU"),
            layer("Linear", in_features=hidden, out_features=3, bias=False), layer("LogSoftmax"),
        ))  # fmt: skip
        models[name] = {"1.weight": first, "3.weight": second}
    rows = [
        {"name": n, "hash": s.hash, "computation": "Linear", "activation": "ReLU", "layers": s.layers_json(),
         "params": sizes(s.layers, IMAGE).params, "memory": 1, "ops": 1, "depth": 2,
         "macs": sizes(s.layers, IMAGE).macs, "thop_macs": None}
        for n, s in specs.items()
    ]  # fmt: skip
    store = Store.create(
        folder, {"classes": CLASSES, "shape": list(IMAGE), "dataset": "own", "recipe": {"normalize": "unit"}}, rows
    )

    def scores(name, images):
        hidden = np.maximum(images.reshape(-1, 16) @ models[name]["1.weight"].T, 0)
        return torch.log_softmax(torch.from_numpy(hidden @ models[name]["3.weight"].T), 1).numpy()

    # Nobody of them knows the truth, and which is nearest to it depends on the samples.
    models["truth"] = {key: w + 0.06 * rng.normal(size=w.shape) for key, w in models["Good"].items()}
    labels = {s: scores("truth", images).argmax(axis=1) for s, images in pixels.items()}
    for own in labels.values():
        lies = rng.random(len(own)) < 0.15
        own[lies] = rng.integers(0, 3, lies.sum())
    store.write_samples(
        {"split": s, "sample": i, "index": i, "label": int(c), "class_name": CLASSES[c], "image": b""}
        for s, own in labels.items()
        for i, c in enumerate(own)
    )
    for name, spec in specs.items():
        splits = tuple(evaluate(s, scores(name, images), labels[s], 0.1) for s, images in pixels.items())
        result = TrainingResult(
            name, spec.hash, 0, "done", 0, "cpu", "fp32", datetime(2024, 1, 1, tzinfo=UTC), 1.0,
            epochs=(EpochResult(1, 1.0, 1.0, None, splits),), weights=models[name] if weights else None,
        )  # fmt: skip
        store.commit(result, labels)
    return Run(folder), lambda calibration: Pixels(pixels, pixels["test"][:calibration], "?")


@pytest.fixture(scope="module", params=[False, True], ids=["halves", "validation"])
def exam(request, tmp_path_factory):
    """A run, its data set, and the answers in 8 bits of every network by way of its own file."""
    folder = tmp_path_factory.mktemp("pick8")
    run, read = made(folder / "run", request.param)
    right = {}
    for name in run.networks["name"]:
        file = export_onnx(run, name, folder / f"{name}.onnx", read, int8=True).path
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", "1")
        session = onnxruntime.InferenceSession(file, options)
        right[name] = {
            s: session.run(None, {"image": images})[0].argmax(axis=1) == run.labels(s)
            for s, images in read(0).splits.items()
        }
    return run, read, right


def cheapest(accuracy, costs, give_up):
    near = [n for n in accuracy if accuracy[n] >= max(accuracy.values()) - give_up - 1e-12]
    return min(near, key=lambda n: (costs[n], -accuracy[n]))


def test_the_choice_is_by_what_is_left_in_8_bits(exam):
    run, read, right = exam
    before, after = pick(run, give_up=0.05), pick(run, give_up=0.05, int8=read)
    assert (before.name, after.name) == ("Spoiled", "Good")
    split = "validation" if "validation" in right["Good"] else "test"
    assert right["Spoiled"][split].mean() < 0.7 < right["Good"][split].mean()
    for row in after.table.to_dict("records"):
        assert row["accuracy"] == pytest.approx(right[row["name"]][split].mean())
    assert "the first 5 networks that each choice would take without; " in after.note
    assert "Of 5 networks in 8 bits, " in after.text
    assert "picked from 5 of 7" in after.text
    assert pick(run, give_up=0.05).table.equals(before.table)  # what was read for the one is not the other's


@pytest.mark.parametrize("each", [1, 100])
def test_who_is_tried_and_who_is_chosen_is_told_by_the_samples_that_choose(exam, each, monkeypatch):
    run, read, right = exam
    monkeypatch.setattr(in_8_bits, "EACH", each)
    found = pick(run, give_up=0.0, int8=read)
    names, costs = run.networks["name"].tolist(), run.networks.set_index("name")["macs"].to_dict()
    split = "validation" if "validation" in right["Good"] else "test"
    labels = run.labels(split)
    float_right = {n: run.predicted(networks=n, split=split)[0] == labels for n in names}
    chooses = float_right if each == 1 else {n: right[n][split] for n in names}
    splits, judged = Splits.of(run, labels, times=50), []
    for k in range(50):
        choose, judge = splits.samples(k, 0), splits.samples(k, 1)
        chosen = cheapest({n: chooses[n][choose].mean() for n in names}, costs, 0.0)
        judged.append(right[chosen][split][judge].mean())
    assert found.name == cheapest({n: chooses[n].mean() for n in names}, costs, 0.0)
    if split == "test":
        assert found.judged.mean == pytest.approx(np.mean(judged))
    else:
        assert found.judged.mean == pytest.approx(right[found.name]["test"].mean())


def test_constraints_are_met_in_8_bits_or_it_is_said(exam):
    run, read, _ = exam
    assert pick(run, {"min_accuracy": 0.8}, int8=read, give_up=0.0).name in ("Good", "Same")
    with pytest.raises(NetpickError, match=r"min_accuracy = 0\.8 is to blame, which none of 1 networks meets"):
        pick(run, {"min_accuracy": 0.8, "name": "Spoiled"}, int8=read)
    with pytest.raises(NetpickError, match="class_auc is not worked out in 8 bits"):
        pick(run, maximize=["class_auc"], int8=read)


def test_without_weights_it_is_refused_before_anything_is_read(tmp_path):
    run, _ = made(tmp_path / "run", False, weights=False)
    with pytest.raises(RunError, match=r"no network of .* can be quantised: its weights were not kept: train with"):
        pick(run, int8=lambda calibration: pytest.fail("read"))
