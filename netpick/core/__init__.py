"""What every room shares: errors, words, the recipe, a training's result, devices, atomic files, provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netpick.core.front_door import front_door

if TYPE_CHECKING:
    from netpick.core.errors import NetpickError
    from netpick.core.recipe import Recipe
    from netpick.core.result import TrainingResult

__all__ = [
    "NetpickError",
    "Recipe",
    "TrainingResult",
]

__getattr__, __dir__ = front_door(
    __name__,
    {
        "errors": ("NetpickError",),
        "recipe": ("Recipe",),
        "result": ("TrainingResult",),
    },
)
