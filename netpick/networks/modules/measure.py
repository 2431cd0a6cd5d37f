"""What a network costs, counted on the network itself: parameters, memory, ops, depth, macs.

All counts are of one forward pass of one input, and are made on a throwaway copy on the CPU, with whatever values lie
in its memory; the module that is trained is never touched. The definitions are in docs/explanation/measured.md.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from netpick.core.errors import NetpickError, SpecError, last_line
from netpick.core.processes import safe_path
from netpick.networks.modules.build import Reshape, build
from netpick.networks.modules.watched import Watched
from netpick.networks.paper.operation import Shape
from netpick.networks.paper.spec import LayerSpec, NetworkSpec, shapes, sizes
from netpick.networks.paper.whole_networks import OWN, WHOLE, baseline_counts, is_baseline, is_whole

REAL_PARAMS, REAL_MACS, REAL_VALUES = 20_000_000, 1_000_000_000, 50_000_000
"""Above these a throwaway copy with real tensors would cost more memory and time than it saves."""

WORTH_A_PROCESS = 150
"""Networks that take about as long to measure as a process takes to start and load torch."""

HANDFUL = 20
"""Networks that a process is given at a time."""


@dataclass(frozen=True)
class Measurement:
    """The counts of one network, with the names, units and meanings of the columns in networks.parquet."""

    params: int
    memory: int
    ops: int
    depth: int
    macs: int
    thop_macs: float | None


def measure(layers: Sequence[LayerSpec], image: Shape, samples: int = 0) -> Measurement:
    """Build a throwaway copy of a network and count; a baseline is worked out on paper.

    Parameters
    ----------
    layers : layers that `spec.check` has passed
    image : shape [C, H, W] of one image
    samples : number of training samples, which some baselines keep
    """
    if is_baseline(layers):
        return Measurement(**baseline_counts(layers[0].op, layers[0].resolved, image, samples), thop_macs=None)
    if is_whole(layers):
        return _measure_whole(layers, image)
    size = sizes(layers, image)
    with torch.device("meta"):  # the counts need no initial weights, and drawing them is what takes long in building
        model = build(layers).eval()  # a batch norm of one single value can't be run in training mode
        given = torch.empty(1, *image)
    values = sum(map(math.prod, shapes(layers, image)))  # which images of thousands of pixels a side have many of
    if size.params <= REAL_PARAMS and size.macs <= REAL_MACS and values <= REAL_VALUES:
        # Real tensors give the same counts as the meta device, whose kernels written in Python take twice as long.
        model, given = _with_memory(model), torch.zeros(1, *image)
    return measure_module(model, given, _Flops())


def _with_memory(model: nn.Module) -> nn.Module:
    """Give a model of the meta device tensors with whatever lies in memory; `to_empty` takes ten times as long."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(torch.empty(parameter.shape), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
    return model


class _Flops(TorchDispatchMode):
    """Counts operations by torch's own formulas; `FlopCounterMode` has an account for each module, and takes longer."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=out)
        return out

    def get_total_flops(self) -> int:
        """Return the operations so far, two for each multiply-accumulate."""
        return self.total


def _measure_whole(layers: Sequence[LayerSpec], image: Shape) -> Measurement:
    """Measure a network whose inside is not ours, with real tensors where it is small enough or can't be without."""
    try:
        device = "cpu"
        if not any(layer.op == OWN for layer in layers):  # the user's own may hold values that it needs
            with contextlib.suppress(NotImplementedError, RuntimeError):  # it reads a number while it is made
                with torch.device("meta"):
                    model = build(layers).eval()
                if sum(p.numel() for p in model.parameters()) > REAL_PARAMS:
                    device = "meta"
        if device == "cpu":
            model = build(layers).eval()
        given = torch.zeros(1, *image, device=device)
        counted = measure_module(model, given)
        if any(layer.op == OWN for layer in layers):  # elsewhere a view is a layer, and counted as such
            counted = replace(counted, memory=counted.memory + Watched(model, given).viewed)
    except NetpickError:
        raise
    except Exception as error:  # noqa: BLE001  whatever a network that is not ours raises is said in one line
        what = next(layer.op for layer in layers if layer.op in WHOLE)
        shape = "×".join(map(str, image))
        raise SpecError(f"{what} can't take images of {shape}: {last_line(error)}") from None
    return counted


