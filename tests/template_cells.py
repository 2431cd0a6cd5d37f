"""Cells of templates, as a user writes them, for tests that need small networks and don't mind which."""

from __future__ import annotations


def explicit(name: str, *layers: str, more: str = "") -> str:
    """Write a cell of one network; `more` are further lines of it."""
    written = "\n".join(f"    {{ op = {one} }}," for one in layers)
    return f'\n[[cells]]\nkind = "explicit"\nname = "{name}"\nlayers = [\n{written}\n]\n{more}'


def linear(into: object, out: object) -> str:
    """Write a linear layer; words are placeholders, such as pixels and classes."""
    into, out = (f'"{size}"' if isinstance(size, str) else size for size in (into, out))
    return f'"Linear", in_features = {into}, out_features = {out}'


BASIC = explicit("Basic", '"Reshape", shape = ["pixels"]', linear("pixels", "classes"), '"LogSoftmax"')
"""One linear layer."""

MLP = explicit("Mlp", '"Flatten"', linear("pixels", 6), '"ReLU"', linear(6, "classes"), '"LogSoftmax"')
"""Two linear layers."""
