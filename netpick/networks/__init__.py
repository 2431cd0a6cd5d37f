"""From a template to networks: on paper, as a catalogue, as modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netpick.core.front_door import front_door

if TYPE_CHECKING:
    from netpick.networks.catalogue.catalogue import generate
    from netpick.networks.catalogue.template import Template
    from netpick.networks.paper.spec import LayerSpec, NetworkSpec

__all__ = [
    "LayerSpec",
    "NetworkSpec",
    "Template",
    "generate",
]

__getattr__, __dir__ = front_door(
    __name__,
    {
        "paper.spec": ("LayerSpec", "NetworkSpec"),
        "catalogue.template": ("Template",),
        "catalogue.catalogue": ("generate",),
    },
)
