"""Figures of CUDA cards: how much at a time, from which size on, at what cost. One table, and where each comes from.

Each line is `NAME = value  # source`. The source is `guess` where nothing was measured, else the card, the day and the
command. `python benchmarks/gpu.py --all` measures them, and with `--write` puts them here; nothing else in netpick says
such a figure. They decide how fast a card trains, never what is learned, but for `BF16_MACS`, which decides on rounding
where `precision` is `auto`.
"""

from __future__ import annotations

STREAMS = 8  # guess
"""Networks in training at once in a process of a card, where the user says nothing else."""

PROCESSES = 2  # guess
"""Processes of a card, where there are cores for them: one prepares networks while the other's work runs. Without
NVIDIA's MPS the card works for one process at a time, so that more of them don't add to what runs at once."""

LOAD = 4.0  # guess
"""Cards' worth of threads under way at once: more than one, since a stream leaves the card empty between kernels."""

THREADS = 270_336  # guess
"""Threads that a card has room for at a time (as published for H100 and H200: 132 multiprocessors, 2048 each)."""

FIXED_BYTES = 100_663_296  # guess
"""What a network takes besides its tensors: workspaces of cuBLAS and cuDNN, the graphs, rounding of the allocator."""

CONTEXT_BYTES = 734_003_200  # guess
"""What a process takes on a card before it holds a single tensor, cuDNN and cuBLAS loaded."""

MEMORY_SHARE = 0.9  # guess
"""Of its part of the free memory a process hands out so much; the rest is for fragments."""

VALUE_COPIES = 3.0  # guess
"""Float32 numbers that a training holds for each value of a forward pass: itself, its gradient, and what a layer keeps
for its backward pass. Of the first prediction; what is measured then counts."""

WEIGHT_COPIES = 5.0  # guess
"""Float32 numbers that a training holds for each weight: itself, its gradient, two states of the optimizer, a copy."""

CAPTURE_PER_REPLAY = 150.0  # guess
"""What a step costs the feeding thread when it is done eagerly once and captured, in replays of a graph."""

MOST_UNROLLED = 32  # guess
"""Steps in one graph at most."""

REPLAYS_A_TURN = 16  # guess
"""Replays given to the card before another network has its turn; two turns are under way at most."""

EVALUATION_BATCH = 1000  # guess
"""Samples in one forward pass of an evaluation: enough to fill a card."""

BF16_MACS = 50_000_000  # guess
"""Multiply-accumulates of a sample from which `auto` takes bf16 in place of tf32: bf16 multiplies twice as fast, and
casts the weights and inputs of each layer before."""

TRAINING_SECONDS = 0.3  # guess
"""What a training takes besides its steps and evaluations. This and the next four are rough seconds among as many
other trainings as the card has at once: good for the order, until something was timed."""

OP_SECONDS = 5e-05  # guess
"""Seconds of a step for each operation (node of the autograd graph)."""

WEIGHT_SECONDS = 5e-11  # guess
"""Seconds of a step for each weight."""

VALUE_SECONDS = 5e-11  # guess
"""Seconds of a step for each value that a layer writes, and sample."""

MAC_SECONDS = 1e-12  # guess
"""Seconds of a step for each multiply-accumulate, and sample."""
