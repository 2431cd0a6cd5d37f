"""What may import what: training knows nothing of files, and analysis nothing of torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import netpick

PACKAGE = Path(netpick.__file__).parent
HEAVY = ("torch", "torchvision", "thop", "pandas", "pyarrow", "sklearn", "scipy", "seaborn", "matplotlib", "joblib")


def loaded_after(code):
    """The modules that a fresh process has after running some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def imports(file):
    """The modules that a file names in import statements, wherever they stand."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def within(names, package):
    return {name for name in names if name == package or name.startswith(f"{package}.")}


def test_the_package_and_its_command_line_start_light():
    found = loaded_after("import netpick, netpick.cli")
    assert not found & set(HEAVY)


@pytest.mark.parametrize(
    "code",
    [
        "import netpick.run; netpick.Run",
        "import netpick.template, netpick.catalogue, netpick.spec, netpick.operations, netpick.computations",
        "import netpick.store, netpick.schema, netpick.result, netpick.metrics, netpick.errors, netpick.generate",
        "import pkgutil, importlib, netpick.analysis, netpick.report\n"
        "for package in (netpick.analysis, netpick.report):\n"
        "    for one in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(one.name)",
    ],
)
def test_looking_at_results_never_loads_torch(code):
    assert not loaded_after(code) & {"torch", "torchvision", "thop"}


def test_a_catalogue_is_made_without_torch():
    code = (
        "from netpick import catalogue, template\n"
        "assert len(catalogue.generate(template.load('smoke'), (1, 28, 28), 10)) > 40"
    )
    assert not loaded_after(code) & set(HEAVY)


def test_training_knows_nothing_of_files():
    for name in ("train", "build", "measure", "plan", "pool"):
        found = imports(PACKAGE / f"{name}.py")
        for owner in ("netpick.store", "netpick.run", "netpick.shards", "pyarrow", "pandas"):
            assert not within(found, owner), name


def test_descriptions_know_nothing_of_torch():
    for name in (
        "errors",
        "spec",
        "operations",
        "computations",
        "template",
        "catalogue",
        "result",
        "schema",
        "metrics",
    ):
        assert not within(imports(PACKAGE / f"{name}.py"), "torch"), name


def test_pyarrow_has_one_owner():
    users = {file.stem for file in PACKAGE.rglob("*.py") if within(imports(file), "pyarrow")}
    assert users == {"store", "shards", "compact"}  # store, and the two modules that it stands on


def test_what_no_one_may_import():
    """The data flow one way: what stands earlier knows nothing of what comes after it."""
    order = ["spec", "template", "catalogue", "build", "measure", "train", "pool", "session", "cli"]
    for place, name in enumerate(order):
        found = imports(PACKAGE / f"{name}.py")
        later = {f"netpick.{other}" for other in order[place + 1 :]}
        assert not found & later, name


def test_only_the_command_line_prints():
    for file in PACKAGE.rglob("*.py"):
        if file.stem.startswith("cli"):
            continue
        calls = [
            node.func for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
        ]
        assert not [func for func in calls if isinstance(func, ast.Name) and func.id == "print"], file
