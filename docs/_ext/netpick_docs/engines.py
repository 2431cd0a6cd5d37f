"""The engines and what they can do: from the table of engines and what each says of itself."""

from __future__ import annotations

from netpick.training import ENGINES
from netpick.training.engines import compiled as machine_code
from netpick_docs.markdown import cell, code, table


def engines() -> str:
    """Return the table of the engines, each with the first paragraph of its docstring."""
    said = {name: (engine.__doc__ or "").partition("\n\n")[0] for name, engine in ENGINES.items()}
    return table(["engine", "what it is"], ([f"`{name}`", cell(text)] for name, text in said.items()))


def compiled() -> str:
    """Return a sentence about the networks that machine code is for."""
    return (
        f"Compiled are networks of up to {machine_code.MOST_MACS:,} macs ({machine_code.MOST_LINEAR_MACS:,} of linear "
        "layers alone) that begin with `Reshape`, or `Flatten` and a linear layer: of all layers, with all their "
        f"arguments, but for {code(machine_code.MISSING)}, linear layers of images, and a batch norm without momentum. "
        f"Optimizers are {code(machine_code.OPTIMIZERS)}, whatever the loss and the schedule.\n"
    )
