"""The blocks of shell commands, run as a stranger runs them: page by page, in an empty folder, in the order written.

Networks are few, epochs one, and data that would be downloaded are the bundled digits; all else is as on the page.
"""

import shlex
import shutil
import subprocess
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from own_images import write_flat
from pages import PAGES, README, ROOT, blocks, needs_pages, shell_commands, text

from netpick.cli import app as cli
from netpick.exam import questions
from netpick.exam.answer import Answer
from netpick.report.page import FOUND

pytestmark = needs_pages
TEMPLATE, NETWORKS, QUESTION = (f"docs/howto/{name}.md" for name in ("template", "networks", "question"))
DEMO = [line for line in shell_commands("docs/getting_started.md") if "runs/demo" in line and line[1] != "ask"][:2]
ELSEWHERE = {
    "CONTRIBUTING.md": "what a change must pass, which is this",
    "benchmarks/README.md": "its scripts run for minutes to hours, and have tests of their own",
    "docs/explanation/security.md": "is about a run that a stranger gave",
    "docs/exam/mnist.md": "is written by `make exam`, from a run of these commands",
    "docs/exam/digits.md": "is written by `make exam`, from a run of these commands",
    "docs/studies.md": "is written by benchmarks/studies.py, from runs of these very commands",
    "docs/howto/gpu.md": "needs a GPU",
    "docs/howto/cluster.md": "needs a cluster, as tests/sessions/test_cluster.py makes one",
}
RUNNING = [page for page in PAGES if blocks(page, "sh") and page not in ELSEWHERE]
DOWNLOADED = ("netpicking", "thousand-light", "smoke")
"""Templates whose data set is MNIST unless another is named."""


def small(arguments):
    """Return a command line that does the same with fewer networks, fewer epochs, and data that are here."""
    name, *rest = arguments
    if name == "time":
        return [name, *(word.replace("50", "3") for word in rest), "--busy"]  # others may use the machine
    if name == "train" and "--workers" not in rest and "--help" not in rest:
        rest += ["--workers", "1"]
    if name != "generate":
        return [name, *rest]
    template = next((word for word in rest if word in DOWNLOADED), None)
    data = rest[rest.index("--dataset") + 1] if "--dataset" in rest else "mnist"
    if template and "--run" not in rest:
        own = "" if "--dataset" not in rest else f"-{data.partition(':')[2].partition('.')[0] or data}"
        rest += ["--run", f"runs/{template}{own}"]
    if "mine.toml" in rest:
        rest += ["--limit", "9"]
    if template and "--limit" not in rest:
        rest += ["--limit", "24" if "runs/demo" in rest else "9"]
    elif template:
        rest[rest.index("--limit") + 1] = "9"
    if template and "mnist" in data:
        rest += ["--dataset", "digits"]
    return [name, *rest, *([] if "runs/demo" in rest else ["--set", "recipe.epochs=1"])]


def run(line, monkeypatch):
    """Call netpick as its script does, and fail where it exits with anything but 0."""
    monkeypatch.setattr("sys.argv", ["netpick", *small(line[1:])])
    monkeypatch.setattr("sys.stdin", StringIO("y\n"))
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code in (0, None), shlex.join(line)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A small run for runs/demo, trained by the two commands that `make demo` is short for."""
    here = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        for line in DEMO:
            run(line, patch)
    return here / "runs/demo"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """The answers of five classifiers, as the README makes them; some of them under other names, and a few alone."""
    here = tmp_path_factory.mktemp("theirs")
    (block,) = [block for block in blocks(README, "python") if "predict_proba" in block]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        exec(block, {})
    more = pd.read_parquet(here / "theirs.parquet").query("network == 'GaussianNB'").assign(network="other")
    more.to_csv(here / "more.csv", index=False)
    pd.DataFrame({"network": ["other"], "params": [640]}).to_csv(here / "more-students.csv", index=False)
    pd.DataFrame({"sample": range(30), "mine": 0}).to_csv(here / "mine.csv", index=False)
    return here


@pytest.fixture
def stranger(tmp_path, demo, theirs, monkeypatch):
    """Stand in a folder with what the pages say that a reader has: images, arrays, and the files that they show."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(theirs, tmp_path, dirs_exist_ok=True)
    write_flat(tmp_path / "shoes", {f"Shoe{i}": 30 for i in range(10)})
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "shoes.npz", x_train=rng.integers(0, 256, (60, 8, 8), np.uint8), y_train=np.arange(60) % 10)
    for name, block in zip(("mine", "sweep", "augmented"), blocks(TEMPLATE, "toml"), strict=True):
        (tmp_path / f"{name}.toml").write_text(block)
    (tmp_path / "nets.py").write_text(next(block for block in blocks(NETWORKS, "python") if "nn.Module" in block))
    (tmp_path / "analysis").mkdir()
    question = next(block for block in blocks(QUESTION, "python") if "def ask(" in block)
    (tmp_path / "analysis" / "deeper.py").write_text(question)
    shutil.copytree(demo, tmp_path / "runs/demo")
    monkeypatch.setattr(Answer, "figure", lambda answer: Figure((2, 1)))  # others test what is drawn, and all questions
    few = {name: questions.find(name) for name in ("scores", *FOUND)}
    monkeypatch.setattr(questions, "questions", lambda: few)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("page", RUNNING)
def test_every_block_of_shell_commands_works_in_the_order_written(page, stranger, monkeypatch, capsys):
    for line in shell_commands(page):
        if line[0] == "netpick" and line not in DEMO:
            run(line, monkeypatch)
            capsys.readouterr()


def test_what_takes_long_says_so():
    """Who trains a thousand networks, or a hundred on MNIST, is told how long that takes beside the command."""
    for page in set(PAGES) - set(ELSEWHERE):
        for block in blocks(page, "sh"):
            for line in block.splitlines():
                if line.startswith("netpick train runs/mnist") or line.startswith("make demo"):
                    assert "minutes" in line or "minutes" in text(page).split(line)[1][:900], f"{page}: {line}"


def test_make_installs_the_small_torch_where_it_is_asked_for_and_else_what_is_pinned():
    def lines(*given):
        made = subprocess.run(
            ["make", "--always-make", "-n", "install", *given], cwd=ROOT, capture_output=True, text=True
        )
        return [line for line in made.stdout.splitlines() if "pip install" in line]

    (small_one,), (usual,) = lines("TORCH=cpu"), lines()
    assert "--extra-index-url https://download.pytorch.org/whl/cpu --editable" in small_one
    assert "index-url" not in usual
    assert "TORCH=cpu" in text(README)