def measure_all(
    networks: Sequence[NetworkSpec],
    image: Shape,
    workers: int = 1,
    samples: int = 0,
    on_measured: Callable[[int], object] = lambda number: None,
) -> list[Measurement]:
    """Measure many networks, in the order given, in several processes where that pays for starting them.

    `on_measured` is told of each handful of networks that is done how many they are.
    """
    parts = [networks[begin : begin + HANDFUL] for begin in range(0, len(networks), HANDFUL)]
    workers = min(workers, len(networks) // WORTH_A_PROCESS)
    done: Iterable[list[Measurement]] = (_measure_here(part, image, samples) for part in parts)
    out: list[Measurement] = []
    with safe_path():
        if workers >= 2:
            from joblib import Parallel, delayed

            pool = Parallel(n_jobs=workers, return_as="generator")
            done = pool(delayed(_measure_here)(part, image, samples) for part in parts)
        for measured in done:
            out += measured
            on_measured(len(measured))
    return out


def _measure_here(networks: Sequence[NetworkSpec], image: Shape, samples: int) -> list[Measurement]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one small input: more threads only wait for each other
    try:
        return [_measure_named(spec, image, samples) for spec in networks]
    finally:
        torch.set_num_threads(threads)


def _measure_named(spec: NetworkSpec, image: Shape, samples: int) -> Measurement:
    try:
        return measure(spec.layers, image, samples)
    except SpecError as error:
        raise SpecError(f"network {spec.name}: {error}") from None


def measure_module(model: nn.Module, given: Tensor, counter: FlopCounterMode | _Flops | None = None) -> Measurement:
    """Count on a module that is thrown away afterwards, since thop leaves buffers behind.

    Parameters
    ----------
    model : in evaluation mode, on the device of `given`
    given : one input, with a batch dimension of 1
    counter : of operations; without it one that knows what networks may do whose inside is not ours
    """
    params = sum(p.numel() for p in model.parameters() if p.requires_grad)
    depth = sum(1 for module in model.modules() if any(True for _ in module.parameters(recurse=False)))
    leaves = [module for module in model.modules() if not any(True for _ in module.children())]
    memory = given.numel()

    def count_memory(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal memory
        before = {tensor.untyped_storage()._cdata for tensor in _tensors(inputs)}
        for tensor in _tensors(output):
            if tensor.untyped_storage()._cdata not in before or isinstance(module, Reshape):
                memory += tensor.numel()

    handles = [leaf.register_forward_hook(count_memory) for leaf in leaves]
    counter = counter or FlopCounterMode(display=False)
    with counter:
        scores = model(given.clone().requires_grad_())
    for handle in handles:
        handle.remove()
    return Measurement(
        params=params,
        memory=memory,
        ops=count_nodes(scores),
        depth=depth,
        macs=counter.get_total_flops() // 2,  # the counter takes a multiply-accumulate for two operations
        thop_macs=_thop_macs(model, given),
    )


def _tensors(value: Any) -> list[Tensor]:
    """Return the tensors in what a module takes or gives, which may be nested tuples."""
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in value for tensor in _tensors(part)] if isinstance(value, tuple | list) else []


def count_nodes(output: Tensor) -> int:
    """Count the distinct nodes of the autograd graph behind a tensor, leaf accumulators left out."""
    waiting: list[Any] = [output.grad_fn]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen or type(node).__name__ == "AccumulateGrad":
            continue
        seen.add(node)
        waiting += [parent for parent, _ in node.next_functions]
    return len(seen)


def _thop_macs(model: nn.Module, given: Tensor) -> float | None:
    """Return thop's own count, or None where thop can't run the network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # thop compares versions with distutils, which warns
        from thop import profile

        try:
            with torch.device("cpu"):  # thop adds up in buffers of its own, which need real numbers
                macs, _ = profile(model, inputs=(given,), verbose=False)
        except Exception:  # noqa: BLE001  a third party's count must not stop the catalogue; null says so
            return None
    return float(macs) if math.isfinite(macs) else None
