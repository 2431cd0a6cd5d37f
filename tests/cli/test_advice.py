"""What netpick says is what a stranger may have named: advice that is copied, tables that a spreadsheet opens."""

import csv
import io
import re
import subprocess

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from template_cells import BASIC, MLP

from netpick.cli import screen
from netpick.core.advice import command
from netpick.exam import plant
from netpick.exam.run import Run

FOLDER = "-run $(touch owned) 'one' \"two\" `id` {red};|&<i>"
NETWORK = "=1+1 $(touch owned) 'one' \"two\" `id`"


def shell(text, folder):
    """The words that a shell makes of a text, of which a command `netpick` is told."""
    script = f'netpick() {{ for word in "$@"; do printf \'%s\\0\' "$word"; done; }}\n{text}'
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert not (folder / "owned").exists()
    return done.stdout.split("\0")[:-1]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to stand in, with a finished run in it of which folder and networks have such names."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / FOLDER
    plant(folder, networks=12, samples=60, epochs=1)
    for file in [folder / "networks.parquet", *folder.glob("*/*.parquet")]:
        read = pq.ParquetFile(file).read()
        for key in {"name", "network"} & set(read.column_names):
            names = [f"{NETWORK} {name}" for name in read[key].to_pylist()]
            column = pa.array(names, pa.string()).cast(read.schema.field(key).type)
            read = read.set_column(read.column_names.index(key), read.schema.field(key), column)
        pq.write_table(read.replace_schema_metadata(None), file)  # not the old checksum
    manifest = folder / "run.toml"
    manifest.write_text(re.sub(r"(?m)^catalogue = .*\n", "", manifest.read_text()))
    return tmp_path


WORDS = [("$(touch owned)",), ("a b", "'", '"', "`id`", "*", "~", ""), ("--to", "-x"), ("\n",)]


@pytest.mark.parametrize("words", WORDS)
def test_a_command_that_is_advised_is_to_a_shell_what_was_meant(words, tmp_path):
    assert shell(command(*words), tmp_path) == list(words)


def test_a_path_that_begins_with_a_dash_is_no_option(tmp_path):
    assert shell(command("ask", tmp_path.joinpath("-x").relative_to(tmp_path)), tmp_path) == ["ask", "./-x"]


def test_what_is_advised_after_training_and_picking_can_be_copied(here, call):
    code, out, _ = call("train", f"./{FOLDER}", "--device", "cpu")
    assert code == 0
    lines = [re.split(r" {4,}", line.partition("netpick")[2])[0] for line in out.splitlines() if "netpick " in line]
    words = [shell(f"netpick{line}", here) for line in lines]
    assert [line[:2] for line in words] == [[name, f"./{FOLDER}"] for name in ("ask", "pick", "show", "explore")]
    assert words[2][2].startswith(NETWORK)
    assert call(*words[2])[0] == 0

    code, out, _ = call("pick", f"./{FOLDER}")
    assert code == 0
    words = [shell(f"netpick{line.partition('netpick')[2]}", here) for line in out.splitlines() if "netpick " in line]
    assert [line[:2] for line in words] == [["show", f"./{FOLDER}"], ["export", f"./{FOLDER}"]]
    assert all(line[2].startswith(NETWORK) for line in words)


def test_replicates_that_are_missing_are_trained_by_the_commands_that_are_advised(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.toml").write_text(
        f'title = "Two"\ndataset = "digits"\n[recipe]\nepochs = 2\noptimizer_args = {{ amsgrad = true }}\n{BASIC}{MLP}'
    )
    assert call("generate", "two.toml")[0] == 0
    assert call("train", "runs/two", "--device", "cpu", "--workers", "1", "--no-estimate")[0] == 0
    code, _, error = call("ask", "runs/two", "committee", "--members", "Basic", "--largest", "4", "--everyone")
    assert code == 2
    assert "a committee needs two members and there is 1 replicate of Basic" in error
    for text in re.findall(r"`netpick (.*?)`", error):
        words = shell(f"netpick {text}", tmp_path)
        assert call(*words, *(["--device", "cpu"] if words[0] == "train" else []))[0] == 0
    made, original = Run("runs/replicates-4"), Run("runs/two")
    assert made.networks["hash"].tolist() == original.networks["hash"].tolist()[:1]
    assert made.recipe == {**original.recipe, "replicates": 4}
    assert call("ask", "runs/replicates-4", "committee", "--members", "Basic", "--largest", "4", "--everyone")[0] == 0


@pytest.mark.parametrize(
    ("words", "before", "after"),
    [
        (("ask", "RUN", "--plot"), "name one first, ", " lists them"),
        (("pick", "RUN", "--max-latency", "1"), "has not been measured: `", "` does"),
    ],
)
def test_what_errors_advise_can_be_copied(words, before, after, here, call):
    code, _, err = call(*(word.replace("RUN", f"./{FOLDER}") for word in words))
    assert code == 2
    advised = err.rpartition(before)[2].rpartition(after)[0]
    assert shell(advised, here)[1:] == [f"./{FOLDER}"]


def test_nothing_in_csv_is_a_formula_to_a_spreadsheet(capsys):
    texts = ["=1+1", "+1 %", "-x", "@SUM(A1)", "\t=1", "\r=1", "a=1", "", "-1.5", "+3", None]
    frame = pd.DataFrame({"=name": texts, "number": -1.5, "count": range(-5, 6), "right": True})
    for column in ("=name", pd.Categorical(texts)):
        given = frame if isinstance(column, str) else frame.assign(**{"=name": column})
        screen.show_frame(given, "csv")
        rows = list(csv.reader(io.StringIO(capsys.readouterr().out, newline="")))
        assert rows[0] == ["'=name", "number", "count", "right"]
        assert [row[0] for row in rows[1:]] == [
            "'=1+1", "'+1 %", "'-x", "'@SUM(A1)", "'\t=1", "'\r=1", "a=1", "", "-1.5", "+3", "",
        ]  # fmt: skip
        assert rows[1][1:] == ["-1.5", "-5", "True"]


def test_a_question_as_csv_has_no_formula(here, call):
    code, out, _ = call("ask", f"./{FOLDER}", "best", "--format", "csv")
    assert code == 0
    cells = [cell for row in csv.reader(io.StringIO(out)) for cell in row]
    assert any(NETWORK in cell for cell in cells)
    assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r") and not re.fullmatch(r"[-+]?[\d.]+", cell)]


@pytest.mark.parametrize("pending", [0, 1])
def test_training_is_advised_where_it_helps(pending, tmp_path, call):
    folder = tmp_path / "run"
    plant(folder, networks=12, samples=60, epochs=1, pending=pending)
    (folder / "samples.parquet").unlink()
    code, _, err = call("ask", folder, "easy")
    assert code == 2
    assert (f"`netpick train {folder}` writes it" in err) == bool(pending)
    assert ("restore it from a copy" in err) == (not pending)


def test_what_is_broken_is_left_out_by_an_option_of_the_command(tmp_path, call):
    folder = tmp_path / "run"
    plant(folder, networks=12, samples=60, epochs=1)
    sorted((folder / "predictions").iterdir())[0].write_bytes(b"PAR1")
    _, _, err = call("ask", folder, "easy")
    assert "with --skip-broken" in err
    assert call("ask", folder, "easy", "--skip-broken")[0] == 0
