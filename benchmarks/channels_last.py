"""Which convolution in the channels_last format writes over memory that is not its own.

Each pass (forward, gradient of the input, gradient of the weights) of each layer runs some dozen times in a process of
its own, under glibc's heap checks, and is held against the contiguous format. What ends badly is printed. That a layer
is not printed proves nothing: memory may be overwritten unseen.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from _common import machine, print_machine

PASSES = ("forward", "gradient of the input", "gradient of the weights")
# channels in, channels out, kernel, stride, padding, height and width
LAYERS = [
    (2, 4, 1, 2, 0, 26),
    (2, 4, 3, 2, 1, 26),
    (4, 4, 3, 1, 1, 13),
    (21, 5, 1, 2, 0, 25),
    (21, 5, 3, 2, 1, 25),
    (68, 73, 1, 2, 0, 24),
    (8, 16, 1, 2, 0, 26),
    (3, 10, 6, 1, 0, 28),
    (12, 18, 7, 1, 0, 27),
    (18, 94, 2, 1, 0, 21),
    (54, 58, 6, 1, 0, 23),
    (1, 5, 9, 1, 0, 28),
]

WORK = """
import sys, torch
torch.set_num_threads(1)
inside, outside, kernel, stride, padding, size, which = map(int, sys.argv[1:])
last = torch.channels_last
for batch in (25, 100):
    x = torch.randn(batch, inside, size, size).to(memory_format=last)
    w = torch.randn(outside, inside, kernel, kernel).to(memory_format=last)
    g = torch.randn_like(torch.conv2d(x, w, None, stride, padding))
    rest = (None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, [which == 1, which == 2, False])
    for _ in range(15):
        if which:
            one, other = (torch.ops.aten.convolution_backward(*three, *rest)[which - 1]
                          for three in ((g, x, w), (g.contiguous(), x.contiguous(), w.contiguous())))
        else:
            pairs = (x, w), (x.contiguous(), w.contiguous())
            one, other = (torch.conv2d(*pair, None, stride, padding) for pair in pairs)
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-2), "wrong numbers"
        del one, other
        fresh = [torch.empty(n) for n in (10, 100, 1000, 10000)]
"""


def main() -> None:
    """Run all passes of all layers."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print_machine(machine())
    checks = {**os.environ, "MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}
    bad = 0
    for which, name in enumerate(PASSES):
        for layer in LAYERS:
            command = [sys.executable, "-c", WORK, *map(str, (*layer, which))]
            done = subprocess.run(command, capture_output=True, text=True, env=checks, check=False)
            if done.returncode:
                bad += 1
                said = (done.stderr.strip().splitlines() or [""])[-1]
                print(f"{name} of {layer}: exit code {done.returncode}, {said}", flush=True)
    print(f"{bad} of {len(PASSES) * len(LAYERS)} ended badly")


if __name__ == "__main__":
    main()
