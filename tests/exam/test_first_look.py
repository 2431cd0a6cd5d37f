from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from netpick.exam import look


def part(pixels, labels, pixel_max=255):
    return SimpleNamespace(pixels=np.array(pixels)[:, None], labels=np.array(labels), pixel_max=pixel_max)


def data(train, test):
    return SimpleNamespace(name="shoes", classes=("boot", "sock"), splits={"train": train, "test": test})


@pytest.fixture
def shoes():
    rng = np.random.default_rng(1)
    train = rng.integers(0, 17, (12, 3, 5), np.uint8)
    train[0, 0, :2] = 0, 16
    test = rng.integers(0, 17, (4, 3, 5), np.uint8)
    test[1], test[3] = train[5], train[9]
    return data(part(train, [0] * 9 + [1] * 3, 16), part(test, [0, 0, 1, 0], 16))


def test_classes_with_their_share_mean_and_deviation(shoes):
    table = look(shoes).table.set_index("class")
    train = shoes.splits["train"]
    assert table["train"].tolist() == [9, 3]
    assert table["test"].tolist() == [3, 1]
    assert table["share"].tolist() == [0.75, 0.25]
    for label, name in enumerate(shoes.classes):
        values = train.pixels[train.labels == label].astype(float).ravel() / 16
        assert table.loc[name, "mean"] == pytest.approx(sum(values) / len(values))
        assert table.loc[name, "deviation"] == pytest.approx(np.sqrt(np.mean(values**2) - np.mean(values) ** 2))


def test_what_is_said_in_words(shoes):
    said = look(shoes).text
    pixels = shoes.splits["train"].pixels / 16
    assert said.startswith("shoes: 12 train, 4 test images, each 3×5 and grey, in 2 classes.")
    assert f"Pixels are 0 to 16 of 16; scaled to 0 to 1 their mean is {pixels.mean():.4f}, their deviation" in said
    assert "boot has most images to train on, 9, sock fewest, 3: 3.00 times as many." in said


def test_duplicates_are_found_to_the_pixel_and_named(shoes):
    wanted = "are 2 test images (50 %), 1 of them with another label: 1 (training 5), 3 (training 9)."
    assert wanted in look(shoes).text
    shoes.splits["test"].pixels[1, 0, 0, 0] += 1  # by one shade in one pixel
    assert "is 1 test image (25 %), 1 of them with another label: 3 (training 9)." in look(shoes).text
    shoes.splits["test"].pixels[3, 0, 2, 4] += 1
    assert "No test image is in the training part too." in look(shoes).text


def test_floating_point_pixels_and_colours_stay_as_they_are():
    rng = np.random.default_rng(2)
    pixels = rng.normal(3, 2, (8, 3, 4, 4)).astype(np.float32)
    colour = SimpleNamespace(pixels=pixels, labels=np.arange(8) % 2, pixel_max=1)
    said = look(data(colour, colour))
    means = ", ".join(f"{pixels[:, c].mean(dtype=float):.4f}" for c in range(3))
    assert f"their mean is {means}" in said.text
    assert "in colour" in said.text
    assert "are 8 test images (100 %): " not in said.text  # more than are named
    assert "the first ones: 0 (training 0)" in said.text


def test_it_has_a_figure(shoes, tmp_path):
    assert look(shoes).save(tmp_path / "look.png").stat().st_size > 1000
