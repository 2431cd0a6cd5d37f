"""What the page is made of, and the command that writes it; no browser is needed here."""

import base64
import gzip
import json
import re

import numpy as np
import pytest

from netpick.cli import app as cli
from netpick.exam import ballot, plant
from netpick.exam.run import Run
from netpick.report.explorer.choice import chosen
from netpick.report.explorer.contents import images, thresholds
from netpick.report.explorer.pack import differences, packed, within_html
from netpick.report.page import write_report


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "run"
    plant(folder, 14, 60, classes=3, epochs=2, shape=(1, 10, 10))
    return folder


def run_cli(*words):
    with pytest.raises(SystemExit) as end:
        cli.main([*map(str, words)])
    return end.value.code


def blocks(page):
    """The blocks of a page, decompressed as anyone can."""
    found = re.findall(r'id="block-([\w-]+)">([^<]*)<', page.read_text("utf-8"))
    return {name: gzip.decompress(base64.b64decode(text)) for name, text in found}


def test_answers_are_differences_from_the_label():
    predicted, labels = np.array([[0, 2, 1], [1, 2, 2]], np.int16), np.array([1, 2, 0], np.int16)
    assert differences(predicted, labels, 3).tolist() == [[2, 0], [0, 0], [1, 2]]
    many = differences(np.array([[299]], np.int16), np.array([0], np.int16), 300)
    assert (many.dtype, many.item()) == (np.uint16, 299)


@pytest.mark.parametrize("value", [np.arange(6, dtype=np.uint16).reshape(2, 3), np.array([0.5, np.nan]), b"\x00\xff"])
def test_what_is_packed_is_read_again(value):
    content = gzip.decompress(base64.b64decode(packed(value).text))
    assert content == (value if isinstance(value, bytes) else value.tobytes())


def test_json_within_a_page_ends_no_element():
    text = within_html({"a": "</script><!--", "b": [float("nan"), np.float32(0.5), np.arange(2)], "c": "\u2028"})
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"a": "</script><!--", "b": [None, 0.5, [0, 1]], "c": "\u2028"}


def test_the_samples_that_are_kept():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 1000)
    right = rng.random((30, 1000)) < rng.random(1000)
    predicted = np.where(right, labels, (labels + rng.integers(1, 5, (30, 1000))) % 5)
    predicted[:, :20] = (labels[:20] + 1) % 5  # weird
    table = ballot(predicted, labels, list("abcde"))
    kept, said = chosen(table, 200, thresholds())
    assert len(set(kept.tolist())) == 200
    assert kept.tolist() == sorted(kept.tolist())
    order = table.sort_values(["right", "sample"])["sample"].tolist()
    assert set(order[:80]) <= set(kept.tolist())
    assert set(range(20)) <= set(kept.tolist())
    rest = [order.index(s) for s in kept if order.index(s) > 200]
    assert np.diff(sorted(rest)).max() <= 4 * np.diff(sorted(rest)).mean()  # all difficulties are there
    assert said.startswith("the 80 that fewest networks have right")
    assert chosen(table, 1000, thresholds()) == (pytest.approx(np.arange(1000)), "")


def test_large_images_are_made_smaller(tmp_path):
    plant(tmp_path / "run", 14, 50, shape=(3, 40, 160), epochs=1)
    assert images(Run(tmp_path / "run"), np.arange(5)).shape == (5, 16, 64, 3)


def test_the_command_writes_a_page(small, tmp_path, capsys):
    assert run_cli("explore", small, "--to", tmp_path / "page.html", "--live", "none") == 0
    assert re.search(r"page\.html: \d+ kB, 60 samples$", " ".join(capsys.readouterr().out.split()))
    run, held = Run(small), blocks(tmp_path / "page.html")
    last = np.empty((60, 14), int)
    last[json.loads(held["samples"])["hardest"]] = np.frombuffer(held["answers-1"], np.uint8).reshape(60, 14)
    assert ((last.T + run.labels()) % 3 == run.predicted()).all()
    assert np.frombuffer(held["images"], np.uint8).reshape(60, 10, 10)[7].tolist() == run.image(7).tolist()
    assert json.loads(held["networks"])["name"] == run.networks["name"].tolist()


def test_a_page_lies_in_the_run_and_the_report_leads_to_it(tmp_path, capsys):
    plant(tmp_path / "run", 14, 50, classes=6, epochs=1)
    write_report(Run(tmp_path / "run"), tmp_path / "run" / "report.html", names=["scores"])
    assert "explore.html" not in (tmp_path / "run" / "report.html").read_text()
    assert run_cli("explore", tmp_path / "run") == 0
    write_report(Run(tmp_path / "run"), tmp_path / "run" / "report.html", names=["scores"])
    assert '<a href="explore.html">' in (tmp_path / "run" / "report.html").read_text()
    assert run_cli("remove", tmp_path / "run", "--yes") == 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "page.txt"], "wants a file that ends in .html"),
        (["--samples", "3"], "samples is 3: give a whole number from 20 on"),
        (["--live", "many"], "--live: wants none or a number"),
        (["--max-size", "0.1"], "give a larger --max-size"),
    ],
)
def test_what_is_refused_leaves_no_page(small, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert run_cli("explore", small, *words) == 2
    assert said in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []
    assert not (small / "explore.html").exists()


def test_a_run_without_a_training_is_refused(tmp_path, capsys):
    plant(tmp_path / "run", 14, 50, classes=6, epochs=1)
    for path in (tmp_path / "run" / "trainings").glob("*.parquet"):
        path.unlink()
    assert run_cli("explore", tmp_path / "run") == 2
    assert "has no finished training yet" in capsys.readouterr().err


def test_a_small_page_keeps_some_samples(tmp_path, capsys):
    plant(tmp_path / "run", 14, 400, classes=4, epochs=1, shape=(1, 24, 24), scores="none")
    page = tmp_path / "a.html"
    assert run_cli("explore", tmp_path / "run", "--to", page, "--max-size", "0.25", "--live", "none") == 0
    assert page.stat().st_size <= 250_000
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"samples of 400: the \d+ that fewest networks have right", said)
