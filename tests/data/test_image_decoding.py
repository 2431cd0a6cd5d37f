"""Pixels of images: each kind of image becomes what a person sees, decoded once and kept until a file changes."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple

import numpy as np
import pytest
from own_images import grey, rgb, write_folder, write_image
from PIL import Image

from netpick import data
from netpick.core.errors import DataError
from netpick.core.image_file import UnreadableError
from netpick.data import DataRequest, image_decoding
from netpick.data.shared import attach, prepare


def decode(path, channels=1, height=6, width=5):
    return image_decoding.decode_image(path, (channels, height, width))


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    values = np.array([[0, 128, 129, 257], [32767, 32768, 65406, 65535]], np.uint16)
    path = write_image(tmp_path / "deep.png", values)
    # 257 = 65535 / 255 is one step; 128 lies below and 129 above half of it.
    np.testing.assert_array_equal(decode(path, 1, 2, 4)[0], [[0, 0, 1, 1], [127, 128, 254, 255]])
    np.testing.assert_array_equal(decode(path, 3, 2, 4)[2], [[0, 0, 1, 1], [127, 128, 254, 255]])


def test_what_is_transparent_becomes_white(tmp_path):
    pixels = np.zeros((1, 3, 4), np.uint8)  # black ink: none, half and all of it
    pixels[0, :, 3] = 0, 128, 255
    path = write_image(tmp_path / "ink.png", pixels)
    np.testing.assert_array_equal(decode(path, 1, 1, 3)[0, 0], [255, 127, 0])
    np.testing.assert_array_equal(decode(path, 3, 1, 3)[:, 0, 0], [255, 255, 255])
    Image.fromarray(pixels[..., 2:]).save(tmp_path / "la.png")
    np.testing.assert_array_equal(decode(tmp_path / "la.png", 1, 1, 3)[0, 0], [255, 127, 0])


def test_palettes_become_colours(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 9, 8, 7])
    image.save(tmp_path / "p.png")
    np.testing.assert_array_equal(decode(tmp_path / "p.png", 3, 1, 3)[:, 0].T, [[255, 0, 0], [0, 255, 0], [9, 8, 7]])
    image.save(tmp_path / "clear.png", transparency=2)
    assert list(decode(tmp_path / "clear.png", 3, 1, 3)[:, 0, 2]) == [255, 255, 255]


def test_black_and_white_of_one_bit(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(decode(tmp_path / "bit.png", 1, 1, 2)[0], [[255, 0]])


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_images_are_turned_as_their_exif_says(tmp_path, suffix):
    upright = np.zeros((16, 8), np.uint8)
    upright[:8] = 255  # the upper half is white
    lying = Image.fromarray(np.rot90(upright).copy())  # orientation 6: to be turned by 90° clockwise
    exif = Image.Exif()
    exif[0x0112] = 6
    root = tmp_path / "all"
    for part in ("train", "test"):
        for name in "ab":
            (root / part / name).mkdir(parents=True)
            lying.convert("RGB").save(root / part / name / f"0.{suffix}", exif=exif)
    request = DataRequest(f"folder:{root}", "", color="grey")
    assert data.describe(request).shape == (1, 16, 8)
    pixels = data.load(request).split("train").pixels[0, 0].astype(int)
    assert np.abs(pixels - upright).mean() < 5  # JPEG and WebP lose a little


def test_pixels_without_a_known_range_are_unreadable(tmp_path):
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(np.ones((2, 2), np.int32)).save(tmp_path / "int.tif")
    for name in ("float.tif", "int.tif"):
        with pytest.raises(UnreadableError, match="no known range"):
            decode(tmp_path / name, 1, 2, 2)


def test_a_size_that_the_header_did_not_say(tmp_path):
    path = write_image(tmp_path / "a.png", grey(0, 3, 4))
    with pytest.raises(UnreadableError, match="is 3×4, the others are 6×5"):
        decode(path)


@pytest.fixture
def root(tmp_path):
    write_folder(tmp_path / "shoes", make=rgb)
    return tmp_path / "shoes"


@pytest.fixture
def counted(monkeypatch):
    """Count how many images are decoded."""
    calls = []
    decode = image_decoding.decode_image
    monkeypatch.setattr(image_decoding, "decode_image", lambda *args: calls.append(args) or decode(*args))
    return calls


def same(a, b):
    for name in a.splits:
        np.testing.assert_array_equal(a.split(name).pixels, b.split(name).pixels)
        np.testing.assert_array_equal(a.split(name).labels, b.split(name).labels)
        np.testing.assert_array_equal(a.split(name).index, b.split(name).index)


def test_images_are_decoded_once_with_progress(root, tmp_path, counted):
    kept, heard = tmp_path / "kept", []
    request = DataRequest(f"folder:{root}", "")
    first = data.load(request, kept, lambda *one: heard.append(one))
    assert len(counted) == 18
    assert heard == [("decoding images", 18, 18)]
    again = data.load(request, kept, lambda *one: heard.append(one))
    assert (len(counted), len(heard)) == (18, 1)
    same(first, again)
    data.load(DataRequest(f"folder:{root}", "", seed=3, validation=0.25), kept)
    assert len(counted) == 18  # which samples are for what has nothing to do with decoding
    data.load(DataRequest(f"folder:{root}", "", color="grey"), kept)
    assert len(counted) == 36
    assert len([p for p in kept.iterdir() if not p.name.startswith(".")]) == 2


@pytest.mark.parametrize("change", ["content", "new", "gone", "renamed"])
def test_a_changed_folder_is_noticed(root, tmp_path, counted, change):
    kept = tmp_path / "kept"
    request = DataRequest(f"folder:{root}", "")
    shared = prepare(request, tmp_path / "cache", kept)
    file = root / "train/bag/3.png"
    if change == "content":
        size, times = file.stat().st_size, file.stat()
        write_image(file, rgb(12345))
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + (size == file.stat().st_size)))
    elif change == "new":
        write_image(root / "train/bag/new.png", rgb(5))
    elif change == "gone":
        file.unlink()
    else:
        file.rename(file.with_name("33.png"))
    before = len(counted)
    other = prepare(request, tmp_path / "cache", kept)
    assert len(counted) > before
    assert (other.digest != shared.digest) == (change != "renamed")  # 33 stands where 3 stood: the same samples
    assert len([p for p in kept.iterdir() if not p.name.startswith(".")]) == 1  # those of the older files are gone
    attach.cache_clear()


@pytest.mark.parametrize("damage", ["pixels", "bit", "list", "half"])
def test_kept_pixels_that_are_damaged_are_decoded_again(root, tmp_path, counted, damage):
    kept = tmp_path / "kept"
    request = DataRequest(f"folder:{root}", "")
    first = data.load(request, kept)
    (place,) = kept.iterdir()
    if damage == "pixels":
        (place / "pixels.npy").write_bytes((place / "pixels.npy").read_bytes()[:-9])
    elif damage == "bit":
        flip(place / "pixels.npy")
    elif damage == "list":
        (place / "images.json").write_text("{")
    else:
        (place / "images.json").unlink()
    same(first, data.load(request, kept))
    assert len(counted) == 36
    data.load(request, kept)
    assert len(counted) == 36


def flip(file):
    """Turn one bit of the last byte, as a disk does."""
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)


def test_inputs_that_are_damaged_are_made_again(root, tmp_path):
    request = DataRequest(f"folder:{root}", "")
    prepare(request, tmp_path / "cache")
    written = {file: file.read_bytes() for file in (tmp_path / "cache").glob("*-inputs.npy")}
    assert len(written) == 2
    for file, right in written.items():
        flip(file)
        prepare(request, tmp_path / "cache")
        assert file.read_bytes() == right


def test_what_a_killed_process_left_of_its_pixels_is_removed(root, tmp_path):
    kept = tmp_path / "kept"
    request = DataRequest(f"folder:{root}", "")
    first = data.load(request, kept)
    (place,) = kept.iterdir()
    left, other = kept / f".{place.name}.1.tmp", kept / ".0123-4567.1.tmp"
    place.rename(left)
    other.mkdir()
    same(first, data.load(request, kept))
    assert sorted(kept.iterdir()) == sorted([place, other])


def test_where_nothing_can_be_kept_all_goes_on(root, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert len(data.load(DataRequest(f"folder:{root}", ""), tmp_path / "file").split("train")) == 12


def test_images_that_do_not_fit_into_memory(root, monkeypatch):
    free = namedtuple("free", "available")
    monkeypatch.setattr("psutil.virtual_memory", lambda: free(5 * 18 * 3 * 6 * 5 - 1))
    with pytest.raises(DataError, match=r"18 images of 3×6×5 take 0.0 GiB of memory, 0.0 are free: give a smaller"):
        data.load(DataRequest(f"folder:{root}", ""))
    monkeypatch.setattr("psutil.virtual_memory", lambda: free(5 * 18 * 3 * 6 * 5))
    assert data.load(DataRequest(f"folder:{root}", ""))


def test_workers_map_the_same_files_and_others_find_the_folder_in_their_data_directory(root, tmp_path, monkeypatch):
    request = DataRequest(f"folder:{root}", str(tmp_path / "none"), validation=0.25)
    shared = prepare(request, tmp_path / "cache", tmp_path / "kept")
    expected = {name: data.load(request).inputs(name) for name in ("train", "validation", "test")}
    shutil.move(root, tmp_path / "other" / "shoes")  # neither is needed again by workers of this machine
    attach.cache_clear()
    for name, (inputs, _) in attach(shared).items():
        np.testing.assert_array_equal(inputs, expected[name])
    shutil.rmtree(tmp_path / "cache")
    attach.cache_clear()
    monkeypatch.setenv("NETPICK_DATA", str(tmp_path / "other"))
    for name, (inputs, _) in attach(shared).items():
        np.testing.assert_array_equal(inputs, expected[name])
    attach.cache_clear()
