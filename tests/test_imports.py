"""What may import what: training knows nothing of files, and analysis nothing of torch."""

from __future__ import annotations

import ast
import importlib
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
    found = loaded_after(
        "import netpick.cli.app, netpick.core, netpick.networks, netpick.data, netpick.training, netpick.store, "
        "netpick.sessions, netpick.exam, netpick.report"
    )
    assert not found & set(HEAVY)


@pytest.mark.parametrize(
    "code",
    [
        "import netpick.exam.run; netpick.Run",
        "from netpick.core import devices, metrics, recipe, result, words",
        "import pkgutil, importlib\nfrom netpick.networks import catalogue, paper\n"
        "for package in (catalogue, paper):\n"
        "    for one in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(one.name)",
        "from netpick import data, store\ndata.load, store.Store, store.Reader\nimport netpick.sessions.generate",
        "import pkgutil, importlib, netpick.analysis, netpick.exam, netpick.report\n"
        "for package in (netpick.analysis, netpick.exam, netpick.report):\n"
        "    for one in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(one.name)",
    ],
)
def test_looking_at_results_never_loads_torch(code):
    assert not loaded_after(code) & {"torch", "torchvision", "thop"}


def test_a_run_is_looked_at_without_statistics():
    """They take longer to load than a run of ten thousand networks takes to be read."""
    code = "from netpick.exam import leading, students, tables\nfrom netpick.exam.questions import listing"
    assert "scipy.stats" not in loaded_after(code)


def test_a_catalogue_is_made_without_torch():
    code = (
        "from netpick.networks import generate\nfrom netpick.networks.catalogue import template\n"
        "assert len(generate(template.load('smoke'), (1, 28, 28), 10)) > 40"
    )
    assert not loaded_after(code) & set(HEAVY)


def test_only_the_command_line_prints():
    for file in PACKAGE.rglob("*.py"):
        if file.parent.name == "cli" or file.match("exam/device/measure.py"):  # a program, which a kit takes along
            continue
        calls = [
            node.func for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
        ]
        assert not [func for func in calls if isinstance(func, ast.Name) and func.id == "print"], file


def test_the_package_has_nine_rooms():
    there = {entry.name for entry in PACKAGE.iterdir() if entry.name != "__pycache__"}
    rooms = {"core", "networks", "data", "training", "store", "sessions", "exam", "report", "cli"}
    assert there - {"py.typed"} == {*rooms, "__init__.py"}


def test_every_name_of_a_front_door_is_there():
    for room in ("core", "networks", "data", "training", "store", "sessions", "exam", "report"):
        package = importlib.import_module(f"netpick.{room}")
        for name in package.__all__:
            assert getattr(package, name) is not None
            assert name in dir(package)
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = package.nothing
