"""The command line as its users meet it: what it prints, what it refuses, and how it exits."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from template_cells import BASIC

from netpick.cli.summary import activity
from netpick.exam import plant
from netpick.store.folder import Store

TINY = f"""
title = "Three"
dataset = "digits"
[recipe]
epochs = 2
lr = 0.01
train_samples = 200
[[cells]]
kind = "grid"
computation = ["Linear"]
activation = ["ReLU", "Tanh"]
features = [8]
{BASIC}"""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "three.toml"
    path.write_text(TINY)
    return str(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, template):
    """A run trained by the command line itself, in a process of its own."""
    folder = tmp_path_factory.mktemp("runs") / "three"
    netpick = [sys.executable, "-m", "netpick.cli"]
    subprocess.run([*netpick, "generate", template, "--run", str(folder)], check=True, capture_output=True)
    train = [*netpick, "train", str(folder), "--workers", "1"]
    done = subprocess.run(train, check=True, capture_output=True, text=True)
    return folder, done.stdout


@pytest.fixture
def refused(call):
    """Call, and check that it is refused: exit 2 (or another code), one line on standard error, no traceback."""

    def run(*arguments, code=2):
        got, _, err = call(*arguments)
        assert got == code, err
        assert err.startswith("netpick: ")
        assert err.count("\n") == 1, err
        assert "Traceback" not in err
        return err

    return run


@pytest.fixture
def generated(tmp_path, template, call):
    folder = tmp_path / "run"
    assert call("generate", template, "--run", folder)[0] == 0
    return folder


def test_training_ends_with_a_summary_that_names_everything_asked_for(trained):
    folder, out = trained
    assert "3 done" in out
    for word in ("params", "memory", "ops", "macs", "seconds", "accuracy", "Basic", "LinearTanh_1"):
        assert word in out
    for percent in (80, 90, 95, 99, 100):
        assert f"≥ {percent} %" in out
    assert f"{folder}/predictions" in out.replace("\n", "")
    assert out.count(f"netpick ask {folder}") == out.count(f"netpick pick {folder}") == 1
    assert f"netpick show {folder} Basic  " in out
    assert f"netpick explore {folder}  " in out


def test_what_can_be_done_next_names_a_network_that_the_run_has(tmp_path, call):
    plant(tmp_path / "run", networks=12, samples=60, epochs=1, basic=False)
    code, out, _ = call("train", tmp_path / "run", "--device", "cpu")
    assert code == 0
    [line] = [line for line in out.splitlines() if "netpick show" in line]
    assert call(*line.split()[1:4])[0] == 0


def test_what_was_trained_is_on_the_disk(trained):
    folder, _ = trained
    manifest = tomllib.loads((folder / "run.toml").read_text())
    assert manifest["recipe"]["epochs"] == 2
    assert manifest["recipe"]["train_samples"] == 200
    assert manifest["dataset"] == "digits"
    assert manifest["training"]["devices"] == ["cpu"]
    assert {"torch", "python", "netpick"} <= set(manifest["versions"])
    assert len(pd.read_parquet(folder / "predictions")) == 3 * 2 * 360
    assert sorted(p.name for p in (folder / "weights").iterdir()) == [
        "Basic-0.safetensors",
        "LinearReLU_1-0.safetensors",
        "LinearTanh_1-0.safetensors",
    ]
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events if e["event"] in ("begin", "end")] == ["begin", "end"]
    assert sum(e["event"] == "done" for e in events) == 3
    assert not (folder / ".cache").exists()


def test_a_finished_run_is_not_trained_again(trained, call):
    folder, _ = trained
    before = (folder / "trainings").stat().st_mtime_ns, [p.name for p in (folder / "trainings").iterdir()]
    code, out, _ = call("train", folder)
    assert code == 0
    assert "3 of 3 trainings finished: 3 done" in out
    assert ((folder / "trainings").stat().st_mtime_ns, [p.name for p in (folder / "trainings").iterdir()]) == before


def test_status_tells_the_counts_and_the_last_session(trained, generated, call):
    _, out, _ = call("status", trained[0])
    assert "3 of 3 trainings finished: 3 done" in out
    assert "the last session is over: 3 of 3 due" in out
    _, out, _ = call("status", generated)
    assert "0 of 3 trainings finished: none done" in out
    assert "nothing has been trained yet" in out


OWN_QUESTION = '''"""Where is this?"""
from matplotlib.figure import Figure
from netpick.exam import Answer
print("imported")
def ask(run):
    return Answer(run.networks[["name"]], "Here.", Figure)
'''


@pytest.mark.parametrize(
    "words",
    [
        ("status", "RUN"), ("train", "RUN"), ("ask", "RUN"), ("ask",), ("ask", "--help"), ("ask", "RUN", "curves"),
        ("ask", "RUN", "easy", "--help"),
    ],
)  # fmt: skip
def test_questions_that_lie_where_the_user_stands_are_not_run(words, trained, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "analysis").mkdir()
    for name in ("__init__", "_votes", "mine", "scores"):
        (tmp_path / "analysis" / f"{name}.py").write_text(OWN_QUESTION)
    code, out, err = call(*(str(trained[0]) if word == "RUN" else word for word in words))
    assert code == 0
    assert "imported" not in out + err
    if words in (("ask",), ("ask", "RUN"), ("ask", "--help")):
        assert out.count("Where is this? (yours)") == 2
        assert f"\n{out}".count("\nscores ") == 1


@pytest.mark.parametrize("name", ["mine", "scores"])
def test_a_question_of_the_users_is_run_when_he_asks_it_and_that_is_said(name, trained, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "analysis").mkdir()
    path = tmp_path / "analysis" / f"{name}.py"
    path.write_text(OWN_QUESTION)
    code, out, err = call("ask", trained[0], name)
    assert code == 0
    assert err == f"runs your own code: {path}\n"
    assert out.startswith("imported")
    assert "Here." in out
    assert call("ask", trained[0], name, "--help")[2] == err


@pytest.mark.parametrize("in_use", [False, True])
def test_a_clock_that_was_set_back_is_no_time(in_use):
    later = "2999-01-01T00:00:00+00:00"
    earlier = "2998-01-01T00:00:00+00:00"
    events = [
        {"event": "begin", "time": later, "due": 3, "workers": 2},
        {"event": "start", "time": later, "network": "Basic", "replicate": 0},
        {"event": "start", "time": earlier, "network": "Other", "replicate": 0},
    ]
    lines = activity(events, in_use)
    assert not any("-" in line for line in lines)
    assert "0 of 3 due" in lines[0]
    assert not in_use or lines[1:] == ["  training Basic", "  training Other"]


def test_the_status_of_a_run_on_a_cluster_says_what_each_worker_has():
    now = datetime.now(UTC)
    events = [{"event": "begin", "time": now.isoformat(), "due": 9, "workers": 2, "cluster": "tcp://there:8786"}]
    for n, (worker, ago) in enumerate([("tcp://a:1", 20), ("tcp://a:1", 20), ("tcp://b:2", 5), ("tcp://a:1", 1)]):
        time = (now - timedelta(seconds=ago)).isoformat()
        events.append({"event": "start", "time": time, "network": f"N_{n}", "replicate": 0, "worker": worker})
    events.append({"event": "done", "time": now.isoformat(), "network": "N_0", "replicate": 0})
    first, *lines = activity(events, in_use=True)
    assert "on 2 workers of tcp://there:8786: 1 of 9 due" in first
    assert lines == ["  tcp://a:1 has N_1 and 1 more for 20 s", "  tcp://b:2 has N_2 for 5 s"]


def test_generating_the_same_again_is_fine_and_another_is_refused(generated, template, call, refused):
    code, out, _ = call("generate", template, "--run", generated)
    assert code == 0
    assert "already" in out
    assert "--overwrite" in refused("generate", template, "--run", generated, "--seed", 1)
    assert "recipe" in refused("generate", template, "--run", generated, "--set", "recipe.lr=0.5")
    assert call("generate", template, "--run", generated, "--seed", 1, "--overwrite")[0] == 0
    assert Store.open(generated).manifest["seed"] == 1


def test_set_options_reach_the_manifest(tmp_path, template, call):
    folder = tmp_path / "set"
    sets = ["--set", "recipe.optimizer=SGD", "--set", "recipe.optimizer_args.momentum=0.9", "--set", "recipe.lr=0.1"]
    assert call("generate", template, "--run", folder, *sets)[0] == 0
    recipe = Store.open(folder).manifest["recipe"]
    assert (recipe["optimizer"], recipe["optimizer_args"], recipe["lr"]) == ("SGD", {"momentum": 0.9}, 0.1)


def test_limit_makes_fewer_networks_and_keeps_basic(tmp_path, call):
    folder = tmp_path / "few"
    assert call("generate", "smoke", "--dataset", "digits", "--run", folder, "--limit", 12)[0] == 0
    names = pd.read_parquet(folder / "networks.parquet")["name"]
    assert len(names) == 12
    assert "Basic" in set(names)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["generate", "smok"], ["'smok'", "did you mean 'smoke'?"]),
        (["generate", "smoke", "--dataset", "mnits"], ["'mnits'", "mnist"]),
        (["generate", "smoke", "--limit", "0"], ["--limit", "0"]),
        (["generate", "smoke", "--set", "recipe.batchsize=3"], ["recipe.batchsize", "batch_size"]),
        (["generate", "smoke", "--set", "recipe.batch_size=0"], ["recipe.batch_size", "0"]),
        (["generate", "smoke", "--set", "recipe.epochs=-1"], ["recipe.epochs", "-1"]),
        (["generate", "smoke", "--set", "nonsense"], ["--set nonsense", "key=value"]),
        (["train", "nowhere/run"], ["nowhere/run", "netpick generate"]),
        (["status", "nowhere/run"], ["nowhere/run"]),
        (["trian"], ["trian", "train"]),
        (["train", "--bogus"], ["--bogus"]),
        (["generate"], ["TEMPLATE", "--networks FILE"]),
        (["show"], ["no run in runs", "netpick generate"]),
        (["export", "runs/x"], ["Missing option", "--to"]),
        (["show", "runs/x"], ["one network, got none", "netpick show runs/x Basic"]),
        (["generate", "smoke", "--limit", "few"], ["--limit", "'few'"]),
        (["generate", "smoke", "--seed", "-1"], ["--seed", "-1"]),
        (["ask", "runs/x", "weird", "--wrong", "half"], ["--wrong", "'half'"]),
        (["time", "runs/x", "--format", "yaml"], ["--format", "'yaml'", "json"]),
    ],
)
def test_bad_words_are_refused_in_one_line(arguments, says, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused(*arguments)
    for part in says:
        assert part in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["show", "n" * 300], "no network '"),
        (["show", "\udcff"], "no network '"),
        (["export", "n" * 300, "--to", "net.py"], "no network '"),
        (["time", "n" * 300], "'nnn"),
        (["show", "x/" + "n" * 300, "Basic"], "no run at x/n"),
        (["time", "--threads", "9" * 5000], "--threads: wants numbers from 1 on, such as 1,2, got '9999"),
        (["time", "--threads", "²"], "got '²'"),
    ],
)
def test_words_that_can_be_no_name_are_refused_in_one_line(generated, tmp_path, command, says, refused, monkeypatch):
    shutil.copytree(generated, tmp_path / "runs" / "run")
    monkeypatch.chdir(tmp_path)
    assert says in refused(*command)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--workers", "0"], ["--workers", "got 0"]),
        (["--workers", "-2"], ["--workers", "got -2"]),
        (["--workers", "many"], ["--workers", "'many'"]),
        (["--workers", "9" * 5000], ["--workers: wants auto or a number from 1 on, got '9999"]),
        (["--workers", "--5"], ["--workers", "'--5'"]),
        (["--workers", "²"], ["--workers", "'²'"]),
        (["--epochs", "0"], ["recipe.epochs", "got 0"]),
        (["--set", "recipe.batch_size=-5"], ["recipe.batch_size", "got -5"]),
        (["--set", "seed=3"], ["--set seed=3", "recipe.*"]),
        (["--device", "tpu"], ["tpu"]),
        (["--device", "cuda:77"], ["cuda:77", "cpu"]),
        (["--device", "cpu", "--set", "recipe.precision=tf32"], ["tf32", "CUDA"]),
        (["--scores", "some"], ["--scores", "'some'", "all, last, none"]),
        (["--weights", "all"], ["--weights", "'all'"]),
        (["--retry", "done"], ["--retry", "'done'"]),
    ],
)
def test_bad_training_options_are_refused_before_anything_is_done(generated, options, says, refused):
    before = sorted(p.name for p in generated.iterdir())
    message = refused("train", generated, *options)
    for part in says:
        assert part in message
    assert sorted(p.name for p in generated.iterdir() if p.name != ".lock") == [n for n in before if n != ".lock"]


def test_the_recipe_of_a_run_with_results_stays(trained, refused):
    message = refused("train", trained[0], "--set", "recipe.lr=0.5")
    assert "lr from 0.01 to 0.5" in message
    assert "--run runs/OTHER" in message
    assert "epochs" in refused("train", trained[0], "--epochs", 7)
    assert "--scores all" in refused("train", trained[0], "--scores", "last")


def test_missing_data_is_explained(tmp_path, call, refused, monkeypatch):
    import urllib.request

    def no_network(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    folder, empty = tmp_path / "run", tmp_path / "empty"
    empty.mkdir()
    assert call("generate", "smoke", "--limit", 1, "--run", folder)[0] == 0
    message = refused("train", folder, "--data-dir", empty)
    for part in ("mnist", str(empty), "train-images-idx3-ubyte", "digits", "NETPICK_DATA"):
        assert part in message


def test_a_half_written_run_is_named(generated, refused):
    (generated / "run.toml").unlink()
    message = refused("train", generated)
    assert "half-written" in message
    assert str(generated) in message


def test_a_run_of_a_newer_schema_is_refused(generated, refused):
    text = (generated / "run.toml").read_text().replace("schema_version = 2", "schema_version = 99")
    (generated / "run.toml").write_text(text)
    for command in ("train", "status", "compact"):
        message = refused(command, generated)
        assert "99" in message
        assert "upgrade" in message


def test_a_run_in_use_is_refused(generated, refused):
    hold = (
        "import sys, time; from netpick.store.folder import Store\n"
        "with Store.open(sys.argv[1]).lock():\n print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold, str(generated)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        message = refused("train", generated)
        assert "in use by another process" in message
        assert str(holder.pid) in message
        assert "in use" in refused("compact", generated)
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into read-only folders")
def test_a_read_only_place_is_refused(tmp_path, template, refused):
    tmp_path.chmod(0o500)
    try:
        assert "read-only" in refused("generate", template, "--run", tmp_path / "run", code=1)
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_of_something_else_is_never_removed(tmp_path, template, refused):
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter1.txt").write_text("precious")
    message = refused("generate", template, "--run", precious, "--overwrite")
    assert "left alone" in message
    assert (precious / "chapter1.txt").read_text() == "precious"
    refused("generate", template, "--run", precious)


def test_without_a_name_the_newest_run_is_taken(tmp_path, template, call, refused, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "netpick generate" in refused("status")
    assert call("generate", template, "--run", "runs/older")[0] == 0
    assert call("generate", template)[0] == 0
    assert Path("runs/three/run.toml").is_file()
    _, out, _ = call("status")
    assert "runs/three" in out
    shutil.rmtree("runs/three")
    assert "runs/older" in call("status")[1]


def test_templates_are_listed(call):
    _, out, _ = call("templates")
    for name in ("netpicking", "square", "thousand-light", "smoke"):
        assert name in out


def test_help_needs_no_heavy_library():
    code = """if True:
        import sys
        from netpick.cli import app
        try:
            app.main(["--help"])
        except SystemExit:
            heavy = {"torch", "pandas", "pyarrow", "numpy", "sklearn", "matplotlib"} & set(sys.modules)
            assert not heavy, heavy
    """
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
