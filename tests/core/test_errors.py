from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpick.core import errors
from netpick.core.errors import NetpickError, WorkError, listed, suggest


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Tahn", " (did you mean 'Tanh'?)"),
        ("relu", " (did you mean 'ReLU'?)"),
        ("SIGMOID", " (did you mean 'Sigmoid'?)"),  # no letter but the first is the same
        ("Sigmoid", " (did you mean 'Sigmoid'?)"),
        ("xyz", ""),
        ("", ""),
    ],
)
def test_suggest_names_the_nearest_word_or_nothing(word, expected):
    assert suggest(word, ["ReLU", "Tanh", "Sigmoid"]) == expected


def test_suggest_takes_any_iterable_of_words():
    assert suggest("depht", {"depth": 1, "bias": 2}) == " (did you mean 'depth'?)"
    assert suggest("depht", iter(["depth"])) == " (did you mean 'depth'?)"
    assert suggest("depth", []) == ""


@given(st.text(), st.lists(st.text()))
def test_suggest_only_ever_names_an_allowed_word(word, allowed):
    said = suggest(word, allowed)
    assert said == "" or any(said == f" (did you mean '{one}'?)" for one in allowed)


def test_listed():
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", 2, None]) == "a, 2, None"
    assert listed({"a": 1, "b": 2}) == "a, b"
    assert listed(iter("abcd"), 2) == "a, b and 2 more"
    assert listed("abcd", 4) == "a, b, c, d"
    assert listed(range(13)).endswith("11 and 1 more")


def children(kind=NetpickError):
    return [kind, *(grandchild for child in kind.__subclasses__() for grandchild in children(child))]


@pytest.mark.parametrize("kind", children())
def test_bad_input_exits_with_2_and_failed_work_with_1(kind):
    assert kind.exit_code == (1 if issubclass(kind, WorkError) else 2)
    assert inspect.getdoc(kind)


def test_all_errors_of_the_module_are_netpick_errors():
    kinds = [k for _, k in inspect.getmembers(errors, inspect.isclass) if k.__module__ == errors.__name__]
    assert len(kinds) > 5
    assert all(issubclass(kind, NetpickError) for kind in kinds)


def test_a_message_is_one_line_even_where_it_quotes_what_is_not():
    assert str(NetpickError("no key 'a\nb'\r\nhere")) == "no key 'a b' here"
    assert str(NetpickError("no  key 'a  b'")) == "no  key 'a  b'"
    assert str(NetpickError()) == ""
