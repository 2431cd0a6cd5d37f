from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest
from template_cells import BASIC

from netpick.core import provenance
from netpick.core.errors import CatalogueError, DataError, NetpickError, RunError, TemplateError
from netpick.core.provenance import git_commit, versions
from netpick.networks.catalogue import template
from netpick.networks.catalogue.catalogue import generate as networks_of
from netpick.networks.modules.measure import measure
from netpick.networks.paper.spec import NetworkSpec, layer
from netpick.sessions.generate import digest, generate_run
from netpick.store.folder import Store

TINY = f"""
title = "Tiny"
dataset = "digits"

[recipe]
epochs = 2
timeout = 9.5
{BASIC}
[[cells]]
kind = "sampled"
computation = "Conv2d"
count = {{ None = 2, ReLU = 4 }}
channels = [1, 4]
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A template in an empty folder of one's own."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return str(path)


def test_a_run_has_its_networks_measured(tiny):
    made = generate_run(tiny)
    assert not made.unchanged
    assert made.store.path == Path("runs/tiny")
    rows = pd.read_parquet("runs/tiny/networks.parquet")
    wanted = networks_of(template.load(tiny), (1, 8, 8), 10)
    assert made.networks == wanted
    assert list(rows["name"]) == [one.name for one in wanted]
    assert list(rows["hash"]) == [one.hash for one in wanted]
    for one, row in zip(wanted, rows.to_dict("records"), strict=True):
        assert NetworkSpec.from_dict(row) == one
        count = measure(one.layers, (1, 8, 8))
        assert {key: row[key] for key in ("params", "memory", "ops", "depth", "macs", "thop_macs")} == vars(count)


def test_the_manifest_says_what_and_with_which(tiny):
    generate_run(tiny, seed=3, overrides=["recipe.lr=0.5"])
    found = Store.open("runs/tiny").manifest
    assert (found["title"], found["source"], found["dataset"], found["seed"]) == ("Tiny", "tiny", "digits", 3)
    assert (found["shape"], found["classes"], found["networks"]) == ([1, 8, 8], list("0123456789"), 7)
    assert found["catalogue"] == digest(networks_of(template.load(tiny), (1, 8, 8), 10, 3))
    recipe = template.parse_recipe(found["recipe"], "run.toml")
    assert recipe == template.load(tiny, ["recipe.lr=0.5"]).recipe
    assert (recipe.lr, recipe.epochs, recipe.timeout) == (0.5, 2, 9.5)
    assert found["template"]["cells"][1]["count"] == {"None": 2, "ReLU": 4}
    assert found["versions"]["torch"] == metadata.version("torch")
    assert found["versions"]["python"] == platform.python_version()


def test_a_share_of_the_networks(tiny):
    made = generate_run(tiny, "some", limit=4)
    assert [one.name for one in made.networks] == ["Basic", "Conv2d_1", "Conv2dReLU_1", "Conv2dReLU_2"]
    assert made.store.manifest["limit"] == 4
    assert len(pd.read_parquet("some/networks.parquet")) == 4


def test_another_data_set_makes_another_folder(tiny):
    made = generate_run(tiny, dataset="cifar10", limit=1)
    assert made.store.path == Path("runs/tiny-cifar10")
    assert made.store.manifest["shape"] == [3, 32, 32]
    assert made.networks[0].layers[1].args["in_features"] == 3 * 32 * 32


def test_the_same_again_is_no_work(tiny, monkeypatch):
    first = generate_run(tiny)
    before = {path: path.stat().st_mtime_ns for path in first.store.path.rglob("*") if path.is_file()}
    monkeypatch.setattr("netpick.networks.modules.measure.measure_all", None)  # not asked again
    again = generate_run(tiny)
    assert again.unchanged
    assert again.networks == first.networks
    assert {path: path.stat().st_mtime_ns for path in first.store.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"seed": 1}, "another seed"),
        ({"dataset": "mnist"}, "another data set"),
        ({"overrides": ["recipe.lr=0.5"]}, "another recipe"),
        ({"overrides": ["recipe.timeout=3"]}, "another recipe"),
        ({"limit": 3}, "another catalogue of networks"),
    ],
)
def test_a_run_that_is_there_is_not_overwritten_by_another(tiny, changes, what):
    generate_run(tiny, "here")
    with pytest.raises(RunError) as caught:
        generate_run(tiny, "here", **changes)
    assert str(caught.value) == (
        f"here is a run already, with {what}: give another folder with --run, "
        "or --overwrite to remove it and its results"
    )
    assert len(pd.read_parquet("here/networks.parquet")) == 7
    made = generate_run(tiny, "here", overwrite=True, **changes)
    assert not made.unchanged
    assert Store.open("here").manifest["catalogue"] == digest(made.networks)


def test_overwriting_takes_the_results_along(tiny):
    generate_run(tiny, "here")
    Path("here/trainings/x.parquet").write_bytes(b"old")
    generate_run(tiny, "here", overwrite=True)
    assert list(Path("here/trainings").iterdir()) == []


def test_overwriting_leaves_alone_what_is_no_run(tiny):
    folder = Path("documents")
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(RunError, match="documents"):
            generate_run(tiny, folder, overwrite=overwrite)
    assert (folder / "thesis.txt").read_text() == "years of work"
    with pytest.raises(RunError, match=r"tiny\.toml"):
        generate_run(tiny, tiny, overwrite=True)
    assert Path(tiny).read_text() == TINY


def test_overwriting_leaves_alone_what_is_in_use(tiny):
    code = (
        "import sys; from netpick.store.folder import Store\n"
        "with Store.open('here').lock(): print('locked', flush=True); sys.stdin.read()"
    )
    generate_run(tiny, "here")
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b"locked\n"
            with pytest.raises(RunError, match="in use by another process"):
                generate_run(tiny, "here", seed=1, overwrite=True)
        finally:
            other.stdin.close()
    assert Store.open("here").manifest["seed"] == 0


def test_a_half_written_run_is_made_again(tiny):
    for overwrite in (False, True):
        generate_run(tiny, "here")
        Path("here/run.toml").unlink()
        with pytest.raises(RunError, match="half-written"):
            Store.open("here")
        generate_run(tiny, "here", overwrite=overwrite)
        assert len(Store.open("here").networks()) == 7


def test_an_empty_folder_is_taken(tiny):
    Path("empty").mkdir()
    generate_run(tiny, "empty", limit=1)
    assert len(Store.open("empty").networks()) == 1


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"name": "nope"}, TemplateError, "no template 'nope'"),
        ({"dataset": "mnits"}, DataError, "unknown data set 'mnits' (did you mean 'mnist'?)"),
        ({"overrides": ["dataset=cifar"]}, DataError, "unknown data set 'cifar'"),
        ({"limit": 0}, TemplateError, "--limit: wants a number of networks from 1 on, got 0"),
        ({"limit": -2}, TemplateError, "got -2"),
        ({"seed": -1}, DataError, "seed of the data is -1"),
        ({"seed": 2**32}, DataError, "from 0 to 4294967295"),
        ({"overrides": ["recipe.epochs=0"]}, TemplateError, "recipe.epochs: expected int >= 1, got 0"),
        ({"overrides": ["defaults.max_params=3"]}, CatalogueError, "max_params = 3 is at fault"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing_behind(tiny, arguments, kind, words):
    with pytest.raises(kind) as caught:
        generate_run(**{"name": tiny, **arguments})
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert isinstance(caught.value, NetpickError)
    assert not Path("runs").exists()


def test_digest_is_of_names_families_layers_and_their_order():
    one = NetworkSpec("a", "Linear", "None", (layer("ReLU"),))
    other = NetworkSpec("b", "Linear", "None", (layer("Tanh"),))
    different = [
        [],
        [one],
        [one, other],
        [other, one],
        [NetworkSpec("c", "Linear", "None", (layer("ReLU"),))],
        [NetworkSpec("a", "Conv1d", "None", (layer("ReLU"),))],
        [NetworkSpec("a", "Linear", "ReLU", (layer("ReLU"),))],
        [NetworkSpec("a", "Linear", "None", (layer("SELU"),))],
    ]
    assert len({digest(networks) for networks in different}) == len(different)
    again = [NetworkSpec.from_dict(json.loads(json.dumps(one.to_dict())))]
    assert digest(again) == digest([one])


def test_git_commit_is_the_one_of_the_checkout(monkeypatch, tmp_path):
    root = provenance.PACKAGE.parent
    if (root / ".git").exists():
        head = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        assert git_commit() == head.stdout.strip()
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "site-packages" / "netpick")
    assert git_commit() is None


def test_versions_are_those_that_results_depend_on():
    found = versions()
    assert {"netpick", "python", "torch", "numpy", "joblib", "thop", "pyarrow"} <= found.keys()
    assert all(found[name] == metadata.version(name) for name in found if name != "python")
