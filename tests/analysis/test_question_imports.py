"""What a question may import: `netpick.exam`, and nothing of netpick that lies deeper."""

import ast
from pathlib import Path

import pytest

import netpick.analysis

ALLOWED = {"netpick", "netpick.exam", "netpick.analysis", "netpick.core", "netpick.networks.paper"}
FILES = sorted(Path(netpick.analysis.__path__[0]).glob("*.py"))


def imported(source):
    """The modules of netpick that a source imports, wherever the statement stands."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add("." * node.level + (node.module or ""))
    return {name for name in modules if name.startswith(".") or name.split(".")[0] == "netpick"}


def allowed(module):
    return module in ALLOWED or module.startswith(("netpick.analysis.", "netpick.core.", "netpick.networks.paper."))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_question_imports_netpick_exam_and_nothing_deeper(file):
    assert not [module for module in imported(file.read_text(encoding="utf-8")) if not allowed(module)]


def test_the_test_sees_what_is_deeper():
    source = "from netpick.exam.marks import GOOD\nfrom . import x\ndef f():\n    import netpick.store.reader"
    assert not any(map(allowed, imported(source)))
