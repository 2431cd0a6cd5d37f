"""What networks are made of, which templates and data sets come along: from the tables that the code looks up."""

from __future__ import annotations

import json
from collections.abc import Mapping

from netpick.data.builtin import DATASETS
from netpick.networks.catalogue.layouts import COMPUTATIONS
from netpick.networks.catalogue.template import builtin_templates, load
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.networks.paper.operations import OPERATIONS
from netpick.networks.paper.whole_networks import BASELINES, MODELS
from netpick_docs.markdown import cell, code, table

ARGUMENTS = ("op", "arguments; those with a value may be left out")


def computations() -> str:
    """Return a sentence with the computations."""
    return f"The computations: {code(COMPUTATIONS)}.\n"


def activations() -> str:
    """Return a sentence with the activations."""
    return f"The activations: {code(ACTIVATIONS)}.\n"


def layers() -> str:
    """Return the table of the layers that are no activations, those with the same arguments in one row."""
    together: dict[str, list[str]] = {}
    for op, row in OPERATIONS.items():
        if row.role != "activation":
            together.setdefault(_arguments(row.arguments, row.defaults), []).append(op)
    return table(ARGUMENTS, ([code(ops), arguments or "none"] for arguments, ops in together.items()))


def further_arguments() -> str:
    """Return the table of the arguments that a network says only where they are not as torch has them by default."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for op, row in OPERATIONS.items():
        for name, option in row.options.items():
            together.setdefault((f"`{name}`", f"`{json.dumps(option.default)}`", option.kind.wanted), []).append(op)
    rows = ([*argument, code(ops)] for argument, ops in together.items())
    return table(["argument", "torch's default", "it can be", "of"], rows)


def whole_networks() -> str:
    """Return the table of the operations that are a whole network, torchvision's in one row."""
    (model, *_) = MODELS.values()
    models = f"`torchvision:NAME`, for {len(MODELS)} image classifiers of torchvision"
    rows = [[f"`{op}`", _arguments(row.arguments, row.defaults)] for op, row in BASELINES.items()]
    return table(ARGUMENTS, [*rows, [models, _arguments(model.arguments, model.defaults)]])


def templates() -> str:
    """Return the table of the templates that come along."""
    return table(["template", "what it makes"], ([f"`{name}`", cell(load(name).title)] for name in builtin_templates()))


def data_sets() -> str:
    """Return the table of the data sets that have a name."""
    rows = (
        [
            f"`{name}`",
            "×".join(map(str, source.shape)),
            f"{source.train:,} + {source.test:,}",
            f"`{source.folder}`" if source.folder else "none: comes with scikit-learn; split 80/20 by seed",
        ]
        for name, source in DATASETS.items()
    )
    return table(["data set", "images", "train + test", "files, below the data directory"], rows)


def _arguments(arguments: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    return ", ".join(f"`{name}`{_default(defaults, name)}" for name in arguments)


def _default(defaults: Mapping[str, object], name: str) -> str:
    return f" = {json.dumps(defaults[name])}" if defaults.get(name) is not None else ""
