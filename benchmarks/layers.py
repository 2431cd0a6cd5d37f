"""Layers that netpick computes in its own way in a training step, against torch's: microseconds on one thread.

Forward and backward pass of activations, batch norm, convolutions over one dimension and convolutions of picked values
as `netpick.training.engines.explicit.layers` has them, and the same module under autograd, in turns; the median of
many. The differences between the results are printed too: they are rounding.
"""

from __future__ import annotations

import time
from statistics import median

import torch
from _common import machine, main, new_parser, positive, print_machine, print_table, write_json
from torch import nn

from netpick.training.engines.explicit.layers import make
from netpick.training.steps import FlatParameters

CASES = {
    "Tanh, 158 thousand values": (nn.Tanh(), (25, 274, 23)),
    "ELU, 158 thousand values": (nn.ELU(), (25, 274, 23)),
    "batch norm, 73 channels of 12 x 12": (nn.BatchNorm2d(73), (25, 73, 12, 12)),
    "batch norm, 120 channels of 20 x 20": (nn.BatchNorm2d(120), (25, 120, 20, 20)),
    "Conv1d 28 to 278, kernel 7": (nn.Conv1d(28, 278, 7), (25, 28, 28)),
    "Conv1d 257 to 3, kernel 5": (nn.Conv1d(257, 3, 5), (25, 257, 21)),
    "Conv2d 21 to 5, 1 x 1, stride 2": (nn.Conv2d(21, 5, 1, stride=2, bias=False), (25, 21, 25, 25)),
    "Conv2d 68 to 73, 1 x 1, stride 2": (nn.Conv2d(68, 73, 1, stride=2, bias=False), (25, 68, 24, 24)),
}


def work() -> None:
    """Time each layer in both ways, in turns."""
    parser = new_parser(__doc__)
    parser.add_argument("--repeats", type=positive, default=100, help="of each pass; the median counts (100)")
    args = parser.parse_args()
    facts = machine()
    print_machine(facts)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rows, timed = [], {}
    for name, (module, shape) in CASES.items():
        torch.manual_seed(0)
        module.train()
        x = torch.randn(shape)
        layer = make(module, FlatParameters(module).gradients, None)
        g = torch.randn(module(x).shape)

        def plain(module=module, x=x, g=g):
            asked = x.detach().requires_grad_()
            out = module(asked)
            out.backward(g)
            return out.detach(), asked.grad

        @torch.no_grad()
        def ours(layer=layer, x=x, g=g):
            return layer.forward(x), layer.backward(g, True)

        seconds: dict[str, list[float]] = {"plain": [], "ours": []}
        for _ in range(args.repeats):
            for key, work in (("plain", plain), ("ours", ours)):
                start = time.perf_counter()
                work()
                seconds[key].append(time.perf_counter() - start)
        timed[name] = seconds
        off = max(float((a - b).abs().max()) for a, b in zip(plain(), ours(), strict=True))
        a, b = (median(seconds[key]) for key in ("plain", "ours"))
        rows.append((name, f"{a * 1e6:.0f}", f"{b * 1e6:.0f}", f"{a / b:.2f}", f"{off:.0e}"))
    print_table("forward and backward, one thread", ["layer", "torch µs", "netpick µs", "ratio", "differs by"], rows)
    write_json(args.json, {"machine": facts, "seconds": timed})


if __name__ == "__main__":
    main(work)
