"""A kit is measured by a process that has neither netpick nor torch, and what it wrote goes into the run."""

import csv
import json
import subprocess
import sys
from argparse import Namespace

import numpy as np
import pytest
from test_export import CLASSES, images, make_run  # noqa: F401  images is a fixture

from netpick import Run
from netpick.core.errors import DataError, NetpickError, RunError, WorkError
from netpick.core.pixels import Pixels
from netpick.exam import card
from netpick.exam.device import measure
from netpick.exam.device.kit import write_kit
from netpick.sessions import add_times
from netpick.store.schema import TABLES

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

NAMES = ["Basic", "Conv1dTanh_2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, images):  # noqa: F811
    folder = tmp_path_factory.mktemp("kit") / "run"
    return make_run(folder, images, only=[*NAMES, "Skips"], input={"mean": [0.25], "std": [0.5]})


@pytest.fixture(scope="module")
def kit(run, images, tmp_path_factory):  # noqa: F811
    pixels = images.numpy() * 0.5 + 0.25
    folder = tmp_path_factory.mktemp("kits") / "deep" / "kit"
    said = write_kit(run, NAMES, folder, lambda n: Pixels({"test": pixels}, pixels[:n], "?"), int8=True, samples=9)
    assert said.splitlines()[-1] == f"{folder}: 4 ONNX files, 9 samples; there: python measure.py"
    return folder


ALONE = """
import runpy, sys
class Nobody:
    def find_spec(self, name, *more):
        if name.partition(".")[0] in ("netpick", "torch", "pandas", "onnx", "sklearn"):
            raise ImportError("not on this device: " + name)
sys.meta_path.insert(0, Nobody())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def measured(kit, tmp_path_factory):
    """Every process of the program is one in which netpick and torch can't be imported."""
    here = tmp_path_factory.mktemp("device")
    alone = here / "alone.py"
    alone.write_text(ALONE)
    program = kit / "measure.py"
    program.write_text(
        program.read_text().replace("[sys.executable, __file__", f"[sys.executable, {str(alone)!r}, __file__")
    )
    words = [sys.executable, str(alone), str(program), "--seconds", "0.02", "--device", 'A "board", 2', "--to", "t.csv"]
    done = subprocess.run(words, cwd=here, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("100.0 % answered as in the run") == 4
    assert done.stdout.endswith("t.csv: 4 of 4 networks\n")
    return here / "t.csv"


def test_a_kit_has_all_that_a_device_needs(kit, run):
    models = json.loads((kit / "kit.json").read_text())["models"]
    files = [f"{name}{kind}.onnx" for name in NAMES for kind in ("", ".int8")]
    assert [model["file"] for model in models] == files
    assert {p.name for p in kit.iterdir()} == {*files, "kit.json", "samples.npz", "measure.py", "README.txt"}
    with np.load(kit / "samples.npz") as held:
        assert len(held["images"]) == 9
        for number, name in enumerate(NAMES):
            assert held["answers"][2 * number].tolist() == run.predicted(networks=name)[0][held["samples"]].tolist()
    assert f"netpick time {run.path} --add timings.csv" in (kit / "README.txt").read_text()
    assert json.loads((kit / "kit.json").read_text())["classes"] == CLASSES


def test_what_a_kit_wrote_goes_into_the_run_and_stays_apart(run, measured):
    rows = list(csv.DictReader(measured.open()))
    assert [*rows[0]] == measure.COLUMNS == [column.name for column in TABLES["device_times"]]
    added = add_times(run.path, measured)
    assert [(row["network"], row["precision"]) for row in added] == [(n, p) for n in NAMES for p in ("fp32", "int8")]
    again = Run(run.path)
    frame = again.device_times
    assert len(frame) == len(add_times(run.path, measured)) == 4
    assert len(Run(run.path).device_times) == 4
    for row, kept in zip(rows, frame.to_dict("records"), strict=True):
        assert kept["device_name"] == 'A "board", 2'
        assert kept["latency"] == float(row["latency"]) > 0
        assert kept["throughput"] == float(row["throughput"]) > 0
        assert 10e6 < kept["peak_memory_bytes"] < 1e9  # of a process with onnxruntime, without torch
        assert kept["agreement"] == 1
        assert kept["repeats"] >= 7
    assert not len(again.timings)
    sections = card(again, "Basic").sections
    assert sections["On other devices"]["precision"].tolist() == ["fp32", "int8"]
    assert "On other devices" not in card(again, "Skips").sections


def good(run, **changes):
    row = dict(zip(measure.COLUMNS, (
        "Basic", run.networks.set_index("name").loc["Basic", "hash"], "board", "onnxruntime 1", "fp32", 1, 0.001, 900.0,
        9, "", "", 1.0, 7, "2026-01-31T12:00:00+00:00"), strict=True))  # fmt: skip
    return {**row, **changes}


def written(path, rows, columns=None):
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        table = csv.DictWriter(file, columns or measure.COLUMNS)
        table.writeheader()
        table.writerows(rows)
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network": "Basics"}, r"row 1: the run has no network 'Basics' .did you mean 'Basic'"),
        ({"hash": "0" * 16}, "row 1: Basic is another network in this run"),
        ({"device_name": ""}, "device_name wants a word of 1 to 100 letters, got None"),
        ({"device_name": "a\x1b[31m"}, "device_name wants a word"),
        ({"device_name": "a\nb"}, "device_name wants a word"),
        ({"device_name": "b" * 101}, "device_name wants a word of 1 to 100 letters"),
        ({"precision": "int4"}, "precision wants fp32 or int8, got 'int4'"),
        ({"latency": -1}, "latency wants a number from 1e-09"),
        ({"latency": "nan"}, "latency wants a number"),
        ({"latency": "inf"}, "latency wants a number"),
        ({"latency": "fast"}, "can't be read"),
        ({"threads": 1.5}, "threads wants a whole number from 1 to 1024, got 1.5"),
        ({"joules": 0}, "joules wants a number"),
        ({"agreement": 1.01}, "agreement wants a number from 0 to 1, got 1.01"),
        ({"repeats": 1e9}, "repeats wants a whole number"),
        ({"measured": "yesterday"}, "measured wants a moment such as"),
        ({"measured": "2026-01-31T12:00:00"}, "measured wants a moment such as"),
    ],
)
def test_a_hostile_file_is_refused_in_one_line_and_changes_nothing(run, tmp_path, changes, said):
    path = run.path / "device_times.parquet"
    before = path.read_bytes() if path.is_file() else None
    file = written(tmp_path / "t.csv", [good(run, **changes)])
    with pytest.raises(DataError, match=said) as caught:
        add_times(run.path, file)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_files_that_are_none(run, tmp_path):
    for content, said in ((b"", "can't be read"), (b"\xff\xfe\x00", "can't be read|has no column"),
                          (b"a,b\n1,2\n", "has no column 'network'")):  # fmt: skip
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(DataError, match=said):
            add_times(run.path, tmp_path / "t.csv")
    with pytest.raises(DataError, match="has no rows: let the kit measure"):
        add_times(run.path, written(tmp_path / "t.csv", []))
    with pytest.raises(DataError, match="there is no such file"):
        add_times(run.path, tmp_path / "none.csv")


