"""Augmentation: training images that are changed each time they are seen, batch by batch, on the device they lie on.

Once an epoch a row of random numbers is drawn for each place in its order, on the CPU and from a generator of its own:
so what becomes of an image depends neither on the engine, nor on how many images are changed together, nor on the
device. All rows have numbers for everything, whether it is asked for or not: with `flip` added, shifts stay what they
were.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from netpick.core.recipe import Augment
from netpick.training.job import Job

UNCHANGED = Augment()
"""What a recipe says that leaves images as they are."""

DOWN, ACROSS, FLIP, CROP, CROP_RATIO, CROP_TOP, CROP_LEFT, ERASE, AREA, RATIO, TOP, LEFT = range(12)
"""What the numbers of a row are for, each from 0 to below 1."""
NUMBERS = 12

CROP_RATIOS = (3 / 4, 4 / 3)
"""Width by height of what is cut out, as torchvision's `RandomResizedCrop` has them."""

ERASED, ERASED_RATIOS = (0.02, 0.33), (0.3, 3.3)
"""Shares and height by width of what is erased, as torchvision's `RandomErasing` has them."""


class Augmentation:
    """Changes the images of one training; call `begin_epoch` before each epoch.

    Parameters
    ----------
    job : its recipe says what is done, its seed begins the random numbers
    count : number of samples
    """

    def __init__(self, job: Job, count: int) -> None:
        self.how, self.count, self.device = job.recipe.augment, count, job.device
        self.generator = torch.Generator().manual_seed(job.seed ^ 0xA06)

    def draw(self) -> Tensor:
        """Return the numbers of the next epoch, (count, NUMBERS) on the CPU, a row for each place in its order."""
        return torch.rand(self.count, NUMBERS, generator=self.generator)

    def begin_epoch(self) -> None:
        """Draw the numbers that the images of this epoch are changed by."""
        self.numbers = self.draw().to(self.device)

    def __call__(self, images: Tensor, start: int) -> Tensor:
        """Return the images (n, C, H, W) of the epoch's places from `start` on as they are to be seen this time."""
        return augmented(images, self.numbers[start : start + len(images)], self.how)


def augmentation_of(job: Job, count: int) -> Augmentation | None:
    """Return what changes the images of a training, where its recipe says that they are changed."""
    return None if job.recipe.augment == UNCHANGED else Augmentation(job, count)


def augmented(images: Tensor, numbers: Tensor, how: Augment) -> Tensor:
    """Return changed images: first cut out, then mirrored and moved, then erased.

    Parameters
    ----------
    images : (n, C, H, W)
    numbers : (n, NUMBERS), from 0 to below 1
    how : what is done
    """
    if how.crop < 1 or how.flip or how.shift:
        images = _seen(images, numbers, how)
    return _erased(images, numbers, how.erase) if how.erase else images


def _seen(images: Tensor, numbers: Tensor, how: Augment) -> Tensor:
    """Sample each image at the places that it is now seen at; what lies outside is the pixel at the edge."""
    height, width = images.shape[2:]
    tall, wide, down, across = (torch.zeros_like(numbers[:, 0]) + one for one in (1, 1, 0, 0))
    if how.crop < 1:
        # Lengths as shares of the image's sides; its centre is 0, its edges are -1 and 1.
        area = (how.crop + (1 - how.crop) * numbers[:, CROP]) * height * width
        ratio = _between(numbers[:, CROP_RATIO], CROP_RATIOS)
        tall, wide = ((area / ratio).sqrt() / height).clamp(max=1), ((area * ratio).sqrt() / width).clamp(max=1)
        down, across = (1 - tall) * (2 * numbers[:, CROP_TOP] - 1), (1 - wide) * (2 * numbers[:, CROP_LEFT] - 1)
    if how.flip:
        wide = torch.where(numbers[:, FLIP] < 0.5, -wide, wide)
    rows = _places(tall, down, _pixels(numbers[:, DOWN], how.shift), height)
    columns = _places(wide, across, _pixels(numbers[:, ACROSS], how.shift), width)
    shape = (len(images), height, width)
    grid = torch.stack([columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)], dim=3)
    mode = "bilinear" if how.crop < 1 else "nearest"  # without a crop places are pixels
    return F.grid_sample(images, grid, mode, padding_mode="border", align_corners=False)


def _places(length: Tensor, centre: Tensor, moved: Tensor, size: int) -> Tensor:
    """Return where the pixels of one side are seen, (n, size), from -1 to 1."""
    pixels = torch.arange(size, device=length.device) - (size - 1) / 2
    return (pixels - moved[:, None]) * (2 / size) * length[:, None] + centre[:, None]


def _pixels(numbers: Tensor, most: int) -> Tensor:
    """Return a whole number from -most to most for each number."""
    return (numbers * (2 * most + 1)).floor() - most


def _between(numbers: Tensor, ends: tuple[float, float]) -> Tensor:
    """Return ratios whose logarithms are even between two ends."""
    low, high = (math.log(end) for end in ends)
    return (low + (high - low) * numbers).exp()


def _erased(images: Tensor, numbers: Tensor, share: float) -> Tensor:
    """Set a rectangle of some of the images to 0."""
    height, width = images.shape[2:]
    area = (ERASED[0] + (ERASED[1] - ERASED[0]) * numbers[:, AREA]) * height * width
    ratio = _between(numbers[:, RATIO], ERASED_RATIOS)
    rows = _stretch((area * ratio).sqrt(), numbers[:, TOP], height)
    columns = _stretch((area / ratio).sqrt(), numbers[:, LEFT], width)
    gone = rows[:, :, None] & columns[:, None, :] & (numbers[:, ERASE] < share)[:, None, None]
    return images.masked_fill(gone[:, None], 0)


def _stretch(length: Tensor, start: Tensor, size: int) -> Tensor:
    """Return which pixels of one side lie in a stretch of about that length, (n, size)."""
    whole = length.round().clamp(1, size)
    first = (start * (size + 1 - whole)).floor()
    pixels = torch.arange(size, device=length.device)
    return (pixels >= first[:, None]) & (pixels < (first + whole)[:, None])
