"""Names of classes in figures and sentences: there where a class is shown, and as short as the place wants."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpick import Run
from netpick.core.words import short
from netpick.exam import plant
from netpick.store.folder import Store


@given(st.text(max_size=30), st.integers(1, 30))
def test_a_short_name_is_the_name_or_its_beginning(name, most):
    found = short(name, most)
    assert len(found) <= most
    assert found == name if len(name) <= most else found.endswith("…")
    assert name.startswith(found.removesuffix("…"))


NAMES = ["A very long name of boots", "Bag", "Çay", "$x^2$"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names") / "run"
    plant(folder, networks=24, samples=80, classes=4)
    store = Store.open(folder)
    store.update_manifest(classes=NAMES)
    return Run(folder)


@pytest.mark.parametrize("question", ["learning", "ability", "weird", "easy", "versus", "compare"])
def test_questions_say_names_and_no_numbers(run, question):
    answer = run.ask(question)
    assert "(class " not in answer.text
    answer.figure().savefig(io.BytesIO(), format="png", dpi=30)
    if question in ("learning", "ability"):
        assert any(f"('{name}'" in answer.text for name in NAMES)


@pytest.mark.parametrize("question", ["best", "versus", "compare"])
def test_long_names_are_cut_on_axes(run, question):
    a, b = run.networks["name"].iloc[:2]
    options = {"best": {"everyone": True}, "versus": {}, "compare": {"a": a, "b": b}}[question]
    figure = run.ask(question, **options).figure()
    said = [text.get_text() for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for text in axis.get_ticklabels()]
    assert "A very long nam…" in said
    assert NAMES[0] not in said
    assert NAMES[1] in said
