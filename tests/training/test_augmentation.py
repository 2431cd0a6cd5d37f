"""Augmentation: what becomes of images, against numpy's and scipy's own; whose random numbers; in every engine."""

from __future__ import annotations

import pickle

import msgspec
import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from test_recipe import DATA, MANY, PLANS, fit, made, script

from netpick.core.recipe import Augment, Recipe
from netpick.training import Job, Plan
from netpick.training.augmentation import Augmentation, augmentation_of

HEIGHT, WIDTH, MANY_IMAGES = 9, 12, 3000


def images(count=MANY_IMAGES, channels=2):
    return torch.rand(count, channels, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(3)) + 0.1


def changed(given, seed=0, part=None, **how):
    """Return the images of an epoch as they are seen, changed `part` at a time."""
    augment = Augmentation(Job(MANY, Recipe(augment=Augment(**how)), seed, Plan()), len(given))
    augment.begin_epoch()
    part = part or len(given)
    return torch.cat([augment(x, start * part) for start, x in enumerate(given.split(part))])


def test_images_are_moved_by_any_number_of_pixels_and_their_edges_repeated():
    given = images()
    found = changed(given, shift=2).numpy()
    wide = np.pad(given.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    times = np.zeros((5, 5))
    for down in range(5):
        for across in range(5):
            moved = wide[:, :, down : down + HEIGHT, across : across + WIDTH]
            times[down, across] = (moved == found).all((1, 2, 3)).sum()
    assert times.sum() == MANY_IMAGES  # each is one of these, to the bit
    assert times.min() > 0.6 * MANY_IMAGES / 25
    assert times.max() < 1.4 * MANY_IMAGES / 25


def test_half_of_the_images_are_mirrored():
    given = images()
    found = changed(given, flip=True)
    mirrored = (found == given.flip(3)).all(3).all(2).all(1)
    assert ((found == given).all(3).all(2).all(1) ^ mirrored).all()
    assert 0.45 < mirrored.double().mean() < 0.55


def test_a_crop_is_a_part_of_the_image_enlarged():
    count = 300
    given = images(count, 3)
    given[:, 0], given[:, 1] = torch.arange(HEIGHT)[:, None], torch.arange(WIDTH)  # which say where they were seen
    found = changed(given, crop=0.3).numpy()
    ends = found[:, 0, 4, 0], found[:, 0, 5, 0], found[:, 1, 0, 5], found[:, 1, 0, 6]
    tall, wide = HEIGHT * (ends[1] - ends[0]), WIDTH * (ends[3] - ends[2])  # a step of the pixels seen, times pixels
    top, left = (ends[0] - 4 * tall / HEIGHT), (ends[2] - 5 * wide / WIDTH)
    # The first pixel of a crop lies half of its step from the edge of the crop.
    low, high = (top + 0.5 - tall / HEIGHT / 2, left + 0.5 - wide / WIDTH / 2)
    assert min(low.min(), high.min()) > -1e-4
    assert (low + tall).max() < HEIGHT + 1e-4
    assert (high + wide).max() < WIDTH + 1e-4
    share, ratio = tall * wide / HEIGHT / WIDTH, wide / tall
    whole = (tall < HEIGHT - 1e-4) & (wide < WIDTH - 1e-4)  # nothing was cut off at a side of the image
    assert whole.mean() > 0.5
    assert 0.3 - 1e-4 < share[whole].min() < 0.35
    assert share[whole].max() > 0.6
    assert 0.75 - 1e-4 < ratio[whole].min() < 0.8
    assert 1.25 < ratio[whole].max() < 4 / 3 + 1e-4
    for n in range(20):
        rows = top[n] + np.arange(HEIGHT) * tall[n] / HEIGHT
        columns = left[n] + np.arange(WIDTH) * wide[n] / WIDTH
        wanted = map_coordinates(
            given[n, 2].numpy(), np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest"
        )
        np.testing.assert_allclose(found[n, 2], wanted, atol=1e-4)


def test_rectangles_are_erased_in_some_of_the_images():
    given = images()
    found = changed(given, erase=0.25)
    gone = (found == 0).all(1)
    assert ((found == given) | gone[:, None]).all()
    erased = gone.any(2).any(1)
    assert 0.22 < erased.double().mean() < 0.28
    rows, columns = gone[erased].any(2).sum(1), gone[erased].any(1).sum(1)
    assert (rows * columns == gone[erased].sum((1, 2))).all()  # rectangles
    shares = (rows * columns / HEIGHT / WIDTH).double()
    assert shares.min() < 0.04
    assert 0.3 < shares.max() < 0.4  # 33 %, of sides of whole pixels
    places = gone[erased].double().mean(0)
    assert places.min() > 0.02  # no corner is out of reach


def test_everything_off_is_nothing():
    nothing = Augment(shift=0, flip=False, crop=float("1"), erase=float("0"))
    assert augmentation_of(Job(MANY, Recipe(augment=nothing), 0, Plan()), 10) is None
    for how, written in ((nothing, {}), (Augment(shift=2, crop=float("1")), {"shift": 2})):
        assert msgspec.to_builtins(how) == written
        assert msgspec.to_builtins(pickle.loads(pickle.dumps(how))) == written  # as a worker has it


def test_what_is_seen_depends_on_the_seed_alone():
    given, how = images(100), {"shift": 2, "flip": True, "crop": 0.5, "erase": 0.5}
    whole = changed(given, **how)
    for part in (1, 7):
        assert torch.equal(changed(given, part=part, **how), whole)
    assert not torch.equal(changed(given, seed=1, **how), whole)
    # What is added changes nothing else: the same images are moved alike, mirrored or not.
    moved, both = changed(given, shift=2), changed(given, shift=2, flip=True)
    mirrored = (changed(given, flip=True) != given).any(3).any(2).any(1)
    assert torch.equal(moved[~mirrored], both[~mirrored])
    assert not torch.equal(moved[mirrored], both[mirrored])


HOW = {"shift": 1, "flip": True, "crop": 0.7, "erase": 0.3}


@pytest.mark.parametrize("how", [{"shift": 1}, HOW], ids=str)
@pytest.mark.parametrize("plan", PLANS)
def test_every_engine_trains_on_what_is_seen(plan, how):
    """A script changes all images before each epoch, in their order."""
    model = made()
    augment = Augmentation(Job(MANY, Recipe(augment=Augment(**how)), 5, Plan()), 70)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    losses = []
    for _ in range(3):
        augment.begin_epoch()
        data = {"train": (augment(DATA["train"][0], 0), DATA["train"][1]), "test": DATA["test"]}
        losses += script(model, torch.nn.functional.cross_entropy, data, optimizer, epochs=1)
    result = fit(MANY, plan, augment=Augment(**how), order="fixed")
    for one, two in zip(result.weights.values(), made(seed=5).state_dict().values(), strict=True):
        assert not np.allclose(one, two)
    for one, two in zip(result.weights.values(), model.state_dict().values(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose([epoch.train_loss for epoch in result.epochs], losses, rtol=1e-5)


def test_shuffled_images_are_seen_in_their_order():
    plain = fit(MANY, "reference", augment=Augment(**HOW))
    for plan in PLANS:
        for one, two in zip(
            plain.weights.values(), fit(MANY, plan, augment=Augment(**HOW)).weights.values(), strict=True
        ):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_a_card_sees_what_the_cpu_sees():
    given, how = images(50), Augment(**HOW)
    seen = []
    for device in ("cpu", "cuda:0"):
        augment = Augmentation(Job(MANY, Recipe(augment=how), 0, Plan(), device), 50)
        augment.begin_epoch()
        seen.append(augment(given.to(device), 0).cpu())
    torch.testing.assert_close(*seen, atol=1e-4, rtol=1e-4)
