import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from netpick.core.errors import NetpickError

FOLDER = Path(__file__).parents[2] / "benchmarks"
LIGHT = {"manifest": 24, "events": 24, "tables": 24, "bits": 24}
WITH_TORCH = {"npz": 8, "images": 8, "commands": 8, "code": 2, "standing": 1}
"""Few: torch is loaded before the first, undamaged cases measure a network, and of slow kinds there is a share."""


@pytest.fixture
def attack(monkeypatch):
    """Import the parts of the benchmark as it does itself: with its folder first on the path."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    from _attack import box, values, watch

    yield {"box": box, "values": values, "watch": watch}
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "_attack":
            del sys.modules[name]


def attacked(folder, cases, *words):
    """Run a short form: a process of its own, since each case is a fork of it."""
    file = folder / "attack.json"
    script = [sys.executable, str(FOLDER / "attack.py"), *words, "--seed", "1", "--jobs", "2", "--json", str(file)]
    done = subprocess.run([*script, "--cases", str(cases)], capture_output=True, text=True)
    assert file.exists(), done.stdout + done.stderr
    return json.loads(file.read_text())["cases"]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return attacked(tmp_path_factory.mktemp("attack"), max(LIGHT.values()), "--light")


@pytest.fixture(scope="module")
def outcomes_with_torch(tmp_path_factory):
    return attacked(tmp_path_factory.mktemp("attack"), max(WITH_TORCH.values()), "--only", *WITH_TORCH)


@pytest.mark.parametrize("kind", LIGHT)
def test_what_is_spoilt_is_read_or_refused_in_one_line(outcomes, kind):
    mine = [case for case in outcomes if case["kind"] == kind]
    assert [case for case in mine if case["outcome"] not in ("ok", "refused")] == []


@pytest.mark.parametrize("kind", LIGHT)
def test_every_case_of_the_short_form_is_made(outcomes, kind):
    mine = [case for case in outcomes if case["kind"] == kind]
    assert len(mine) == LIGHT[kind]
    assert "HARNESS" not in {case["outcome"] for case in mine}


@pytest.mark.parametrize("kind", WITH_TORCH)
def test_what_comes_from_elsewhere_is_read_or_refused_in_one_line_and_runs_nothing(outcomes_with_torch, kind):
    mine = [case for case in outcomes_with_torch if case["kind"] == kind]
    assert [case for case in mine if case["outcome"] not in ("ok", "refused")] == []
    assert len(mine) == WITH_TORCH[kind]


def refuse():
    raise NetpickError("no")


WRONG = {
    "ok": lambda box: None,
    "refused": lambda box: refuse(),
    "TRACEBACK": lambda box: {}["missing"],
    "OUTSIDE": lambda box: (box.outside / "secret.txt").unlink(),
    "CODE": lambda box: exec(box.payload()),
    "CRASH": lambda box: os.kill(os.getpid(), signal.SIGKILL),
    "SILENT": lambda box: "SILENT: another value",
    "HANG": lambda box: time.sleep(60),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_fault_is_seen(attack, tmp_path, monkeypatch, name):
    monkeypatch.setattr(attack["watch"], "IDLE_SECONDS", 1.5)

    def make(rng, box):
        return attack["box"].Attempt("nothing", check=lambda: WRONG[name](box))

    kind = attack["box"].Kind("made", "made up", make)
    (outcome,) = attack["watch"].run_cases([(kind, 0)], 0, tmp_path)
    assert outcome.outcome == name
    assert not list((tmp_path / "cases").iterdir())


def test_too_much_memory_is_seen(attack, tmp_path, monkeypatch):
    monkeypatch.setattr(attack["watch"], "MOST_BYTES", 2**20)
    kind = attack["box"].Kind("made", "made up", lambda rng, box: attack["box"].Attempt("nothing"))
    (outcome,) = attack["watch"].run_cases([(kind, 0)], 0, tmp_path)
    assert outcome.outcome == "MEMORY"


FAULTY = {0: "ok", 1: "TRACEBACK", 2: "CRASH", 3: "ok", 4: "OUTSIDE", 5: "MEMORY", 6: "refused"}


def test_cases_of_one_process_are_told_apart(attack, tmp_path, monkeypatch):
    """A fault ends neither the cases after it nor is it theirs; memory is that of the case that took it."""
    most = psutil.Process().memory_info().rss + 2**26  # a fork has less than that: it maps no files that it hasn't read
    monkeypatch.setattr(attack["watch"], "MOST_BYTES", most)

    def make(rng, box):
        name = list(FAULTY.values())[int(box.folder.name.partition("-")[2])]
        wrong = {**WRONG, "MEMORY": lambda box: len(b"x" * most) and None}[name]
        return attack["box"].Attempt("nothing", check=lambda: wrong(box))

    kind = attack["box"].Kind("made", "made up", make, together=len(FAULTY))
    found = {one.case: one for one in attack["watch"].run_cases([(kind, case) for case in FAULTY], 0, tmp_path)}
    assert {case: found[case].outcome for case in FAULTY} == FAULTY
    assert {case for case in FAULTY if found[case].company} == {1, 2, 4, 5}


def test_what_is_a_fault_in_company_alone_is_none(attack, tmp_path):
    done = []

    def make(rng, box):
        done.append(box)
        return attack["box"].Attempt("nothing", check=lambda: {}["missing"] if len(done) > 1 else None)

    kind = attack["box"].Kind("made", "made up", make, together=3)
    outcomes = attack["watch"].run_cases([(kind, case) for case in range(3)], 0, tmp_path)
    found = sorted((one.case, one.outcome, one.company) for one in outcomes)
    assert [one[1:] for one in found] == [("ok", ""), ("ok", "TRACEBACK"), ("ok", "TRACEBACK")]


def test_a_case_finds_the_environment_as_it_was(attack, tmp_path):
    def make(rng, box):
        def check():
            left = os.environ.get("LEFT_BY_ANOTHER")
            os.environ["LEFT_BY_ANOTHER"] = "x"
            return f"SILENT: {left}" if left or Path.cwd() != box.here else None

        return attack["box"].Attempt("nothing", check=check)

    kind = attack["box"].Kind("made", "made up", make, together=2)
    outcomes = attack["watch"].run_cases([(kind, 0), (kind, 1)], 0, tmp_path)
    assert [one.outcome for one in outcomes] == ["ok", "ok"]


def test_the_same_seed_spoils_in_the_same_way(attack):
    values, text = attack["values"], 'a = 1\nb = ["x", 2.5]\n' * 5
    data = {"a": [1, {"b": "c"}], "d": 2}
    for seed in range(50):
        assert values.spoil_text(random.Random(seed), text) == values.spoil_text(random.Random(seed), text)
        assert repr(values.spoil_data(random.Random(seed), data)) == repr(values.spoil_data(random.Random(seed), data))
    assert data == {"a": [1, {"b": "c"}], "d": 2}