def test_what_cant_be_a_kit(run, kit, images, tmp_path):  # noqa: F811
    pixels = images.numpy() * 0.5 + 0.25

    def read(calibration):
        return Pixels({"test": pixels[::-1].copy()}, pixels, "?")

    for names, said in (([], "names of networks, got none"), (["Basics"], "did you mean 'Basic'")):
        with pytest.raises(NetpickError, match=said):
            write_kit(run, names, tmp_path / "kit", read)
    with pytest.raises(NetpickError, match="kit is there already"):
        write_kit(run, ["Basic"], kit, read)
    with pytest.raises(NetpickError, match="samples is 0: give a whole number from 1"):
        write_kit(run, ["Basic"], tmp_path / "kit", read, samples=0)
    with pytest.raises(WorkError, match="otherwise than"):
        write_kit(run, ["Basic"], tmp_path / "kit", read)
    bare = make_run(tmp_path / "bare", images, keep_weights=False, only=["Basic"])
    with pytest.raises(RunError, match="its weights were not kept"):
        write_kit(bare, ["Basic"], tmp_path / "kit", read)
    assert [path.name for path in tmp_path.iterdir()] == ["bare"]


def test_a_network_that_answers_otherwise_there_is_said(kit, tmp_path, monkeypatch, capsys):
    """A device whose arithmetic is broken: most answers are others than the kit's."""
    monkeypatch.setattr(measure, "HERE", kit)
    row = measure.measured(
        json.loads((kit / "kit.json").read_text())["models"][0], 0,
        Namespace(threads=1, seconds=0.01, powercap=str(tmp_path)),
    )  # fmt: skip
    assert row["agreement"] == 1
    assert row["joules"] is None
    answers = {"stdout": json.dumps({**row, "agreement": 0.5}), "stderr": "", "returncode": 0}
    monkeypatch.setattr(measure.subprocess, "run", lambda *words, **more: Namespace(**answers))
    assert measure.main(["--to", str(tmp_path / "t.csv")]) == 1
    assert capsys.readouterr().err.count("answers otherwise than in the run") == 4
    answers.update(returncode=1, stderr="Traceback\nImportError: no onnxruntime\n")
    assert measure.main(["--to", str(tmp_path / "t.csv")]) == 1
    assert capsys.readouterr().err.count("not measured: ImportError: no onnxruntime") == 4


def test_energy_is_that_of_whole_processors_and_counts_over_its_end(tmp_path):
    def zone(name, used):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "energy_uj").write_text(f"{used}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("1000000000\n")

    for name, used in (("intel-rapl:0", 999_000_000), ("intel-rapl:1", 5), ("intel-rapl:0:0", 7)):
        zone(name, used)
    before = measure.energy(tmp_path)
    zone("intel-rapl:0", 1_000_000)
    zone("intel-rapl:1", 1_000_005)
    assert measure.joules(before, measure.energy(tmp_path)) == pytest.approx(2 + 1)
    assert measure.joules(before, before) is None
    assert measure.joules({}, {}) is None
    assert measure.energy(tmp_path / "none") == {}
