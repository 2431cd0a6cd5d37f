"""A short form of the campaign of faults: what needs no root and no cluster."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
PARTS = {"session": 1, "files": 16, "readers": 2}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    file = tmp_path_factory.mktemp("faults") / "faults.json"
    parts = [f"{name}={number}" for name, number in PARTS.items()]
    script = [sys.executable, str(FOLDER / "faults.py"), "--seed", "1", "--only", *parts, "--json", str(file)]
    done = subprocess.run(script, capture_output=True, text=True)
    assert file.exists(), done.stdout + done.stderr
    return json.loads(file.read_text())["cases"]


@pytest.mark.parametrize("part", PARTS)
def test_what_breaks_loses_nothing_and_gives_no_wrong_number(outcomes, part):
    mine = [case for case in outcomes if case["kind"] == part]
    assert [case for case in mine if case["outcome"] not in ("ok", "refused")] == []
    assert mine


def test_files_are_spoilt_in_all_ways_and_noticed(outcomes):
    said = Counter((case["what"].rpartition(" ")[2], case["outcome"]) for case in outcomes if case["kind"] == "files")
    assert {way for way, _ in said} == {"truncated", "emptied", "bit", "exchanged", "removed"}
    assert sum(number for (_, outcome), number in said.items() if outcome == "refused") > PARTS["files"] / 3
