"""Texts that are nested deeply are refused before they are parsed."""

import tomllib

import pytest

from netpick.core.texts import deepest, parse_toml


def test_what_people_write_is_parsed_as_tomllib_does():
    text = 'title = "a.b.c [[[ x"\n[a.b."c.d"]\nx = [[1, 2], [3.5]]\ny = {z = 1, w.v = 2}\n'
    text += f'long = "{"a. " * 99}"\n"it.s".b = """\n{"a.b" * 99}"""  # {"a." * 99}\n'
    assert parse_toml(text) == tomllib.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 51 + "]" * 51,
        "x = " + "{a = " * 51,
        ".".join("a" * 3000) + " = 1",
        "[" + " . ".join("a" * 3000) + "]",
        "x = {" + ".".join(['"b"', "'c'", "d"] * 10) + " = 1}",
        "x = 1" + "0" * 5000,
        "x = ",
    ],
)
def test_what_is_nested_deeply_or_is_no_toml_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"deep|parts|digits|Invalid") as caught:
        parse_toml(text)
    assert len(str(caught.value)) < 200


def test_long_texts_without_dots_take_no_time():
    assert parse_toml("x = '" + "a" * 1_000_000 + "'\n")  # a search from every letter on would take minutes


def test_deepest_counts_open_brackets():
    assert [deepest(text) for text in ("", "[]{}", "[{[]}]", "]]][")] == [0, 1, 3, 0]
