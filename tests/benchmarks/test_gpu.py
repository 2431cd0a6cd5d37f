"""gpu.py on the stand-in of a card: all parts, taking them up again, the time limit, the page, and the table."""

from __future__ import annotations

import json
import re
import shutil
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from netpick.core.errors import RunError
from netpick.training import cards

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def call(scripts):
    """Run gpu.py with options; returns its exit code."""

    def call(*options):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [str(FOLDER / "gpu.py"), *map(str, options)])
            try:
                return scripts.gpu.measure()
            except SystemExit as end:
                return end.code

    return call


@pytest.fixture(scope="module")
def whole(call, tmp_path_factory):
    """The folder of all parts, the table filled."""
    folder = tmp_path_factory.mktemp("gpu")
    shutil.copy(cards.__file__, folder / "cards.py")
    assert call("--all", "--stand-in", "--folder", folder, "--table", folder / "cards.py", "--write") == 0
    return folder


def found(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


@pytest.fixture
def copied(whole, tmp_path):
    """A copy of that folder, to be changed."""
    return Path(shutil.copytree(whole, tmp_path / "gpu", ignore=shutil.ignore_patterns("study", "data")))


def part_of(scripts, patch, names, minutes=60.0):
    """Put a part of made-up cases in place of all others; returns which cases were measured."""
    measured = []

    def work(name):
        measured.append(name)
        if name == "wrong":
            raise ValueError("two\nlines")
        return {"unfinished": "no time"} if name == "long" and measured.count("long") == 1 else {"value": len(name)}

    made = Namespace(
        NAME="made", TITLE="Made up", MINUTES=minutes, figures=lambda found, table: {"STREAMS": 3, "LOAD": 2.5},
        section=lambda found, table: f"It has {', '.join(found)}.",
        cases=lambda bench, found: (scripts.part.Case(name, lambda name=name: work(name), 60) for name in names),
    )  # fmt: skip
    patch.setattr(scripts.gpu, "PARTS", (made,))
    return measured


# The whole, once


def test_all_parts_are_measured_to_their_end_without_an_error(scripts, whole):
    for name in scripts.parts:
        record = found(whole, name)
        assert record["finished"], name
        assert not [value for value in record["cases"].values() if "error" in value], name
        assert record["cases"], name
        assert record["about"]["stand_in"] is True
    study = found(whole, "study")["cases"]["the run"]
    assert (study["statuses"], study["networks"]) == ({"done": 7}, 7)


def test_all_numbers_can_be_had_in_one_file(scripts, call, whole, tmp_path):
    assert call("--page", "--folder", whole, "--to", tmp_path / "GPU.md", "--json", tmp_path / "all.json") == 0
    assert json.loads((tmp_path / "all.json").read_text()) == {name: found(whole, name) for name in scripts.parts}


def test_the_page_has_each_part_and_claims_nothing_of_a_card(scripts, whole):
    text = (whole / "GPU.md").read_text()
    assert "no number here says anything about a card" in text
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        *(part.TITLE for part in scripts.gpu.PARTS), "The table of figures",
    ]  # fmt: skip
    assert "Not run" not in text
    assert "Wanted were" not in text  # 7 networks are not the study
    cases = found(whole, "equality")["cases"]
    for kind in ("operation", "optimizer", "network"):
        number = sum(name.startswith(kind) for name in cases)
        assert f"| {kind} | {number} | {number} |" in text
    assert "All that was tried agrees." in text


def test_planted_memory_is_found_and_put_into_the_table(scripts, whole):
    rows = scripts.table.read(whole / "cards.py")
    planted = scripts.stand_in
    assert (rows["CONTEXT_BYTES"].value, rows["FIXED_BYTES"].value) == (planted.CONTEXT, planted.HELD)
    assert (rows["VALUE_COPIES"].value, rows["WEIGHT_COPIES"].value) == (planted.VALUES, planted.WEIGHTS)
    assert rows["THREADS"].value == 123_456
    assert not [name for name, row in rows.items() if row.source == "guess"]  # the script fills every line
    assert rows["STREAMS"].source.startswith("stand-in of a card on the CPU, 20")
    assert rows["STREAMS"].source.endswith("python benchmarks/gpu.py --part lanes")


def test_a_filled_table_is_python_with_the_same_names_and_kinds(whole):
    before, after = {}, {}
    exec(Path(cards.__file__).read_text(), before)
    exec((whole / "cards.py").read_text(), after)
    figures = {name: type(value) for name, value in before.items() if name.isupper()}
    assert figures == {name: type(value) for name, value in after.items() if name.isupper()}
    assert len(figures) == 19
    without = [re.sub(r"^[A-Z0-9_]+ = .*$", "", Path(file).read_text(), flags=re.M)
               for file in (cards.__file__, whole / "cards.py")]  # fmt: skip
    assert without[0] == without[1]


def test_each_section_and_each_figure_can_be_said_of_a_part_that_was_cut_short(scripts, whole):
    for name, part in scripts.parts.items():
        record = found(whole, name)
        names = list(record["cases"])
        for kept in (names[:1], names[:2], names[1:], names[-1:], names[::2]):
            some = {name: record["cases"][name] for name in kept}
            assert part.section(some, record["table"]), (part.NAME, kept)
            assert set(part.figures(some, record["table"])) <= set(record["table"])


