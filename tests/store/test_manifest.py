"""run.toml as a stranger may have written it: one line names the file, the key, what was got and what is allowed."""

import os
import tomllib
from datetime import UTC, date, datetime, timedelta

import pytest
import tomli_w

from netpick.core.errors import RunError
from netpick.exam import Run, plant
from netpick.store import Store
from netpick.store.runs import newest_run


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manifest") / "run"
    plant(folder, 12, 50, epochs=1)
    return folder


@pytest.fixture
def change(planted):
    """Change the manifest for one test; returns the run."""
    file = planted / "run.toml"
    before = file.read_bytes()

    def edit(**keys):
        values = {**tomllib.loads(before.decode()), **keys}
        file.write_text(tomli_w.dumps({key: value for key, value in values.items() if value is not None}))
        return planted

    yield edit
    file.write_bytes(before)


WRONG = {
    "recipe": ({"recipe": 0}, "recipe: expected object, got int: 0"),
    "replicates": ({"recipe": {"replicates": []}}, "recipe.replicates: expected int, got array: []"),
    "word": ({"recipe": {"replicates": "many"}}, "recipe.replicates: expected int, got str: 'many'"),
    "keep": ({"keep": 5}, "keep: expected object, got int: 5"),
    "scores": ({"keep": {"scores": "most"}}, "keep.scores: expected one of all, last, none, got 'most'"),
    "classes": ({"classes": ["a", 2]}, "classes[1]: expected str, got int: 2"),
    "no classes": ({"classes": []}, "classes: expected array of length >= 1, got []"),
    "shape": ({"shape": [1, {"a": 1}, 8]}, "shape[1]: expected int, got object: {'a': 1}"),
    "short": ({"shape": [8, 8]}, "shape: expected array of length >= 3, got [8, 8]"),
    "nothing": ({"shape": [1, 0, 8]}, "shape[1]: expected int >= 1, got 0"),
    "date": ({"created": date(2024, 1, 1)}, "created: expected datetime, got date: datetime.date(2024, 1, 1)"),
    "version": ({"schema_version": "1"}, "schema_version: expected int, got str: '1'"),
    "training": ({"training": {"devices": "cpu"}}, "training.devices: expected array, got str: 'cpu'"),
    "versions": ({"versions": {"torch": 2}}, "versions.torch: expected str, got int: 2"),
    "data": ({"data": {"image_size": [8]}}, "data.image_size: expected array of length >= 2, got [8]"),
    "mean": ({"input": {"mean": [0.5, 0.5]}}, "input.mean: expected one number a channel, 1, got [0.5, 0.5]"),
    "seed": ({"seed": 0.5}, "seed: expected int, got float: 0.5"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_of_another_kind_is_one_line(change, name):
    keys, said = WRONG[name]
    run = change(**keys)
    with pytest.raises(RunError) as caught:
        Store.open(run)
    assert str(caught.value) == f"{run / 'run.toml'}: {said}"


def test_colours_need_no_means(change):
    assert Run(change(shape=[3, 8, 8], input={"digest": "x"})).manifest["shape"] == [3, 8, 8]


def test_a_key_that_is_missing_is_told_where_it_is_asked_for(change):
    run = change(shape=None)
    manifest = Run(run).manifest
    assert manifest.get("shape", 1) == 1
    with pytest.raises(RunError, match=r"run\.toml has no shape, which this needs: restore it"):
        manifest["shape"]


def test_fewer_classes_than_the_tables_have_are_noticed(change):
    classes = Run(change()).classes
    run = change(classes=classes[:-1])
    with pytest.raises(RunError, match=rf"epochs/.* is of more than the {len(classes) - 1} classes that run\.toml"):
        _ = Run(run).epochs
    with pytest.raises(RunError, match=rf"has not exactly one column accuracy_{len(classes)}"):
        _ = Run(change(classes=[*classes, "more"])).epochs


def test_what_other_versions_wrote_stays_as_it_is(change):
    run = change(
        odd={"a": [1]}, created="2024-05-06T07:08:09+00:00", recipe={"lr": 1, "odd": 2}, training={"torch": "2"}
    )
    manifest = Store.open(run).manifest
    assert (manifest["odd"], manifest["training"]) == ({"a": [1]}, {"torch": "2"})
    assert manifest["recipe"] == {"lr": 1, "odd": 2}
    assert manifest["created"] == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def test_dotted_keys_are_refused_before_they_take_memory(change):
    run = change()
    with (run / "run.toml").open("a") as file:
        file.write(".".join("a" * 3000) + " = 1\n")
    with pytest.raises(RunError, match="a key of it has more than 20 parts"):
        Store.open(run)


def test_a_manifest_that_would_be_too_large_to_read_is_not_written(tmp_path):
    with pytest.raises(RunError, match="would be larger than 4 MiB"):
        Store.create(tmp_path / "run", {"classes": ["a"], "template": {"x": "x" * 2**22}}, [])
    assert not (tmp_path / "run").exists()


def test_the_newest_run_is_found_beside_what_is_no_manifest(tmp_path):
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    texts = ["a = " + "[" * 100_000, "created = 5", "x" * 2**23]
    for number, text in enumerate(texts):
        (tmp_path / f"bad{number}").mkdir()
        (tmp_path / f"bad{number}" / "run.toml").write_text(text)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "run.toml")
    for number in range(2):
        (tmp_path / f"run{number}").mkdir()
        (tmp_path / f"run{number}" / "run.toml").write_text(tomli_w.dumps({"created": moment + timedelta(number)}))
    assert newest_run(tmp_path) == tmp_path / "run1"
