"""Arrays of one's own: which shapes are what, what is kept as it is, and what is refused in one line."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from netpick import data
from netpick.core.errors import DataError
from netpick.data import DataRequest
from netpick.data.shared import attach, prepare

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 6, 5), dtype=np.uint8)
LABELS = np.arange(30) % 3


def write(path: Path, **arrays) -> Path:
    """Write an npz file; twelve train and six test samples of three classes, but for what is given or None."""
    whole = {"x_train": IMAGES[:12], "y_train": LABELS[:12], "x_test": IMAGES[12:18], "y_test": LABELS[12:18]}
    np.savez(path, **{name: array for name, array in (whole | arrays).items() if array is not None})
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "own.npz"


def request(path, **more) -> DataRequest:
    return DataRequest(f"npz:{path}", "", **more)


def load(path, **more):
    return data.load(request(path, **more))


def test_arrays_are_taken_as_they_are(path):
    dataset = load(write(path))
    assert (dataset.shape, dataset.classes) == ((1, 6, 5), ("0", "1", "2"))
    for part, span in (("train", slice(0, 12)), ("test", slice(12, 18))):
        np.testing.assert_array_equal(dataset.split(part).pixels, IMAGES[span, None])
        np.testing.assert_array_equal(dataset.split(part).labels, LABELS[span])
        assert list(dataset.split(part).index) == list(range(span.stop - span.start))
    assert dataset.split("train").pixels.dtype == np.uint8
    assert data.describe(request(path)) == data.DataInfo(f"npz:{path}", (1, 6, 5), ("0", "1", "2"), 12, 6)
    assert dataset.mean == (pytest.approx(IMAGES[:12].mean() / 255),)


def test_without_a_test_part_a_fifth_is_split_off(path):
    dataset = load(write(path, x_train=IMAGES, y_train=LABELS, x_test=None, y_test=None), seed=1)
    train, test = dataset.split("train"), dataset.split("test")
    assert sorted([*train.index, *test.index]) == list(range(30))
    assert list(np.bincount(test.labels)) == [2, 2, 2]
    np.testing.assert_array_equal(test.pixels, IMAGES[test.index, None])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_layout_is_worked_out_or_asked_for(tmp_path_factory, data_):
    n, h, w = (data_.draw(st.integers(1, 6), label) for label in "nhw")
    c = data_.draw(st.sampled_from([1, 3]), "c")
    layout = data_.draw(st.sampled_from(["NHWC", "NCHW"]), "layout")
    told = data_.draw(st.booleans(), "told")
    images = np.random.default_rng(n).integers(0, 256, (2 * n, c, h, w), dtype=np.uint8)
    given = images if layout == "NCHW" else images.transpose(0, 2, 3, 1)
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    labels = np.arange(2 * n) % 2
    write(path, x_train=given, x_test=given, y_train=labels, y_test=labels, layout=layout if told else None)
    if told or not (given.shape[1] in (1, 3) and given.shape[3] in (1, 3)):
        np.testing.assert_array_equal(load(path).split("train").pixels, images)
    else:
        with pytest.raises(DataError, match="the channels may come first or last; say which with an array 'layout'"):
            load(path)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64])
def test_other_numbers_are_kept_as_float32(path, dtype):
    values = (IMAGES.astype(float) * 4 - 300).astype(dtype)
    dataset = load(write(path, x_train=values[:12], x_test=values[12:18]))
    train = dataset.split("train")
    assert (train.pixels.dtype, train.pixel_max) == (np.float32, 1)
    np.testing.assert_array_equal(train.pixels[:, 0], values[:12].astype(np.float32))
    assert dataset.mean[0] == pytest.approx(values[:12].astype(float).mean())
    assert dataset.std[0] == pytest.approx(values[:12].astype(float).std())
    inputs = dataset.inputs("test")
    assert (inputs.dtype, inputs.flags["C_CONTIGUOUS"]) == (np.float32, True)
    np.testing.assert_allclose(
        inputs, (values[12:18, None].astype(float) - dataset.mean[0]) / dataset.std[0], atol=1e-5
    )
    np.testing.assert_array_equal(load(path, normalize="unit").inputs("test")[:, 0], values[12:18].astype(np.float32))


def test_whole_numbers_up_to_255_are_pixels_of_any_type(path):
    dataset = load(write(path, x_train=IMAGES[:12].astype(np.int64), x_test=IMAGES[12:18].astype(np.uint16)))
    np.testing.assert_array_equal(dataset.split("test").pixels[:, 0], IMAGES[12:18])
    assert dataset.split("test").pixels.dtype == np.uint8
    bits = IMAGES > 100
    dataset = load(write(path, x_train=bits[:12], x_test=bits[12:18]), normalize="unit")
    np.testing.assert_array_equal(dataset.inputs("test")[:, 0], bits[12:18].astype(np.float32))
    assert pixels_of(dataset) == pytest.approx(255.0 * bits[12:18].astype(float))


def pixels_of(dataset) -> np.ndarray:
    rows = data.sample_rows(dataset, ["test"])
    return np.array([np.asarray(Image.open(io.BytesIO(row["image"]))) for row in rows], float)


@pytest.mark.parametrize(
    ("low", "high", "black", "white"), [(0, 1, 0, 1), (0, 200, 0, 255), (-3, 5, -3, 5), (10, 900, 10, 900)]
)
def test_floating_point_images_are_shown_between_black_and_white(path, low, high, black, white):
    values = low + (high - low) * (IMAGES[:18].astype(float) - IMAGES[:18].min()) / np.ptp(IMAGES[:18])
    shown = pixels_of(load(write(path, x_train=values[:12], x_test=values[12:])))
    assert np.abs(shown - 255 * (values[12:] - black) / (white - black)).max() <= 0.51


def test_rows_of_numbers_are_images_of_one_row(path):
    flat = IMAGES.reshape(30, 30) / 7.0
    dataset = load(write(path, x_train=flat[:12], x_test=flat[12:18]))
    assert dataset.shape == (1, 1, 30)
    np.testing.assert_allclose(dataset.split("train").pixels[:, 0, 0], flat[:12], rtol=1e-6)
    assert pixels_of(dataset).shape == (6, 1, 30)


def test_classes_have_names(path):
    names = np.array(["boot", "bag", "hat"])
    dataset = load(write(path, classes=names))
    assert dataset.classes == ("boot", "bag", "hat")
    np.testing.assert_array_equal(dataset.split("test").labels, LABELS[12:18])
    by_name = load(write(path, y_train=names[LABELS[:12]], y_test=names[LABELS[12:18]]))
    assert by_name.classes == ("bag", "boot", "hat")
    assert [by_name.classes[label] for label in by_name.split("test").labels] == list(names[LABELS[12:18]])
    in_order = load(write(path, y_train=names[LABELS[:12]], y_test=names[LABELS[12:18]], classes=names))
    np.testing.assert_array_equal(in_order.split("test").labels, LABELS[12:18])
    some = load(path, classes=("hat", 0))
    assert some.classes == ("hat", "boot")
    assert data.describe(request(path, classes=("hat", 0))).train_count == len(some.split("train")) == 8


def test_columns_and_floating_point_labels_are_labels(path):
    dataset = load(write(path, y_train=LABELS[:12, None].astype(float), y_test=LABELS[12:18].astype(np.uint8)))
    np.testing.assert_array_equal(dataset.split("train").labels, LABELS[:12])
    assert dataset.split("train").labels.dtype == np.int64


NAN = np.where(np.arange(12 * 30).reshape(12, 6, 5) == 100, np.nan, 0.5)
FLOATS = np.full((6, 6, 5), 0.5)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x_train": None}, "lacks x_train; it holds x_test, y_test, y_train; wanted are x_train, y_train"),
        ({"y_train": None, "ytrain": LABELS[:12]}, "lacks y_train (did you mean 'ytrain'?)"),
        ({"x_test": None}, "has y_test and no x_test"),
        ({"y_test": None}, "has x_test and no y_test"),
        ({"y_train": LABELS[:11]}, "x_train has 12 samples and y_train 11: give as many of each"),
        ({"x_test": IMAGES[:0], "y_test": LABELS[:0]}, "x_test is empty: there is nothing to test on"),
        ({"x_train": IMAGES[:0], "y_train": LABELS[:0]}, "x_train is empty: there is nothing to train on"),
        ({"y_train": LABELS[:12] * 0}, "y_test has labels from 0 to 2, wanted 0 to 0 by y_train"),
        ({"y_train": LABELS[:12] * 0, "y_test": LABELS[:6] * 0}, "has one class only, '0': wanted two or more"),
        ({"y_train": LABELS[:12] - 1}, "y_train has labels from -1 to 1"),
        ({"y_test": LABELS[:6] + 1}, "y_test has labels from 1 to 3, wanted 0 to 2 by y_train"),
        ({"classes": ["a", "b"]}, "y_train has labels from 0 to 2, wanted 0 to 1 by the names in classes"),
        ({"classes": list("abcd")}, "class 3 ('d') has 0 samples in y_train, wanted 1 or more"),
        ({"classes": ["a", "b", "a"]}, "classes names 'a' twice"),
        ({"y_train": LABELS[:12] + 1, "y_test": LABELS[:6] + 1}, "class 0 ('0') has 0 samples in y_train"),
        ({"y_train": LABELS[:12] * 900}, "y_train has labels up to 1800, for 1801 classes; the most is 1000"),
        ({"classes": [f"class {i}" for i in range(1001)]}, "has 1001 classes, the most is 1000: leave some out"),
        (
            {"y_train": [f"label {i}" for i in range(1001)], "x_train": np.zeros((1001, 6, 5), np.uint8)}
            | {"y_test": [f"label {i}" for i in range(6)]},
            "has 1001 classes, the most is 1000: leave some out",
        ),
        ({"y_train": LABELS[:12] / 2}, "y_train has 4 labels that are no whole numbers, such as 0.5 of sample 1"),
        ({"y_train": np.where(LABELS[:12], np.nan, 0)}, "8 labels that are no whole numbers, such as nan of sample 1"),
        ({"y_train": np.eye(3)[LABELS[:12]]}, "y_train has the shape (12, 3): wanted one label a sample"),
        ({"y_train": LABELS[:12].astype(complex)}, "y_train is of type complex128: wanted whole numbers"),
        ({"y_train": np.array(list("abc"))[LABELS[:12]]}, "y_train is of type <U1: wanted whole numbers"),
        (
            {"y_train": np.array(list("abc"))[LABELS[:12]], "y_test": np.array(list("abd"))[LABELS[:6]]},
            "y_test has labels that y_train lacks: d",
        ),
        ({"x_train": NAN, "x_test": FLOATS}, "no numbers (NaN or infinite) in 1 of 12 samples, sample 3 first"),
        ({"x_train": FLOATS.repeat(2, 0), "x_test": FLOATS * np.inf}, "x_test has pixels that are no numbers"),
        ({"x_train": FLOATS.repeat(2, 0) * 1e300, "x_test": FLOATS}, "x_train has pixels that are no numbers"),
        ({"x_test": FLOATS}, "x_train is of type uint8, x_test is of type float64: give both in one type"),
        ({"x_train": IMAGES[:12].astype(str)}, "x_train is of type <U3: wanted whole or floating point numbers"),
        ({"x_train": IMAGES[:12] * 1j}, "x_train is of type complex128"),
        ({"x_test": IMAGES[12:18, :4]}, "x_train has images of (1, 6, 5), x_test of (1, 4, 5): give both one"),
        ({"x_train": IMAGES[:12, :, :, None].repeat(4, 3)}, "shape (12, 6, 5, 4): wanted 1 or 3 channels"),
        ({"x_train": IMAGES[:12, 0, 0]}, "x_train has the shape (12,): wanted (samples, height, width)"),
        ({"x_train": IMAGES[:12, :0]}, "x_train has the shape (12, 0, 5)"),
        ({"x_train": IMAGES[:12, None, :, :, None]}, "x_train has the shape (12, 1, 6, 5, 1)"),
        ({"x_train": np.array([None] * 12)}, "x_train is of type object"),
        ({"y_train": np.array([None] * 12)}, "holds objects, which could run code when read"),
        ({"x_train": IMAGES[:12, None], "layout": "CHW"}, "layout is 'CHW', allowed are NHWC, NCHW"),
        ({"x_train": IMAGES[:12, None], "layout": "NHWC"}, "x_train has 5 channels by its layout: wanted 1 or 3"),
        (
            {"x_train": IMAGES[:4], "y_train": [0, 0, 0, 1], "x_test": None, "y_test": None},
            "class 1 ('1') has 1 samples in y_train, wanted 2 or more",
        ),
    ],
)
def test_bad_arrays_are_one_line(path, arrays, says):
    write(path, **arrays)
    with pytest.raises(DataError) as caught:
        load(path)
    said = str(caught.value)
    assert says in said
    assert said.startswith(f"npz:{path}: ")
    assert "\n" not in said
    if "no numbers" not in said:  # which only reading tells
        with pytest.raises(DataError) as caught:
            data.describe(request(path))
        assert str(caught.value) == said


def test_files_that_are_no_npz(path, tmp_path):
    def refused(says):
        for where in (load, lambda path: data.describe(request(path))):
            with pytest.raises(DataError) as caught:
                where(path)
            assert says in str(caught.value)
            assert "\n" not in str(caught.value)

    refused("is not there: looked for")
    path.mkdir()
    refused("is a folder")
    path.rmdir()
    path.write_bytes(b"")
    refused("can't be read")
    path.write_bytes(b"some text")
    refused("holds objects, which could run code")  # numpy takes anything else for a pickle
    np.save(tmp_path / "one.npy", IMAGES)
    (tmp_path / "one.npy").rename(path)
    refused("holds one array without a name")
    whole = write(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused("can't be read")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", b"not an array")
        archive.writestr("y_train.npy", b"not an array")
    refused("can't be read")


def test_a_file_that_promises_more_than_memory_holds(path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (12, 10**6, 10**9)})
    labels = io.BytesIO()
    np.save(labels, LABELS[:12])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", header.getvalue())
        archive.writestr("y_train.npy", labels.getvalue())
    with pytest.raises(DataError, match=r"does not fit into memory|can't be read"):
        load(path)


def test_floating_point_data_are_shared_and_told_apart(path, tmp_path):
    values = IMAGES / 255
    write(path, x_train=values[:12], x_test=values[12:18])
    shared = prepare(request(path), tmp_path / "cache")
    inputs, labels = attach(shared)["train"]
    np.testing.assert_array_equal(inputs, load(path).inputs("train"))
    np.testing.assert_array_equal(labels, LABELS[:12])
    write(path, x_train=values[:12] + 1e-3, x_test=values[12:18])
    other = prepare(request(path), tmp_path / "cache")
    assert other.digest != shared.digest
    attach.cache_clear()