# Taking up, and stopping


def test_all_parts_together_are_limited_to_less_than_forty_minutes(scripts):
    assert sum(part.MINUTES for part in scripts.gpu.PARTS) == 38


def test_a_finished_part_is_not_repeated_unless_one_says_so(scripts, call, monkeypatch, tmp_path):
    measured = part_of(scripts, monkeypatch, ["a", "b"])
    options = ["--all", "--stand-in", "--folder", tmp_path]
    assert (call(*options), measured) == (0, ["a", "b"])
    assert (call(*options), measured) == (0, ["a", "b"])
    assert (call(*options, "--again"), measured) == (0, ["a", "b", "a", "b"])


def test_a_call_stops_between_cases_and_the_next_one_goes_on(scripts, call, monkeypatch, tmp_path, capsys):
    measured = part_of(scripts, monkeypatch, ["a", "b", "long", "c"])
    clock = [0.0]
    monkeypatch.setattr(scripts.part.time, "monotonic", lambda: clock.__setitem__(0, clock[0] + 20) or clock[0])
    options = ["--all", "--stand-in", "--folder", tmp_path, "--minutes", "2"]
    assert call(*options) == 0
    assert measured == ["a"]  # of two minutes 40 s and more are gone: another 60 s are not left
    assert "say the same again to go on" in capsys.readouterr().out
    text = (tmp_path / "GPU.md").read_text()
    assert "Not finished, after 1 cases" in text
    assert "It has a." in text
    call(*options)
    call(*options)  # what has no time in a call is gone on with by the next
    assert measured == ["a", "b", "long"]
    assert "long" not in (tmp_path / "GPU.md").read_text().split("It has")[1].splitlines()[0]
    call(*options)
    call(*options)
    assert measured == ["a", "b", "long", "long", "c"]
    assert found(tmp_path, "made")["finished"]


def test_a_part_has_a_limit_of_its_own_and_says_what_was_left_out(scripts, call, monkeypatch, tmp_path):
    measured = part_of(scripts, monkeypatch, ["a", "b", "c"], minutes=0.5)
    call("--all", "--stand-in", "--folder", tmp_path)
    assert measured == ["a"]
    record = found(tmp_path, "made")
    assert (record["finished"], record["left_out"]) == (True, ["b", "c"])
    assert "0.5 minutes were over: b, c" in (tmp_path / "GPU.md").read_text()


def test_a_case_that_fails_takes_no_other_with_it(scripts, call, monkeypatch, tmp_path):
    measured = part_of(scripts, monkeypatch, ["a", "wrong", "c"])
    call("--all", "--stand-in", "--folder", tmp_path)
    assert measured == ["a", "wrong", "c"]
    text = (tmp_path / "GPU.md").read_text()
    assert "- `wrong` failed: ValueError: two lines" in text
    assert "It has a, c." in text


def test_what_is_there_of_another_card_is_refused_before_anything_is_written(call, copied, capsys):
    file = copied / "lanes.json"
    file.write_text(file.read_text().replace('"stand_in": true', '"stand_in": false'))
    before = {one.name: one.stat().st_mtime_ns for one in copied.iterdir()}
    with pytest.raises(
        RunError, match=r"lanes.json is of .* stand_in False; here it is .* say --again, or give another"
    ):
        call("--part", "lanes", "--stand-in", "--folder", copied)
    assert before == {one.name: one.stat().st_mtime_ns for one in copied.iterdir()}
    file.write_text("{")
    with pytest.raises(RunError, match=r"is no file of gpu\.py"):
        call("--part", "lanes", "--stand-in", "--folder", copied)


def test_figures_of_a_stand_in_go_into_no_table_of_netpicks(scripts, call, monkeypatch, tmp_path, capsys):
    assert call("--all", "--stand-in", "--write") == 2
    assert "give the --table" in capsys.readouterr().err
    part_of(scripts, monkeypatch, ["a"])
    before = Path(cards.__file__).read_bytes()
    assert call("--all", "--stand-in", "--folder", tmp_path) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"^STREAMS = 3  # stand-in of a card on the CPU, \S+, python benchmarks/gpu.py --part made$", said, re.M
    )
    assert re.search(r"^LOAD = 2.5  # stand-in", said, re.M)
    assert Path(cards.__file__).read_bytes() == before


def test_without_a_card_it_says_so_in_one_line(call, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert call("--all") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_page_can_be_written_without_a_card_and_says_that_nothing_was_run(scripts, call, monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert call("--page", "--folder", tmp_path / "no", "--to", tmp_path / "GPU.md") == 0
    assert [one.name for one in tmp_path.iterdir()] == ["GPU.md"]
    text = (tmp_path / "GPU.md").read_text()
    for name in scripts.parts:
        assert f"Not run: `python benchmarks/gpu.py --part {name}` does it." in text
    assert text.count("| guess |") == sum(row.source == "guess" for row in scripts.table.read().values())
