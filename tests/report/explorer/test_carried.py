"""Which networks travel in a page, in what form, and what a drawing is told of the run's images."""

import os
import shutil

import numpy as np
import pytest
from forward_cases import conv, norm
from safetensors.numpy import load_file, save_file

from netpick.cli.app import main
from netpick.exam import best, students
from netpick.exam.forward_pass import Passes, lowered
from netpick.exam.run import Run
from netpick.networks.paper.spec import layer
from netpick.report.explorer import pack
from netpick.report.explorer.drawing import are_inputs, form, stored_images
from netpick.report.explorer.live import carried

LARGE = 10**9


def page_bytes(blocks):
    return sum(pack.packed(block).size for block in blocks.values())


def families(run, names):
    frame = students(run).set_index("name").loc[names]
    return list(zip(frame["computation"], frame["activation"], strict=True))


def test_all_that_can_travel_do_where_there_is_room(trained):
    head, blocks, left_out = carried(Run(trained), LARGE)
    assert head["able"] == len(head["networks"]) == len(blocks["live_steps"]) == 17
    assert sorted(left_out.values()) == [["Mean"], ["Steep"]]


def test_weights_and_numbers_of_a_network_come_back_within_half_a_step(trained):
    head, blocks, _ = carried(Run(trained), LARGE)
    weights, numbers = blocks["live_weights"].view(np.int8).astype(np.float32), blocks["live_numbers"]
    passes = Passes(Run(trained))
    for name, steps in zip(head["networks"], blocks["live_steps"], strict=True):
        for packed, step in zip(steps, passes.of(name), strict=True):
            vectors = []
            for length in packed["numbers"]:
                vectors.append(numbers[:length])
                numbers = numbers[length:]
            if packed["weight"] is not None:
                rows, columns = packed["weight"]
                scale, back = vectors.pop()[:, None], weights[: rows * columns].reshape(rows, columns)
                weights = weights[rows * columns :]
                np.testing.assert_allclose(back * scale, step.weight, atol=0.5001 * scale.max())
                assert np.abs(back).max(axis=1).tolist() == [127] * rows
            for vector, wanted in zip(vectors, step.numbers, strict=True):
                np.testing.assert_array_equal(vector, wanted)
    assert len(weights) == len(numbers) == 0


def test_the_best_and_basic_come_first_then_the_smallest_of_each_family_in_turns(trained):
    run = Run(trained)
    able = students(run)[lambda frame: frame["name"] != "Mean"]
    head, _, _ = carried(run, 0, 11)
    names = head["networks"]
    assert names[0] == best(able)
    assert names[1] == "Basic"
    smallest = able.sort_values("params").drop_duplicates(["computation", "activation"])["name"]
    assert set(smallest) <= set(names)
    assert len(names) == 11


@pytest.mark.parametrize("budget", [20_000, 60_000])
def test_as_many_travel_as_fit_evenly_over_the_families(trained, budget):
    run = Run(trained)
    head, blocks, _ = carried(run, budget)
    assert page_bytes(blocks) <= budget
    assert {"Basic", best(students(run))} <= set(head["networks"])
    if budget == 60_000:
        counts = [families(run, head["networks"]).count(each) for each in set(families(run, head["networks"]))]
        assert max(counts) - min(counts) <= 1
        more, _, _ = carried(run, 2 * budget)
        assert len(more["networks"]) > len(head["networks"])


def test_even_the_best_stays_behind_where_it_takes_more_than_all_may(trained):
    run = Run(trained)
    size = pack.packed(carried(run, 0, 1)[1]["live_weights"]).size  # of the best, alone
    assert best(students(run)) not in carried(run, size)[0]["networks"]


def test_none_is_none(trained):
    assert carried(Run(trained), LARGE, 0) == ({}, {}, {})


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def tampered(change):
    def tamper(path):
        weights = load_file(path)
        save_file(change(weights, max(weights, key=lambda name: weights[name].size)), path)

    return tamper


def pipe(path):
    path.unlink()
    os.mkfifo(path)


TAMPERING = {
    "cut": (cut, "can't be read as weights"),
    "text": (lambda path: path.write_text("weights"), "can't be read as weights"),
    "empty": (lambda path: path.write_bytes(b""), "can't be read as weights"),
    "huge": (lambda path: os.truncate(path, 2**32), "larger than"),
    "pipe": (pipe, "were not kept"),
    "gone": (lambda path: path.unlink(), "were not kept"),
    "other": (tampered(lambda weights, name: {**weights, name: weights[name][:, :-1].copy()}), "of shape"),
    "less": (tampered(lambda weights, name: {k: v for k, v in weights.items() if k != name}), "got none"),
    "nan": (tampered(lambda weights, name: {**weights, name: weights[name] * np.nan}), "not finite"),
}


