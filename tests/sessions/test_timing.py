"""Networks timed alone: what is written, who uses it, and which device to take from which size on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from template_cells import BASIC, explicit

from netpick import Run, exam
from netpick.core.errors import DeviceError, NetpickError, RunError
from netpick.exam import pick, plant
from netpick.exam.network_card import card
from netpick.sessions import stopwatch, timing
from netpick.sessions.comparison import compare
from netpick.sessions.timing import time_run
from netpick.sessions.workers.process import attempt
from netpick.sessions.workers.task import Ended
from netpick.store.folder import Store


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timing") / "run"
    plant(folder, networks=20, samples=60, epochs=2)
    return folder


@pytest.fixture
def run(planted, tmp_path):
    return shutil.copytree(planted, tmp_path / "run")


def row(name, step=0.002, device="cpu", threads=1, latency=1e-4, throughput=1e5, hash_="h"):
    return {
        "network": name, "hash": hash_, "device": device, "device_name": "A processor", "threads": threads,
        "plan": "fp32", "batch_size": 25, "step_seconds": step, "epoch_steps": 7, "latency": latency,
        "throughput": throughput, "throughput_batch": 250, "repeats": 7, "measured": datetime.now(UTC),
    }  # fmt: skip


def timed_all(folder, leave_out=()):
    """Give every network a time of its own, by its place in the catalogue."""
    names = [name for name in Run(folder).networks["name"] if name not in leave_out]
    rows = [
        row(name, 0.001 * (n + 1), latency=1e-5 * (n + 1), throughput=1e5 / (n + 1)) for n, name in enumerate(names)
    ]
    Store.open(folder).write_timings(rows)
    return names


# Measuring


def test_networks_are_timed_alone_and_the_rest_stays(run):
    names = Run(run).networks["name"].tolist()
    Store.open(run).update_manifest(dataset="digits")  # of the planted run's shape
    Store.open(run).write_timings([row(names[0], step=123.0), row(names[5], step=7.0), row(names[0], device="cuda:0")])
    before = {
        file: file.read_bytes()
        for file in run.rglob("*.parquet")
        if file.name not in ("timings.parquet", "layer_times.parquet")
    }
    heard = []
    found = time_run(run, names[:2], devices="cpu,mps,cuda:7", seconds=0.05, busy=True, on_row=heard.append)
    assert [one["network"] for one in found.rows] == names[:2] == [one["network"] for one in heard]
    assert found.devices == ["cpu"]
    assert not found.failed
    assert len(found.missing) == 2
    assert "no device 'cuda:7' on this machine" in found.missing[1]
    frame = Run(run).timings.set_index(["network", "device"])
    assert len(frame) == 4
    assert frame.loc[(names[5], "cpu"), "step_seconds"] == 7
    assert frame.loc[(names[0], "cuda:0"), "step_seconds"] == 0.002
    mine = frame.loc[(names[0], "cpu")]  # measured again
    assert 0 < mine["step_seconds"] < 5
    assert 0 < mine["latency"] < 5
    # A batch is never slower, an input, than single ones.
    assert mine["throughput"] > 0.8 / mine["latency"]
    assert (mine["threads"], mine["repeats"]) == (1, stopwatch.REPEATS)
    # digits have 1437 training samples
    recipe = Run(run).recipe
    assert mine["epoch_steps"] == -(-1437 // recipe.get("batch_size", 32))
    layers = Run(run).layer_times
    layers = layers[layers["network"].isin(names[:2])]
    of = exam.layers(Run(run))
    assert layers["op"].tolist() == [layer["op"] for name in names[:2] for layer in of[name]]
    macs = Run(run).networks.set_index("name")["macs"]
    assert layers.groupby("network")["macs"].sum().to_dict() == macs[names[:2]].to_dict()
    assert (layers["seconds"] > 0).all()
    # A forward pass is its layers and little else; both are measured on a machine that others use.
    together = layers.groupby("network")["seconds"].sum()
    latency = frame["latency"].xs("cpu", level="device")
    assert (together[names[:2]] < 10 * latency[names[:2]]).all()
    assert before == {file: file.read_bytes() for file in before}
    assert not (run / ".cache").exists()


def test_a_machine_that_others_use_is_refused(run, monkeypatch):
    monkeypatch.setattr(timing, "others_cores", lambda: 1.4)
    with pytest.raises(NetpickError, match=r"the machine is busy: other processes use 1\.4 of \d+ cores .* --busy"):
        time_run(run)
    assert not (run / "timings.parquet").exists()


def test_other_processes_are_noticed():
    import subprocess
    import sys

    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            assert timing.others_cores(0.5) > 0.2
        finally:
            other.kill()


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"networks": ["Basik"]}, RunError, "did you mean 'Basic'"),
        ({"computations": ["Conv4d"]}, RunError, "no computation 'Conv4d'"),
        ({"devices": "gpu"}, DeviceError, "unknown device 'gpu'"),
        ({"devices": ","}, DeviceError, "--devices: wants names"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, asked, error, said):
    with pytest.raises(error, match=said) as caught:
        time_run(run, busy=True, **asked)
    assert "\n" not in str(caught.value)


WITH_BASELINES = f"""
title = "A network and two baselines"
dataset = "digits"
[recipe]
train_samples = 100
epochs = 1
{explicit("Nearest", '"baseline:nearest_mean"')}
{explicit("Neighbours", '"sklearn:KNeighborsClassifier"')}
{BASIC}"""


def test_baselines_are_left_out_and_named(tmp_path, capsys, monkeypatch):
    from netpick.cli.app import main

    # In this process: starting a worker takes seconds.
    def in_this_process(tasks, work, workers, devices):
        yield from (Ended(task, attempt(work, task)[1]) for task in tasks)

    monkeypatch.setattr(timing.pool, "stream", in_this_process)

    def netpick(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, " ".join(err.split())

    (tmp_path / "three.toml").write_text(WITH_BASELINES)
    folder = tmp_path / "run"
    assert netpick("generate", tmp_path / "three.toml", "--run", folder)[0] == 0
    code, out, err = netpick("time", folder, "--devices", "cpu", "--seconds", "0.05", "--busy")
    assert code == 0
    assert "left out: Nearest, Neighbours: baselines, which have no training step to time" in err
    assert "Basic" in out
    assert Run(folder).timings["network"].tolist() == ["Basic"]
    code, out, err = netpick("time", folder, "Nearest", "--devices", "cpu", "--busy")
    assert (code, err.split(": ", 1)[0]) == (2, "netpick")
    assert "none of the networks asked for is trained by gradient: name others" in err


@pytest.mark.parametrize("plan", ["fp32/explicit/fused/tuned", "bf16/eager/fused/plain"])
def test_a_forward_pass_is_timed_as_an_evaluation_does_it(monkeypatch, plan):
    import torch
    from test_loop import CONV

    from netpick.core.recipe import Recipe
    from netpick.networks.modules import build
    from netpick.training import Job, Plan, initial, train
    from netpick.training.job import EVALUATION_BATCH
    from netpick.training.plan import pinned

    seen = []
    building = build.build

    def watched(layers, tuned):
        def note(module, args, output):
            if not module.training:
                state = torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), output.dtype
                seen.append((len(args[0]), type(module[1]), tuned, *state))

        model = building(layers, tuned=tuned)
        model.register_forward_hook(note)
        return model

    monkeypatch.setattr(initial, "build", watched)
    monkeypatch.setattr(build, "build", watched)
    x, y = torch.rand(stopwatch.BATCH, 1, 4, 4), torch.zeros(stopwatch.BATCH, dtype=torch.int64)
    data, recipe = {"train": (x, y), "test": (x, y)}, Recipe(epochs=1)
    job = Job(CONV, recipe, 0, Plan(**pinned(plan)))
    assert train(job, data).status == "done"
    evaluated, seen[:] = set(seen), []
    seconds, times = stopwatch.forward_seconds(job, data, stopwatch.BATCH, 0.01)
    assert evaluated == set(seen)
    assert len(evaluated) == 1
    assert seconds > 0
    assert times >= stopwatch.REPEATS
    assert stopwatch.BATCH == EVALUATION_BATCH


# Which device


def frame_of(sizes, first, second):
    names = [f"N{n}" for n in range(len(sizes))]
    rows = [row(n, s, "cpu") for n, s in zip(names, first, strict=True)]
    rows += [row(n, s, "cuda:0") for n, s in zip(names, second, strict=True)]
    return pd.DataFrame(rows), dict(zip(names, sizes, strict=True))


def test_an_overview_has_one_device_in_milliseconds_and_several_beside_each_other():
    frame, macs = frame_of([10, 1000], [0.002, 0.001], [0.001, 0.002])
    timed = timing.Timings(frame.to_dict("records"), [], ["cpu", "cuda:0"], [], macs=macs)
    assert timed.overview().text == compare(frame, macs).text
    assert list(timed.overview().table) == ["network", "macs", "cpu", "cuda:0", "fastest"]
    alone = replace(timed, rows=[row | {"latency": 0.5, "throughput": 7.0} for row in timed.rows[:2]])
    expected = {"network": ["N1", "N0"], "macs": [1000, 10], "step_ms": [1.0, 2.0], "latency_ms": [500.0] * 2}
    assert alone.overview().table.to_dict("list") == expected | {"throughput": [7.0] * 2}
    assert alone.overview().text == ""
    assert alone.where() == f"cpu ({timed.rows[0]['device_name']})"


def test_the_size_from_which_on_the_other_device_is_faster_is_found():
    sizes = [10**n for n in range(2, 9)]
    cpu = [1e-5 + size * 1e-9 for size in sizes]  # the card takes a millisecond whatever it does: equal at a million
    cuda = [1e-3 + size * 1e-12 for size in sizes]
    found = compare(*frame_of(sizes, cpu, cuda))
    assert (
        "Use cpu for networks below 1,000,000 macs an input (faster for 4 of 4), and cuda:0 from there on" in found.text
    )
    assert "(faster for 3 of 3)" in found.text
    assert found.table["fastest"].tolist() == ["cpu"] * 4 + ["cuda:0"] * 3
    assert found.table["macs"].tolist() == sizes


def test_one_device_for_all():
    sizes = [100, 1000, 10_000]
    found = compare(*frame_of(sizes, [1, 2, 3], [2, 4, 6]))
    assert found.text == "Use cpu for all 3 networks: its steps are 2 times as fast as those of cuda:0."
    found = compare(*frame_of(sizes, [4, 8, 12], [1, 2, 3]))
    assert found.text == "Use cuda:0 for all 3 networks: its steps are 4 times as fast as those of cpu."


def test_the_cut_is_the_best_one_of_all_that_can_be_made():
    random = np.random.default_rng(3)
    for _ in range(30):
        sizes = np.sort(random.integers(1, 10**6, 9))
        a, b = random.lognormal(size=(2, 9))
        text = compare(*frame_of(sizes.tolist(), a, b)).text
        # By a plain loop: all cuts, with either device for the small ones.
        cuts = {}
        for cut in range(10):
            cuts["cpu", cut] = np.log(a[:cut]).sum() + np.log(b[cut:]).sum()
            cuts["cuda:0", cut] = np.log(b[:cut]).sum() + np.log(a[cut:]).sum()
        small, cut = min(cuts, key=cuts.get)
        if 0 < cut < 9:
            assert f"Use {small} for networks below {sizes[cut]:,} macs" in text
        else:
            best = small if cut == 9 else {"cpu": "cuda:0", "cuda:0": "cpu"}[small]
            assert text.startswith(f"Use {best}")


# Who uses the times


def test_study_time_is_that_of_each_network_alone_where_all_were_timed(run):
    before = Run(run).ask("study_time", everyone=True)
    assert "alone" not in before.note
    names = timed_all(run)
    opened = Run(run)
    students = exam.students(opened).set_index("name")
    for n, name in enumerate(names):
        if name in students.index:
            assert students.loc[name, "seconds"] == pytest.approx(2 * 7 * 0.001 * (n + 1))  # two epochs of seven steps
    answer = opened.ask("study_time", everyone=True)
    assert "times are of each network alone on A processor (cpu)" in answer.note
    assert answer.table.iloc[-1]["most"] == pytest.approx(students["seconds"].max())
    versus = opened.ask("versus", first=names[3], second=names[0])
    value = versus.table.set_index("measure")
    assert value.loc["latency", "ratio"] == pytest.approx(4)
    assert value.loc["throughput", "ratio"] == pytest.approx(1 / 4)
    assert "alone on A processor" in versus.note


def test_times_of_some_networks_are_not_mixed_with_the_others(run):
    seconds = exam.students(Run(run))["seconds"]
    timed_all(run, leave_out=(name := Run(run).networks["name"].iloc[-1],))
    opened = Run(run)
    pd.testing.assert_series_equal(exam.students(opened)["seconds"], seconds)
    assert "19 of 20 networks were timed alone: `netpick time` times the others" in exam.times(opened)
    assert np.isnan(exam.students(opened).set_index("name").loc[name, "latency"])


def test_a_network_is_picked_by_its_latency(run):
    with pytest.raises(NetpickError, match=r"latency has not been measured: `netpick time .*` does"):
        pick(Run(run), {"max_latency": 1e-4})
    names = timed_all(run, leave_out=(Run(run).networks["name"].iloc[0],))
    found = pick(Run(run), {"max_latency": 5.5e-5}, minimize=["latency"])
    assert found.candidates == 5  # the first five of those that were timed
    assert set(found.table["name"]) <= set(names[:5])
    assert "latency" in found.text
    fastest = pick(Run(run), maximize=["throughput"])
    assert fastest.name == names[0]
    assert "inputs/s" in fastest.text or "throughput" in fastest.text


def test_a_card_and_a_cascade_tell_the_times(run):
    names = timed_all(run)
    made = card(Run(run), names[2])
    costs = made.costs.set_index("cost")
    assert costs.loc["latency", "value"] == pytest.approx(3e-5)
    assert costs.loc["step_seconds", "value"] == pytest.approx(0.003)
    table = Run(run).ask("cascade", everyone=True).table
    assert len(table)
    place = {name: 1e-5 * (n + 1) for n, name in enumerate(names)}
    wanted = table["small"].map(place) + table["passed"] * table["large"].map(place)
    np.testing.assert_allclose(table["latency"], wanted)


def test_the_device_of_the_trainings_goes_first(run):
    names = Run(run).networks["name"].tolist()
    trained_on = set(Run(run).trainings["device"])
    assert trained_on == {"cpu"}
    rows = [row(name, 9.0, device="cuda:0") for name in names] + [row(names[0], 2.0), row(names[0], 1.0, threads=4)]
    Store.open(run).write_timings(rows)
    found = exam.timed(Run(run))
    assert found["step_seconds"].tolist() == [2.0]
