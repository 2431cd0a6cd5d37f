"""The package as it is installed: its bounds have been run, and a user's program is checked against its types."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GOOD = """
from pathlib import Path

import netpick
from netpick.core import NetpickError, Recipe
from netpick.exam import Answer


def best(folder: str, figure: Path) -> str:
    try:
        answer: Answer = netpick.Run(folder).ask("scores")
    except NetpickError as error:
        return str(error)
    answer.save(figure)
    return str(answer.table.columns[0]) + answer.text


recipe = Recipe(lr=0.1, epochs=2)
print(best("runs/demo", Path("scores.svg")), recipe.epochs + 1, netpick.__version__)
"""
BAD = """
import netpick
from netpick.core import Recipe

text: str = netpick.Run(3).ask("scores")
Recipe(lr="high")
"""


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """Check a program as a user does who has installed the wheel; returns what mypy prints."""
    folder = tmp_path_factory.mktemp("user")
    source = folder / "source"
    for name in ("netpick", "analysis", "templates"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    build = "import setuptools.build_meta as build; build.build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv/bin/python"
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip())
    [wheel] = source.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    # What else a user has is borrowed from here.
    (site / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    large = ",".join(tools["mypy"]["overrides"][0]["module"])
    (folder / "mypy.ini").write_text(f"[mypy]\nstrict = true\n[mypy-{large}]\nfollow_imports = skip\n")

    def check(program):
        (folder / "program.py").write_text(program)
        command = [sys.executable, "-m", "mypy", "--python-executable", python, "program.py"]
        environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MYPYPATH")}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        return done.stdout + done.stderr

    return check


def test_a_typed_program_passes(mypy):
    assert mypy(GOOD) == "Success: no issues found in 1 source file\n"


def test_what_does_not_fit_is_found(mypy):
    said = mypy(BAD)
    assert said.count("error:") == 3, said
    for part in ('"Run" has incompatible type "int"', 'type "Answer", variable has type "str"', '"Recipe" has incomp'):
        assert part in said


def test_every_bound_is_a_version_that_the_tests_have_been_run_with():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = dict(re.split(">=", line) for line in project["dependencies"] + project["optional-dependencies"]["dev"])
    pins = [line.split("==") for line in (ROOT / "constraints-lowest.txt").read_text().splitlines() if "==" in line]
    lowest = {name.lower(): version for name, version in pins}
    # `make lowest` runs tests alone; an older torch is not to be had for every machine.
    not_run = {"import-linter", "mypy", "pandas-stubs", "pre-commit", "ruff", "torch", "torchvision"}
    assert lowest == {name.lower(): bound for name, bound in bounds.items() if name not in not_run}
