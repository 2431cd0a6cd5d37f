"""Runs that come from elsewhere: names are checked, links are not followed, flipped bits are noticed."""

import io
import os
import random
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from netpick.core.errors import NetpickError, RunError
from netpick.exam import Run, plant
from netpick.report import write_figures
from netpick.store import Store


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strangers") / "run"
    plant(folder, 12, 60, epochs=2)
    return folder


@pytest.fixture
def run(planted, tmp_path):
    shutil.copytree(planted, tmp_path / "run")
    return tmp_path / "run"


def rewrite(path, change):
    table = change(pq.read_table(path))
    path.unlink()
    pq.write_table(table, path)


def put(table, column, values):
    return table.set_column(table.schema.get_field_index(column), column, pa.array(values))


def read_all(folder):
    run = Run(folder)
    frames = [run.networks, run.trainings, run.epochs, run.predictions(None, None, None, None), run.samples]
    return [frame.copy() for frame in frames]


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "..", "", "a/b", "x" * 300, "a\x1b[31m", "a\nb"])
def test_a_name_that_is_no_name_is_refused_wherever_networks_are_read(run, name):
    rewrite(run / "networks.parquet", lambda t: put(t, "name", [name, *t["name"].to_pylist()[1:]]))
    for read in (lambda: Run(run).networks, lambda: Store.open(run).networks()):
        with pytest.raises(RunError, match="can't be a network's name") as caught:
            read()
        assert "\x1b" not in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("recipe", ["1", "true", "null", "[]", '"lr"', "0"])
def test_a_recipe_that_is_no_table_is_refused(run, recipe):
    rewrite(run / "networks.parquet", lambda t: put(t, "recipe", [recipe, *t["recipe"].to_pylist()[1:]]))
    for read in (lambda: Run(run).wanted, lambda: Store.open(run).networks()):
        with pytest.raises(RunError, match="the recipe is no table"):
            read()


@pytest.mark.parametrize("table", ["trainings", "epochs", "predictions"])
def test_a_merged_file_without_rows_is_left_alone(run, table):
    Store.open(run).compact()
    (merged,) = (run / table).iterdir()
    rows = pq.read_table(merged)
    merged.unlink()
    pq.write_table(rows.slice(0, 0), merged)  # with what the file says of itself
    before = merged.read_bytes()
    Store.open(run).compact()
    assert merged.read_bytes() == before


def test_a_hash_that_leads_elsewhere_is_refused(run):
    rewrite(run / "networks.parquet", lambda t: put(t, "hash", ["../x", *t["hash"].to_pylist()[1:]]))
    with pytest.raises(RunError, match="no hash or family"):
        _ = Run(run).networks


def test_trainings_that_a_merged_file_names_outside_the_run_are_refused(run, tmp_path):
    store = Store.open(run)
    with store.lock():
        store.compact()
    victim = tmp_path / "x-0.parquet"
    victim.write_text("mine")
    part = next((run / "epochs").glob("part-*.parquet"))
    table = pq.read_table(part)
    metadata = {**table.schema.metadata, b"netpick.holds": b'["../../x-0"]'}
    part.unlink()
    pq.write_table(table.replace_schema_metadata(metadata), part)
    with pytest.raises(RunError, match="is broken"), store.lock():
        Store.open(run).recover()
    assert victim.read_text() == "mine"


def test_another_catalogue_than_the_one_generated_is_noticed(tmp_path):
    from netpick.sessions import generate_run

    folder = tmp_path / "run"
    generate_run("smoke", folder, "digits", limit=3)
    assert len(Run(folder).networks) >= 3
    rewrite(folder / "networks.parquet", lambda t: put(t, "layers", t["layers"].to_pylist()[::-1]))
    with pytest.raises(RunError, match="not the catalogue that the run was generated with"):
        _ = Run(folder).networks


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.drop_columns(["hash"]),
        lambda t: t.append_column("name", t["name"]),
        lambda t: t.rename_columns([f"x{c}" for c in t.column_names]),
        lambda t: put(t, "params", ["many"] * len(t)),
        lambda t: put(t, "computation", [None] * len(t)),
    ],
)
def test_a_catalogue_of_another_form_is_refused_in_one_line(run, change):
    rewrite(run / "networks.parquet", change)
    with pytest.raises(RunError) as caught:
        _ = Run(run).networks
    assert len(str(caught.value).splitlines()) == 1


