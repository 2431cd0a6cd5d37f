"""Folders of images: which files count, as what, and what is refused in one line."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from own_images import grey, rgb, write_flat, write_folder, write_image
from PIL import Image
from template_cells import BASIC

from netpick import data
from netpick.core.errors import DataError
from netpick.data import DataRequest


@pytest.fixture
def root(tmp_path):
    return tmp_path / "shoes"


def request(root: Path, **more) -> DataRequest:
    return DataRequest(f"folder:{root}", "", **more)


def refusal(root: Path, where=data.load, **more) -> str:
    with pytest.raises(DataError) as caught:
        where(request(root, **more))
    said = str(caught.value)
    assert "\n" not in said
    return said


def test_train_and_test_are_read_as_torchvision_reads_them(root):
    written = write_folder(root, ("boot", "bag", "hat"))
    dataset = data.load(request(root))
    from netpick.core.torchvision_import import torchvision_datasets

    for part, count in (("train", 18), ("test", 9)):
        split = dataset.split(part)
        theirs = torchvision_datasets().ImageFolder(str(root / part))
        assert dataset.classes == tuple(theirs.classes) == ("bag", "boot", "hat")
        assert list(split.labels) == theirs.targets
        assert len(split) == count
        for i, (path, _) in enumerate(theirs.samples):
            np.testing.assert_array_equal(split.pixels[i, 0], written[str(Path(path).relative_to(root))])
        assert list(split.index) == list(range(count))
    assert dataset.shape == (1, 6, 5)
    assert data.describe(request(root)) == data.DataInfo(f"folder:{root}", (1, 6, 5), ("bag", "boot", "hat"), 18, 9)
    pixels = dataset.split("train").pixels / 255
    assert (dataset.mean[0], dataset.std[0]) == (pytest.approx(pixels.mean()), pytest.approx(pixels.std()))


def test_without_a_test_part_a_fifth_is_split_off_by_the_seed(root):
    write_flat(root, {"a": 20, "b": 50, "c": 7})
    found = data.load(request(root, seed=4))
    train, test = found.split("train"), found.split("test")
    assert (len(train), len(test)) == (62, 15)  # 0.2 × 77 = 15.4
    assert sorted([*train.index, *test.index]) == list(range(77))
    assert list(np.bincount(test.labels)) == [4, 10, 1]  # 3.9, 9.7, 1.4
    np.testing.assert_array_equal(test.labels, np.repeat([0, 1, 2], [20, 50, 7])[test.index])
    again, other = data.load(request(root, seed=4)), data.load(request(root, seed=5))
    np.testing.assert_array_equal(test.index, again.split("test").index)
    assert list(other.split("test").index) != list(test.index)
    info = data.describe(request(root, seed=4))
    assert (info.train_count, info.test_count) == (62, 15)
    some = request(root, seed=4, classes=("c", "a"))
    assert data.describe(some).train_count == len(data.load(some).split("train")) == 22


def test_a_class_may_be_called_train(root):
    write_flat(root, {"car": 3, "train": 3})
    assert data.load(request(root)).classes == ("car", "train")


def test_hidden_files_and_other_files_are_passed_over_and_links_followed(root, tmp_path):
    write_folder(root)
    (root / "train/bag/.0.png").write_bytes(b"hidden")
    (root / "train/bag/._1.png").write_bytes(b"hidden")
    (root / "train/bag/Thumbs.db").write_bytes(b"no image")
    (root / "train/notes.txt").write_text("no folder")
    (root / "train/.git").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "train/bag/empty").mkdir()
    elsewhere = write_image(tmp_path / "elsewhere/z.png", grey(77))
    (root / "train/bag/z.png").symlink_to(elsewhere)
    (root / "train/linked").symlink_to(root / "train/boot")
    split = data.load(request(root)).split("train")
    assert list(np.bincount(split.labels)) == [7, 6, 6]
    np.testing.assert_array_equal(split.pixels[6, 0], grey(77))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda root: None, "the folder is not there"),
        (lambda root: root.write_text("x"), "the folder is a file"),
        (lambda root: root.mkdir(), "has no folders of classes, wanted two or more"),
        (lambda root: write_image(root / "0.png", grey(0)), "has no folders of classes"),
        (lambda root: write_flat(root, {"one": 5}), "has one class only, 'one', wanted two or more"),
        (lambda root: write_folder(root, ("one",)), "has one class only, 'one'"),
        (lambda root: write_flat(root / "train", {"a": 2, "b": 2}), "has a folder train/ and no test/"),
        (lambda root: write_flat(root / "test", {"a": 2, "b": 2}), "has a folder test/ and no train/"),
        (lambda root: write_flat(root, {"a": 1, "b": 5}), "class 'a' has 1 image, wanted 2 or more to split"),
        (
            lambda root: (write_flat(root / "train", {"a": 2, "b": 2}), write_flat(root / "test", {"a": 1, "c": 1})),
            "test/ has classes that train/ lacks: c",
        ),
        (
            lambda root: (write_folder(root), [p.unlink() for p in (root / "train/bag").iterdir()]),
            "class 'bag' has 0 images, wanted 1 or more to train on",
        ),
        (
            lambda root: (write_folder(root), [p.unlink() for p in (root / "test").rglob("*.png")]),
            "test/ has no images",
        ),
        (
            lambda root: (write_flat(root / "training", {"a": 2, "b": 2}), write_flat(root / "val", {"a": 2, "b": 2})),
            "is a folder inside that of a class",
        ),
    ],
)
def test_another_layout_is_refused(root, make, says):
    make(root)
    if not root.exists():
        with pytest.raises(DataError, match="is not there: looked for"):
            data.load(request(root))
        return
    assert says in refusal(root)
    assert says in refusal(root, data.describe)


def test_too_many_classes(root):
    for i in range(1001):
        (root / f"{i}").mkdir(parents=True)
    assert "has 1001 classes, the most is 1000" in refusal(root)


def test_images_of_several_sizes_are_refused_or_brought_to_one(root):
    write_folder(root)
    write_image(root / "train/boot/9.png", grey(9, 12, 10))
    for where in (data.load, data.describe):
        said = refusal(root, where)
        assert "images of 2 sizes: train/bag/0.png is 6×5, train/boot/9.png is 12×10 (height × width)" in said
        assert "--image-size" in said
    dataset = data.load(request(root, image_size=(6, 5)))
    assert dataset.shape == data.describe(request(root, image_size=(6, 5))).shape == (1, 6, 5)
    np.testing.assert_array_equal(dataset.split("train").pixels[0, 0], grey(1000))  # of that size already
    wanted = np.asarray(Image.fromarray(grey(9, 12, 10)).resize((5, 6), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(dataset.split("train").pixels[-1, 0], wanted)


def test_grey_and_colour_together_are_refused_or_converted(root):
    write_folder(root)
    write_image(root / "train/boot/9.png", rgb(9))
    for where in (data.load, data.describe):
        said = refusal(root, where)
        assert "train/bag/0.png is of mode L, train/boot/9.png of mode RGB; give --color grey or --color rgb" in said
    one, three = data.load(request(root, color="grey")), data.load(request(root, color="rgb"))
    assert (one.shape, three.shape) == ((1, 6, 5), (3, 6, 5))
    for channel in range(3):
        np.testing.assert_array_equal(three.split("train").pixels[0, channel], grey(1000))
    # ITU-R 601-2 luma, as Pillow documents it
    luma = rgb(9) @ np.array([299, 587, 114]) / 1000
    assert np.abs(one.split("train").pixels[-1, 0] - luma).max() <= 1
    np.testing.assert_array_equal(three.split("train").pixels[-1], rgb(9).transpose(2, 0, 1))


def test_unreadable_images_are_named_counted_and_left_out_on_request(root):
    write_folder(root)
    (root / "train/bag/0.png").write_bytes(b"no image at all")
    whole = (root / "train/boot/2.png").read_bytes()
    (root / "train/boot/2.png").write_bytes(whole[: len(whole) - 30])  # its header is good
    (root / "test/boot/gone.png").symlink_to(root / "nowhere.png")
    said = refusal(root, data.describe)
    assert "2 of 19 images can't be read: train/bag/0.png (not an image that Pillow knows), " in said
    assert "test/boot/gone.png (No such file or directory)" in said
    assert said.endswith("--skip-unreadable to leave them out")
    assert "2 of 19 images can't be read" in refusal(root)
    heard = []
    dataset = data.load(request(root, skip_unreadable=True), report=lambda *one: heard.append(one))
    assert list(dataset.split("train").index) == [i for i in range(12) if i not in (0, 8)]
    assert list(np.bincount(dataset.split("train").labels)) == [5, 5]
    np.testing.assert_array_equal(dataset.split("train").pixels[0, 0], grey(1001))
    assert len(dataset.split("test")) == 6
    assert heard[-1] == ("left out 3 images that can't be read, train/bag/0.png first", 0, 0)
    (root / "train/bag/0.png").unlink()
    (root / "test/boot/gone.png").unlink()
    assert "1 of 17 images can't be read: train/boot/2.png (" in refusal(root)  # found when decoding


def test_a_class_of_nothing_but_unreadable_images(root):
    write_folder(root)
    for path in (root / "train/bag").iterdir():
        path.write_bytes(b"broken")
    assert "class 'bag' has 0 images" in refusal(root, skip_unreadable=True)
    for path in root.rglob("*.png"):
        path.write_bytes(b"broken")
    assert "18 of 18 images can't be read" in refusal(root, skip_unreadable=True)


def test_a_decompression_bomb_is_one_line(root, monkeypatch):
    write_folder(root)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    write_image(root / "train/bag/large.png", grey(0, 11, 11))  # Pillow warns
    write_image(root / "train/bag/larger.png", grey(0, 20, 11))  # Pillow raises
    said = refusal(root, data.describe)
    assert "2 of 20 images can't be read: train/bag/large.png (more than 100 pixels), train/bag/larger.png (" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_folder_that_cannot_be_looked_into(root):
    write_folder(root)
    (root / "train/bag").chmod(0)
    try:
        assert "can't be looked into" in refusal(root)
    finally:
        (root / "train/bag").chmod(0o755)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"color": "gray"}, "color is 'gray' (did you mean 'grey'?): give one of auto, grey, rgb"),
        ({"image_size": (0, 5)}, "image_size is [0, 5]: give height and width from 1 to 4096"),
        ({"image_size": (28, 10**6)}, "from 1 to 4096"),
    ],
)
def test_options_are_checked(root, options, says):
    with pytest.raises(DataError) as caught:
        request(root, **options)
    assert says in str(caught.value)


def test_options_of_folders_are_for_folders():
    for name in ("mnist", "npz:x.npz"):
        for options in ({"image_size": (8, 8)}, {"color": "rgb"}, {"skip_unreadable": True}):
            with pytest.raises(DataError, match=r"are for folder:PATH, the data set is"):
                DataRequest(name, "", **options)
    for name in ("folder:", "npz:", "fodler:x", ":x", "zip:x"):
        with pytest.raises(DataError, match="unknown data set"):
            DataRequest(name, "")


# What lies in a folder may be anyone's


def test_only_regular_files_are_opened(root):
    write_folder(root)
    os.mkfifo(root / "train/bag/pipe.png")
    (root / "train/boot/zero.png").symlink_to("/dev/zero")
    (root / "test/bag/loop.png").symlink_to("loop.png")
    said = refusal(root, data.describe)
    assert "3 of 21 images can't be read: train/bag/pipe.png (not a regular file but a pipe: " in said
    assert "train/boot/zero.png (not a regular file)" in said
    assert "test/bag/loop.png (Too many levels of symbolic links)" in said
    dataset = data.load(request(root, skip_unreadable=True))
    assert (len(dataset.split("train")), len(dataset.split("test")), dataset.left_out) == (12, 6, 3)


def test_a_file_is_no_larger_than_decoders_may_read(root):
    write_folder(root)
    with (root / "train/bag/0.png").open("r+b") as file:
        file.truncate(2**28 + 1)
    assert "train/bag/0.png (larger than 268,435,456 bytes)" in refusal(root, data.describe)


def test_a_name_does_not_decide_which_decoder_sees_a_file(root, tmp_path, monkeypatch):
    write_folder(root)
    for name in ("gs", "gswin32c"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    page = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 6\n%%EndComments\nshowpage\n"
    (root / "train/bag/0.png").write_text(page)
    Image.fromarray(grey(3)).save(root / "train/bag/1.png", "GIF")
    said = refusal(root)
    assert "2 of 18 images can't be read: train/bag/0.png (not an image that Pillow knows), train/bag/1.png" in said
    for suffix, kind in ((".jpg", "JPEG"), (".ppm", "PPM"), (".bmp", "BMP"), (".tif", "TIFF"), (".webp", "WEBP")):
        Image.fromarray(rgb(1)).save(root / f"train/bag/2{suffix}", kind)
    assert "2 of 23 images" in refusal(root, color="grey")
    assert not (tmp_path / "called").exists()


def test_names_that_no_text_file_can_hold_are_refused(root, tmp_path):
    write_folder(root, ("bag", "boot"))
    for part in ("train", "test"):
        os.rename(root / part / "boot", os.fsencode(root / part) + b"/\xff\xfe")
    for where in (data.describe, data.load):
        assert "the class '\udcff\udcfe' is not UTF-8: give it another name" in refusal(root, where)
    for part in ("train", "test"):
        os.rename(os.fsencode(root / part) + b"/\xff\xfe", root / part / "boot")
    os.rename(root / "train/bag/0.png", os.fsencode(root / "train/bag") + b"/\xff.png")  # files are not written down
    assert len(data.load(request(root)).split("train")) == 12
    os.rename(root, os.fsencode(tmp_path) + b"/\xff")
    assert "is not UTF-8: give it another name" in refusal(tmp_path / "\udcff")


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x", "~nobody/x", "x" * 300, "a/" * 3000, "a\0b"])
def test_paths_that_lead_nowhere_are_one_line(name):
    assert "is not there: looked for" in refusal(Path(name) if "/" not in name else name)


def test_images_that_memory_has_no_room_for_are_told_before_there_is_a_run(root, monkeypatch):
    from netpick.sessions.generate import generate_run

    write_folder(root)
    (root.parent / "t.toml").write_text(f'title = "t"\n{BASIC}')
    wanted = {"name": str(root.parent / "t.toml"), "dataset": f"folder:{root}"}
    assert generate_run(**wanted, folder=root.parent / "small", overrides=["image_size=8"]).notes == ()
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2**30))
    made = generate_run(**wanted, folder=root.parent / "large", overrides=["image_size=4096", "color=grey"])
    assert made.notes == (
        "18 images of 1×4096×4096 take 1.4 GiB of memory, 1.0 are free here: to train on this machine give a smaller"
        " --image-size",
    )


def test_by_class_a_folder_is_in_the_order_of_its_listing(root):
    write_flat(root, {"a": 15, "b": 5})
    usual, by_class = (data.load(request(root, by_class=value)).split("train") for value in (False, True))
    assert list(by_class.index) == list(usual.index)
    assert list(by_class.labels) == sorted(usual.labels)
    np.testing.assert_array_equal(by_class.pixels, usual.pixels)
