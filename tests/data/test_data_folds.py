"""The training samples cut into folds by what they show, whatever the order of the files."""

import numpy as np
import pytest

from netpick.core.errors import DataError
from netpick.data import DataRequest, load, sample_rows
from netpick.data.folds import folds_of
from netpick.data.samples import Split
from netpick.data.shared import attach, prepare

CLASSES = ("cat", "dog", "emu")


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (100, 1, 4, 5), dtype=np.uint8)
    labels = np.repeat([0, 1, 2], [47, 30, 23])
    pixels[10] = pixels[3]  # twice in one class
    pixels[60] = pixels[5]  # once with another label
    return Split(pixels, labels, np.arange(100, dtype=np.int32))


def test_each_fold_has_its_share_of_each_class(split):
    fold = folds_of(split, 5, CLASSES)
    assert fold.dtype == np.int8
    for c, count in enumerate([47, 30, 23]):
        sizes = np.bincount(fold[split.labels == c], minlength=5)
        assert sizes.sum() == count
        assert np.ptp(sizes) <= 2  # within one, but for images that are there twice
    assert np.ptp(np.bincount(fold, minlength=5)) <= 2


def test_equal_images_are_in_one_fold_even_with_other_labels(split):
    for folds in (2, 5, 9):
        fold = folds_of(split, folds, CLASSES)
        assert fold[10] == fold[3]
        assert fold[60] == fold[5]


def test_the_order_of_the_files_is_all_the_same(split):
    order = np.random.default_rng(0).permutation(100)
    assert np.array_equal(folds_of(split.take(order), 5, CLASSES), folds_of(split, 5, CLASSES)[order])


def test_float_pixels_are_cut_as_well(split):
    as_float = Split(split.pixels / np.float32(255), split.labels, split.index, 1)
    assert np.ptp(np.bincount(folds_of(as_float, 5, CLASSES))) <= 2


def test_more_folds_than_different_images_of_a_class_are_refused(split):
    assert len(np.unique(folds_of(split, 23, CLASSES))) == 23
    with pytest.raises(DataError, match="folds is 24: class 'emu' has 23 different images"):
        folds_of(split, 24, CLASSES)


@pytest.mark.parametrize("folder", ["cache", None], ids=["mapped", "loaded"])
def test_workers_get_the_folds_and_no_copy_of_the_images(tmp_path, folder):
    request = DataRequest("digits", str(tmp_path), train_samples=200, validation=0.1, folds=4)
    shared = prepare(request, folder and tmp_path / folder)
    arrays, dataset = attach(shared), load(request)
    assert set(arrays) == {"test", "validation", "train"}
    assert np.array_equal(arrays.folds, dataset.folds)
    assert np.array_equal(arrays.evaluated_labels["left_out"], arrays["train"][1])
    assert set(arrays.evaluated_labels) == {"test", "validation", "left_out"}
    assert attach(prepare(DataRequest("digits", str(tmp_path)), None)).folds is None


def test_rows_of_what_is_left_out_say_their_fold(tmp_path):
    dataset = load(DataRequest("digits", str(tmp_path), train_samples=100, folds=3))
    rows = list(sample_rows(dataset, ["test", "left_out"]))
    left_out = [row for row in rows if row["split"] == "left_out"]
    assert [row["sample"] for row in left_out] == list(range(100))
    assert [row["fold"] for row in left_out] == dataset.folds.tolist()
    assert [row["index"] for row in left_out] == dataset.split("train").index.tolist()
    assert {row.get("fold") for row in rows if row["split"] == "test"} == {None}