def test_no_link_in_a_run_is_followed(run, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in (".lock.pid", "events.jsonl"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(victim)
    store = Store.open(run)
    with store.lock():
        store.append_event({"event": "begin"})
        store.update_manifest(title="another")
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["trainings", "epochs", "predictions", "weights"])
def test_a_folder_of_the_run_that_is_a_link_is_refused(run, tmp_path, name):
    if (run / name).is_dir():
        shutil.rmtree(run / name)
    (tmp_path / "elsewhere").mkdir()
    (run / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=f"{name} is a link"):
        Store.open(run)


def test_figures_are_not_written_through_a_link_of_the_run(run, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for target in ("elsewhere", "nowhere"):
        (run / "figures").symlink_to(tmp_path / target)
        with pytest.raises(RunError, match="figures is a link"):
            write_figures(Run(run), run / "figures", ("svg",), ["scores"])
        (run / "figures").unlink()
    assert not any((tmp_path / "elsewhere").iterdir())
    assert not (tmp_path / "nowhere").exists()


def listing(folder):
    return {p: (p.lstat().st_mtime_ns, p.lstat().st_size) for p in [folder, *folder.rglob("*")]}


def test_asking_whether_a_run_is_in_use_writes_nothing(run):
    (run / ".lock").unlink(missing_ok=True)
    before = listing(run)
    assert not Store.open(run).in_use()
    assert listing(run) == before
    with Store.open(run).lock():
        assert Store.open(run).in_use()
    assert not Store.open(run).in_use()


def test_a_pipe_for_a_manifest_does_not_hang(run):
    (run / "run.toml").unlink()
    os.mkfifo(run / "run.toml")
    with pytest.raises(RunError, match="not a regular file"):
        Store.open(run)


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 100_000, "a = 1\n" + "b = {c=" * 3000, "x = " + "1" * 5000, "\ufeff[x]"]
)
def test_a_manifest_of_any_form_is_refused_in_one_line(run, text):
    (run / "run.toml").write_text(text)
    with pytest.raises(RunError) as caught:
        Store.open(run)
    assert len(str(caught.value)) < 600


def test_lines_of_the_log_of_another_form_are_left_out(run):
    lines = [
        "[]",
        "1",
        '{"event": 1, "time": "2026-01-01T00:00:00+00:00"}',
        '{"time": "x"}',
        "[" * 99_999,
        '{"event": "end"}',
    ]
    (run / "events.jsonl").write_text("\n".join(lines))
    assert Store.open(run).events() == []


def test_only_a_png_is_taken_for_a_sample(run):
    def change(content):
        rewrite(run / "samples.parquet", lambda t: put(t, "image", [content, *t["image"].to_pylist()[1:]]))

    assert Run(run).image(0).dtype == np.uint8
    first = Run(run).samples["split"].iloc[0]
    bmp = io.BytesIO()
    Image.new("L", (4, 4)).save(bmp, "BMP")
    for content in (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", bmp.getvalue(), b""):
        change(content)
        with pytest.raises(RunError, match="no image that can be read"):
            Run(run).image(0, first)


def test_no_flipped_bit_gives_another_value_without_a_word(planted, tmp_path):
    expected = read_all(planted)
    rng = random.Random(4)
    files = [p for p in planted.rglob("*.parquet") if p.stat().st_size > 300]
    silent, noticed = [], 0
    for case in range(150):
        folder = tmp_path / str(case)
        shutil.copytree(planted, folder)
        victim = folder / rng.choice(files).relative_to(planted)
        content = bytearray(victim.read_bytes())
        at = rng.randrange(len(content) * 8)
        content[at // 8] ^= 1 << at % 8
        victim.write_bytes(content)
        try:
            found = read_all(folder)
        except NetpickError:
            noticed += 1
            continue
        finally:
            shutil.rmtree(folder)
        if not all(a.equals(b) for a, b in zip(expected, found, strict=True)):
            silent.append((victim.relative_to(folder), at // 8, len(content)))
    assert not silent
    assert noticed > 30


def turn(file, at):
    """Turn one bit of a byte, and give the file a time of change that is surely another."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(0, content[at]))


def test_each_page_of_a_merged_file_is_checked_as_it_is_read_for_the_first_time(run):
    store = Store.open(run)
    store.compact()
    (file,) = (run / "predictions").glob("*.parquet")
    metadata = pq.read_metadata(file)
    last = metadata.row_group(metadata.num_row_groups - 1)
    (chunk,) = (last.column(i) for i in range(last.num_columns) if last.column(i).path_in_schema == "score_1")
    at = chunk.data_page_offset + chunk.total_compressed_size // 2
    expected = Run(run).scores()
    turn(file, at)
    reader = Run(run)
    assert len(reader.predicted()) == len(expected)  # of other columns
    for _ in range(2):  # what was found broken is no more right the second time
        with pytest.raises(RunError, match="broken"):
            reader.scores()
    turn(file, at)
    assert np.array_equal(reader.scores(), expected)
    assert np.array_equal(reader.scores(), expected)
    assert reader.predictions()["score_1"].tolist() == expected[:, :, 1].ravel().tolist()
    turn(file, at)
    with pytest.raises(RunError, match="broken"):  # the file is another one than that which was checked
        reader.scores()
