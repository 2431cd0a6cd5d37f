"""Runs from the command line: which there are, the one that is meant where none is named, and taking one away."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from netpick.exam import plant
from netpick.store.folder import Store


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    plant(folder := tmp_path_factory.mktemp("planted") / "run", networks=12, samples=50, epochs=2)
    return folder


@pytest.fixture
def runs(planted, tmp_path, monkeypatch):
    """A folder where `runs` holds an older and a newer run."""
    for name in ("old", "new"):
        shutil.copytree(planted, tmp_path / "runs" / name)
    store = Store.open(tmp_path / "runs" / "old")
    store.update_manifest(created=store.manifest["created"].replace(year=2001))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def test_runs_are_listed_the_newest_first(runs, call):
    (runs / "broken").mkdir()
    (runs / "broken" / "run.toml").write_text("half = ")
    (runs / "no-run").mkdir()
    shutil.rmtree(runs / "old" / "trainings")
    (runs / "old" / "trainings").mkdir()
    code, out, _ = call("list", "--format", "json")
    found = {row["run"]: row for row in json.loads(out)}
    assert (code, list(found)) == (0, ["runs/new", "runs/old", "runs/broken"])
    assert [row["state"] for row in found.values()] == ["trained", "0 of 12 trained", "can't be read"]
    for name in ("new", "old"):
        files = [os.path.join(root, f) for root, _, names in os.walk(runs / name) for f in names]
        assert found[f"runs/{name}"]["size"] == sum(map(os.path.getsize, files))
        assert found[f"runs/{name}"]["networks"] == 12
    assert call("list", "elsewhere")[0] == 2
    (runs / "no-run" / "x").mkdir()
    assert "netpick generate smoke" in call("list", runs / "no-run")[1]


@pytest.mark.parametrize(
    "words",
    [
        ["ask", "scores"], ["ask", "params", "--rows", "2"], ["show", "Basic"], ["pick", "--max-params", "100000"],
        ["pick", "--max-params=100000", "--rows", "3"],
        ["pick", "--min-accuracy", "0.1", "--max-params=100000"], ["pick"], ["status"], ["estimate", "--seconds", "0"],
        ["export", "--to", "all.jsonl"], ["export", "Basic", "--to", "one.jsonl"],
    ],
)  # fmt: skip
def test_without_a_run_the_newest_is_meant(words, runs, call):
    code, out, err = call(*words)
    assert (code, err) == (0, "")
    assert out.startswith("run: runs/new\n")
    named = [word.replace("all.", "all2.").replace("one.", "one2.") for word in words]
    code, with_run, _ = call(named[0], "runs/new", *named[1:])
    assert code == 0
    assert with_run.replace("2.jsonl", ".jsonl") == out.removeprefix("run: runs/new\n")


def test_other_names_of_questions_are_these_questions(runs, call):
    for alias, name in {"params": "notes", "memory": "rough_work", "ops": "steps", "seconds": "study_time"}.items():
        assert call("ask", "runs/new", alias) == call("ask", "runs/new", name)
    assert "Also called params." in call("ask")[1]


def test_a_run_is_removed_after_asking_and_nothing_else_is(runs, call, monkeypatch):
    monkeypatch.setattr("typer.confirm", lambda text: False)
    code, out, _ = call("remove", "runs/old")
    assert (code, out.splitlines()[-1]) == (1, "nothing was removed")
    assert "12 networks for" in out
    monkeypatch.setattr("typer.confirm", lambda text: True)
    assert call("remove", "runs/old")[0] == 0
    assert [path.name for path in runs.iterdir()] == ["new"]
    (runs / "new" / "thesis.txt").write_text("mine")
    code, _, err = call("remove", "runs/new", "--yes")
    assert (code, "thesis.txt" in err, err.count("\n")) == (2, True, 1)
    assert Store.open(runs / "new")
    code, _, err = call("remove", "runs/gone", "--yes")
    assert (code, err) == (2, "netpick: no run at runs/gone: netpick list says which there are\n")


def test_status_watches_until_nobody_trains(runs, call, monkeypatch):
    from netpick.cli import runs as module

    looks, slept = iter([True, True, False]), []
    monkeypatch.setattr(module, "_is_trained", lambda folder: next(looks))
    monkeypatch.setattr(module.time, "sleep", slept.append)
    code, out, _ = call("status", "--watch")
    assert (code, out.count("12 of 12 trainings finished"), len(slept)) == (0, 3, 2)


def completed(line):
    """Return what bash is offered at the end of a line."""
    words = line.split(" ")
    asked = {"_NETPICK_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    code = "import sys; sys.argv[0] = 'netpick'; from netpick.cli.app import app; app(prog_name='netpick')"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_the_shell_completes_commands_runs_questions_and_networks(runs):
    assert completed("netpick sta") == ["status"]
    assert completed("netpick status runs/") == ["runs/new", "runs/old"]
    assert {"weird", "params", "ability"} <= set(completed("netpick ask "))
    assert completed("netpick ask runs/new wei") == ["weird"]
    assert completed("netpick show Bas") == ["Basic"]
    assert completed("netpick show runs/old Bas") == ["Basic"]


def test_the_version_is_said(call):
    code, out, _ = call("--version")
    assert (code, out.split()[0]) == (0, "netpick")
    assert out.split()[1][0].isdigit()


def test_a_run_of_a_name_that_cannot_be_written_is_one_line_and_no_others_suffer(runs, call):
    (runs / os.fsdecode(b"bad\xff")).mkdir()
    for file in ("run.toml", "networks.parquet"):
        shutil.copy(runs / "new" / file, runs / os.fsdecode(b"bad\xff") / file)
    bad = f"runs/{os.fsdecode(bytes([98, 97, 100, 255]))}"
    code, out, _ = call("list", "--format", "json")
    assert (code, [row["state"] for row in json.loads(out)].count("can't be read")) == (0, 1)
    code, _, err = call("status", bad)
    assert (code, err.count("\n"), "UTF-8" in err) == (2, 1, True)
    for name in (bad, "runs/new\nline", "runs/\x1b[31m"):
        code, _, err = call("generate", "smoke", "--dataset", "digits", "--limit", "2", "--run", f"{name}2")
        assert (code, err.count("\n"), "can't be printed" in err) == (2, 1, True)
    assert len([*runs.iterdir()]) == 3


def test_status_says_that_the_log_is_lost(runs, call):
    (runs / "new" / "events.jsonl").write_bytes(b"\x00" * 100)
    assert "events.jsonl is missing, or can't be read" in call("status")[1]


def test_a_run_among_constraints_is_found_wherever_it_stands_and_whatever_it_is_called(runs, call):
    (runs / "new").rename(runs / "a=b")
    limits = ["--max-params", "100000", "--min-accuracy=0.1"]
    first = call("pick", "runs/a=b", *limits)
    assert first[0] == 0
    assert call("pick", *limits, "runs/a=b") == call("pick", limits[0], limits[1], "runs/a=b", limits[2]) == first
    assert call("pick", *limits, "runs/a=b", "runs/old")[0] == 2


def test_a_question_may_be_called_as_the_run_is(runs, call):
    (runs / "new").rename(runs.parent / "scores")
    assert call("ask", "scores", "scores", "--rows", "2") == call("ask", "./scores", "scores", "--rows", "2")


LONG = "x" * 300


@pytest.mark.parametrize(
    "words",
    [
        ("list", LONG),
        ("status", LONG),
        ("remove", LONG),
        ("export", "runs/new", "Basic", "--to", LONG),
        ("export", "runs/new", "--to", f"{LONG}.jsonl"),
        ("publish", "runs/new", "--to", LONG, "--license", "mit"),
        ("figures", "runs/new", "--to", LONG),
        ("import", f"{LONG}.csv"),
        ("import", "answers.csv", "--images", LONG),
        ("import", "answers.csv", "--run", LONG),
        ("examine", "runs/new", f"{LONG}.csv"),
        ("report", "runs/new", "--to", f"{LONG}.md"),
        ("look", f"folder:{LONG}"),
        ("look", f"npz:{LONG}.npz"),
        ("look", "mnist", "--data-dir", LONG),
        ("generate", "smoke", "--dataset", f"folder:{LONG}"),
    ],
    ids=" ".join,
)
def test_a_word_that_is_too_long_for_a_file_s_name_is_refused_in_one_line(runs, call, words):
    (runs.parent / "answers.csv").write_text("sample,label,first\na,x,x\nb,y,x\n")
    code, _, error = call(*words)
    assert code in (1, 2)
    assert LONG in error
    assert len(error.strip().splitlines()) == 1
