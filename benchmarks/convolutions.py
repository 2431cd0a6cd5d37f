"""Small convolutions on one thread: other ways to compute them, beside torch's own.

Measured are the ways that `netpick.networks.modules.build` takes where they are faster (a kernel that covers all of its
input as a matrix product; the gradient of a grey first layer's weights as a convolution over the batch), and those that
were left out: explicit im2col, the gradient of the input as a convolution, and channels_last, which is tried in a
process of its own because it has brought processes down.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
from _common import machine, print_machine
from torch import Tensor

CONV: dict[int, Callable[..., Tensor]] = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}

# batch, input shape, weight shape
LAYERS = [
    (100, (1, 28, 28), (5, 1, 9, 9)),
    (100, (1, 28, 28), (8, 1, 3, 3)),
    (25, (1, 28, 28), (48, 1, 5, 5)),
    (25, (1, 8, 8), (40, 1, 3, 3)),
    (100, (1, 16, 7, 7), (8, 1, 3, 3, 3)),
    (100, (5, 20, 20), (6, 5, 5, 5)),
    (25, (32, 24, 24), (32, 32, 5, 5)),
    (25, (40, 6, 6), (40, 40, 3, 3)),
]
SPANNING = [
    (100, (12, 27, 27), (10, 12, 27, 27)),
    (100, (11, 14, 5, 5), (10, 11, 14, 5, 5)),
    (100, (43, 27), (10, 43, 27)),
    (25, (60, 6, 6), (10, 60, 6, 6)),
]


def milliseconds(work: Callable[[], object], repeat: int) -> float:
    """Return the median time of a call, after two calls that don't count."""
    work(), work()
    times = []
    for _ in range(repeat):
        start = perf_counter()
        work()
        times.append(1e3 * (perf_counter() - start))
    return median(times)


def im2col(x: Tensor, kernel: tuple[int, ...]) -> Tensor:
    """Return the patches under a kernel as rows, (batch × places, channels × kernel)."""
    dims = len(kernel)
    patches = x
    for at, size in enumerate(kernel):
        patches = patches.unfold(2 + at, size, 1)
    places = range(2, 2 + dims)
    inside = range(2 + dims, 2 + 2 * dims)
    rows = patches.permute(0, *places, 1, *inside)
    return rows.reshape(-1, x.shape[1] * int(torch.tensor(kernel).prod()))


def gradients(repeat: int) -> None:
    """Print the forward pass and both gradients of each layer, and other ways to compute them."""
    print(f"{'batch, input, weight':46} {'forward':>8} {'im2col':>8} | {'d weight':>8} {'as conv':>8} {'im2col':>8} |"
          f" {'d input':>8} {'as conv':>8}   (ms)")  # fmt: skip
    for batch, shape, weight_shape in LAYERS:
        x, weight = torch.randn(batch, *shape), torch.randn(weight_shape)
        conv, dims, kernel = CONV[weight.dim()], weight.dim() - 2, weight_shape[2:]
        gradient = torch.randn_like(conv(x, weight))
        flat = gradient.flatten(2).transpose(1, 2).reshape(-1, weight_shape[0])
        rows = im2col(x, kernel)
        padding = [size - 1 for size in reversed(kernel) for _ in (0, 1)]

        def backward(mask: list[bool]) -> tuple[Tensor, ...]:
            one, zero = [1] * dims, [0] * dims
            return torch.ops.aten.convolution_backward(
                gradient,
                x,
                weight,
                None,
                one,
                zero,
                one,
                False,
                zero,
                1,
                mask,
            )

        ways = [
            lambda: conv(x, weight),
            lambda: im2col(x, kernel) @ weight.flatten(1).t(),
            lambda: backward([False, True, False]),
            lambda: conv(x.transpose(0, 1), gradient.transpose(0, 1)).transpose(0, 1),
            lambda: flat.t() @ rows,
            lambda: backward([True, False, False]),
            lambda: conv(F.pad(gradient, padding), weight.flip(*range(2, 2 + dims)).transpose(0, 1)),
        ]
        times = [milliseconds(way, repeat) for way in ways]
        forward, rest = times[:2], times[2:]
        cells = [f"{t:8.2f}" for t in forward] + ["|"] + [f"{t:8.2f}" for t in rest[:3]] + ["|"]
        print(f"{f'{batch}, {shape}, {weight_shape}':46}", *cells, *(f"{t:8.2f}" for t in rest[3:]))


def spanning(repeat: int) -> None:
    """Print a training step's forward and backward of a convolution that covers its input, and of the product."""
    print(
        f"\n{'kernel covers the input: batch, input, weight':46} {'conv':>8} {'product':>8}   (ms, forward + backward)"
    )
    for batch, shape, weight_shape in SPANNING:
        x = torch.randn(batch, *shape, requires_grad=True)
        weight = torch.randn(weight_shape, requires_grad=True)

        def as_conv() -> None:
            CONV[weight.dim()](x, weight).sum().backward()

        def as_product() -> None:
            F.linear(x.flatten(1), weight.flatten(1)).sum().backward()

        times = [milliseconds(as_conv, repeat), milliseconds(as_product, repeat)]
        print(f"{f'{batch}, {shape}, {weight_shape}':46}", *(f"{t:8.2f}" for t in times))


CHANNELS_LAST = """
import sys, time, torch, torch.nn.functional as F
from netpick.build import build
from netpick.spec import layer
torch.set_num_threads(1)
conv = lambda i, o, k: layer("Conv2d", in_channels=i, out_channels=o, kernel_size=k)
heads = {
    "two convolutions": ([conv(1, 5, 9), layer("Tanh"), conv(5, 6, 5)], 6 * 16 * 16),
    "a block of stride 2": ([conv(1, 2, 3), layer("BasicBlock", inplanes=2, planes=4, stride=2)], 4 * 13 * 13),
}
head, size = heads[sys.argv[1]]
layers = [*head, layer("Flatten"), layer("Linear", in_features=size, out_features=10), layer("LogSoftmax")]
times = {}
for form in (torch.contiguous_format, torch.channels_last):
    model = build(layers).to(memory_format=form)
    x, y = torch.randn(100, 1, 28, 28).to(memory_format=form), torch.randint(0, 10, (100,))
    for step in range(12):
        start = time.perf_counter()
        F.nll_loss(model(x), y).backward()
        times.setdefault(form, []).append(1e3 * (time.perf_counter() - start))
a, b = (sorted(t[2:])[5] for t in times.values())
print(f"contiguous {a:.2f} ms, channels_last {b:.2f} ms")
"""


def channels_last() -> None:
    """Print a step in both memory formats, each network in a process of its own."""
    print("\nchannels_last, batch 100, 28×28, forward + backward")
    for name in ("two convolutions", "a block of stride 2"):
        done = subprocess.run([sys.executable, "-c", CHANNELS_LAST, name], capture_output=True, text=True, check=False)
        died = f"the process died, exit code {done.returncode}"
        print(f"{name:46} {done.stdout.strip() if done.returncode == 0 else died}")


def main() -> None:
    """Parse, and print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15, help="calls of each, of which the median counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print_machine(machine())
    gradients(options.repeat)
    spanning(options.repeat)
    channels_last()


if __name__ == "__main__":
    main()
