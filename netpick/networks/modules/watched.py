"""What a network of the user's own code goes through in a forward pass: torch's layers, and functions beside them.

By these it is told to which family it belongs and what its views hold, as for networks whose layers are written down.
What torch's own layers do inside is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from netpick.networks.modules.build import Reshape
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.networks.paper.inferred import family_of
from netpick.networks.paper.spec import LayerSpec
from netpick.networks.paper.whole_networks import OWN

PLAIN = ("Linear", "Conv1d", "Conv2d", "Conv3d")

_BLOCKS = ("BasicBlock", "Bottleneck")
_CALLED = {name.lower(): name for name in (*PLAIN, *ACTIVATIONS)} | dict.fromkeys(("matmul", "mm", "addmm"), "Linear")
_VIEWS = ("view", "reshape", "viewas", "reshapeas")


class Watched(TorchFunctionMode):
    """A forward pass: `layers` are names of operations in order, `viewed` the elements that views give."""

    def __init__(self, model: nn.Module, given: Tensor) -> None:
        super().__init__()
        self.layers: list[str] = []
        self.viewed = 0
        self._inside = 0
        with contextlib.ExitStack() as stack:
            for module in model.modules():
                for handle in self._hooks(module):
                    stack.callback(handle.remove)
            # It ran before; what can't be watched, such as compiled code, is of a family that isn't known.
            stack.enter_context(contextlib.suppress(Exception))
            with torch.no_grad(), self:
                model(given)

    def _hooks(self, module: nn.Module) -> list[Any]:
        kind = type(module)
        if kind.__name__ in _BLOCKS:
            return [module.register_forward_pre_hook(lambda *_: self._note("BasicBlock"))]
        torchs = kind.__module__.startswith("torch.nn.modules.") and not kind.__module__.endswith(".container")
        if not torchs and kind is not Reshape:
            return []

        def enter(*_: Any) -> None:
            self._note(kind.__name__)
            self._inside += 1

        def leave(*_: Any) -> None:
            self._inside -= 1

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    def _note(self, name: str) -> None:
        if not self._inside:
            self.layers.append(name)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a function of torch, and note it where no layer of torch called it."""
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").replace("_", "")
        if name in _CALLED:
            self._note(_CALLED[name])
        if name in _VIEWS and not self._inside and isinstance(out, Tensor):
            self.viewed += out.numel()
        return out


def family(model: nn.Module, given: Tensor) -> tuple[str, str]:
    """Return computation and activation of a module, by what it goes through.

    Other layers with weights, such as `LSTM`, are the computation by their own name; where nothing is known, `Module`.
    """
    layers = Watched(model, given).layers
    computation, activation = family_of([LayerSpec(name, {}) for name in layers])
    weighted = {
        type(part).__name__ for part in model.modules() if next(part.parameters(recurse=False), None) is not None
    }
    other = next((name for name in layers if name in weighted and _is_other(name)), None)
    if other or not {*layers} & {*PLAIN}:
        computation = other or OWN
    return computation, activation


def _is_other(name: str) -> bool:
    return name not in (*PLAIN, *ACTIVATIONS) and "Norm" not in name