@pytest.mark.parametrize("kind", TAMPERING)
def test_weights_that_are_no_weights_stay_behind_with_the_reason(trained, tmp_path, kind):
    tamper, reason = TAMPERING[kind]
    folder = shutil.copytree(trained, tmp_path / "run")
    tamper(folder / "weights" / "LinearTanh_1-0.safetensors")
    head, _, left_out = carried(Run(folder), LARGE)
    assert "LinearTanh_1" not in head["networks"]
    assert len(head["networks"]) == 16
    assert [reason in said for said, names in left_out.items() if "LinearTanh_1" in names] == [True]


def test_numbers_that_are_no_pixels_are_not_drawn(trained, tmp_path):
    """Pictures of a table of numbers are none of what its networks take."""
    folder = shutil.copytree(trained, tmp_path / "run")
    text = (folder / "run.toml").read_text().partition("\n")[2]  # without the checksum of it
    head, _, tail = text.partition("mean = [")
    (folder / "run.toml").write_text(f"{head}mean = [\n    3.5,{tail[tail.index(']') - 1 :]}")
    run = Run(folder)
    assert run.manifest["input"]["mean"] == [3.5]
    assert not are_inputs(run, stored_images(run))
    head, _, left_out = carried(run, LARGE)
    assert head == {}
    assert [*left_out.values()] == [run.networks["name"].tolist()]
    assert "pictures of its samples" in next(iter(left_out))
    assert are_inputs(Run(trained), stored_images(Run(trained)))


def test_a_norm_behind_is_in_the_weights_unless_others_see_what_is_before_it():
    weights = {
        "0.weight": np.full((2, 1, 1, 1), 3.0), "0.bias": np.array([1.0, 2.0]), "1.weight": np.array([2.0, 4.0]),
        "1.bias": np.array([0.5, 0.25]), "1.running_mean": np.array([1.0, 0.0]), "1.running_var": np.array([3.0, 0.0]),
    }  # fmt: skip
    layers = [conv(2, 1, 2, 1), norm(2, 2, eps=1.0)]
    [folded] = lowered(layers, (1, 4, 4), weights, ([0.0], [1.0]))
    np.testing.assert_allclose(folded.weight, [[3.0], [12.0]])  # 2 / sqrt(3 + 1), 4 / sqrt(0 + 1)
    np.testing.assert_allclose(folded.numbers, [[0.5, 8.25]])
    plain, seen = lowered([*layers, layer("Add", **{"from": 0})], (1, 4, 4), weights, ([0.0], [1.0]))[:2]
    np.testing.assert_allclose(plain.weight, [[3.0], [3.0]])
    assert seen.op == "affine"


def painted(place, count=40):
    """Grey images of 20 × 30 with a bar of 12 × 3, white on black, where `place` says."""
    out = np.zeros((count, 20, 30, 1), np.float32)
    for i, image in enumerate(out):
        y, x = place(i)
        image[y : y + 12, x : x + 3] = 1
        image[y : y + 2, x + 3 : x + 3 + i % 4] = 1  # a flag, which moves the box more than the mass
    return out


def test_the_form_of_drawings_is_read_from_the_images():
    images = painted(lambda i: (4, 10))
    known = form(images)
    assert known["shape"] == [1, 20, 30]
    assert (known["paper"], known["ink"], known["filled"]) == ([0.0], [1.0], False)
    assert known["size"] == 12
    assert known["middle"] == "mass"
    assert known["centre"] == pytest.approx([9.8, 11.8], abs=0.3)
    assert 2 < known["pen"] <= 3
    inverted = form(1 - images)
    assert (inverted["paper"], inverted["ink"]) == ([1.0], [0.0])
    assert {**inverted, "paper": 0, "ink": 0} == {**known, "paper": 0, "ink": 0}


def test_where_boxes_lie_alike_they_are_what_is_put_in_the_middle():
    images = np.zeros((20, 10, 10, 3), np.float32)
    images[:, 1, 2] = images[:, 8, 7] = (0.2, 0.4, 1.0)
    for i, image in enumerate(images):
        image[1 + i % 8, 2 : 3 + i % 6] = (0.2, 0.4, 1.0)
    known = form(images)
    assert (known["middle"], known["centre"], known["size"]) == ("box", [5.0, 5.0], 8.0)
    assert known["ink"] == pytest.approx([0.2, 0.4, 1.0])


def test_photographs_have_no_paper():
    images = np.random.default_rng(0).random((20, 8, 8, 3), np.float32)
    assert form(images)["filled"]


def test_the_command_says_how_many_travel_and_who_can_not(trained, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["explore", str(trained), "--to", str(tmp_path / "page.html"), "--live", "3"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "live class: 3 networks" in said
    assert "not in the live class: Steep: its training ended as diverged" in said
