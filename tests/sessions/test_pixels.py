"""The images of a run as a device has them: whatever the data set is made of, and those of the splits of the run."""

import numpy as np
import pytest

from netpick import Run, data
from netpick.core.errors import DataError
from netpick.data.request import DataRequest
from netpick.sessions import pixels_of
from netpick.store.folder import Store


def run_of(folder, dataset, shape, counts, **recipe):
    about = {"classes": ["a", "b"], "shape": shape, "dataset": dataset, "seed": 3, "recipe": recipe}
    store = Store.create(folder, about, [])
    store.write_samples(
        {"split": split, "sample": i, "index": i, "label": 0, "class_name": "a", "image": b""}
        for split, count in counts.items()
        for i in range(count)
    )
    return Run(folder)


def made_of(path, pixels):
    labels = np.arange(40) % 2
    np.savez(path, x_train=pixels[:30], y_train=labels[:30], x_test=pixels[30:], y_test=labels[30:])
    return f"npz:{path}"


@pytest.mark.parametrize("normalize", ["standard", "unit"])
def test_signals_are_as_they_are_and_colours_are_from_0_to_1(tmp_path, normalize):
    rng = np.random.default_rng(0)
    signals = rng.normal(5, 100, size=(40, 12)).astype(np.float32)
    run = run_of(tmp_path / "a", made_of(tmp_path / "a.npz", signals), [1, 1, 12], {"test": 10}, normalize=normalize)
    found = pixels_of(run, 8)
    assert found.unit == "as the data set has them"
    assert found.splits.keys() == {"test"}
    np.testing.assert_array_equal(found.splits["test"][:, 0, 0], signals[30:])
    rows = {tuple(row) for row in signals[:30].tolist()}
    assert len({tuple(row) for row in found.calibration[:, 0, 0].tolist()} & rows) == 8
    np.testing.assert_array_equal(pixels_of(run, 8).calibration, found.calibration)
    assert len(pixels_of(run, 500).calibration) == 30

    colours = rng.integers(0, 256, size=(40, 5, 4, 3), dtype=np.uint8)
    run = run_of(tmp_path / "b", made_of(tmp_path / "b.npz", colours), [3, 5, 4], {"test": 10}, normalize=normalize)
    found = pixels_of(run)
    assert found.unit == "pixels of 8 bits over 255"
    np.testing.assert_array_equal(found.splits["test"], (colours[30:].transpose(0, 3, 1, 2) / 255).astype(np.float32))
    assert found.calibration.shape == (0, 3, 5, 4)


def test_splits_are_those_of_the_run_and_other_data_are_refused(tmp_path):
    counts = {"test": 360, "validation": 287}
    run = run_of(tmp_path / "run", "digits", [1, 8, 8], counts, validation=0.2, train_samples=100)
    found = pixels_of(run, 1000)
    dataset = data.load(DataRequest("digits", "", 3, 100, 0.2))
    for split in counts:
        np.testing.assert_array_equal(found.splits[split], dataset.split(split).pixels / np.float32(16))
    assert len(found.calibration) == 100
    other = run_of(tmp_path / "other", "digits", [1, 8, 8], {"test": 359})
    with pytest.raises(DataError, match=r"digits has 360 samples in the split test, and .* has 359: put the files"):
        pixels_of(other)
