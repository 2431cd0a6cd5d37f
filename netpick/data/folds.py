"""The training samples cut into folds by what they show: a function of pixels and labels alone, whatever their order.

Images that are equal are in one fold, even with different labels: else a network would have learned what it is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from netpick.core.errors import DataError
from netpick.data.samples import Split


def folds_of(split: Split, folds: int, classes: Sequence[str]) -> np.ndarray:
    """Return the fold of each sample, int8, from 0.

    Within a class, images are in the order of a hash of their pixels, and folds are dealt out in turn, from class to
    class: each fold has the same number of different images of a class, and in all, within one.

    Raises
    ------
    DataError
        There are more folds than different images of a class.
    """
    hashes = np.array([hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in split.pixels], "V16")
    images, which = np.unique(hashes.view("u8").reshape(-1, 2), axis=0, return_inverse=True)
    which = which.reshape(-1)
    label = np.full(len(images), len(classes))
    np.minimum.at(label, which, split.labels)  # of equal images with different labels the first class
    counts = np.bincount(label, minlength=len(classes))
    there = np.flatnonzero(counts)
    least = there[counts[there].argmin()]
    if folds > counts[least]:
        raise DataError(
            f"folds is {folds}: class '{classes[least]}' has {counts[least]} different images to train on, and each "
            "fold takes one at least; give fewer folds"
        )
    fold = np.empty(len(images), np.int8)
    fold[np.argsort(label, kind="stable")] = np.arange(len(images)) % folds
    return fold[which]
