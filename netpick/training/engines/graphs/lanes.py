"""Lanes: where one network at a time is trained, a stream of a CUDA card, or a stand-in of it on any other device.

All that `training` needs from CUDA is here: a stream, capturing and replaying, marks on the stream's
time line, page-locked memory, random numbers of its own, and a count of the bytes that its network takes. The stand-in
has the same methods and simply does at once what it is told, so that the same code runs, and is tested, without a card.
Knows nothing of networks.
"""

from __future__ import annotations

import contextlib
import gc
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from netpick.core import devices

Work = Callable[[], None]


class CaptureError(Exception):
    """The work can't be captured; the message is the reason, short and fit to stand in a plan."""


class Mark:
    """A point on a lane's time line: passed when all work given to the lane before it is done."""

    def __init__(self) -> None:
        self.clock = time.perf_counter()

    def done(self) -> bool:
        """Return whether the lane has passed it; never waits."""
        return True

    def seconds_since(self, earlier: Any) -> float:
        """Return the seconds between two marks that are both passed."""
        return float(self.clock - earlier.clock)


class Lane:
    """The stand-in: work is done when it is given, "capturing" keeps the function, and replaying calls it."""

    capturable = False
    """Whether optimizers are to be made so that their steps can be captured."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.peak: int | None = None
        self._buffers: dict[object, Tensor] = {}
        self._random: Tensor | None = None
        self._tf32 = False

    def begin(self, tf32: bool = False) -> None:
        """Forget the network before; `tf32`: whether the products of the next one may use it. The lane is active."""
        self._random, self._tf32 = None, tf32
        devices.allow_tf32(self.device, tf32)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Make the lane, with its random numbers and its network's precision, the current one of this thread."""
        with devices.tf32(self.device, self._tf32), self._current():
            yield

    @contextlib.contextmanager
    def _current(self) -> Iterator[None]:
        outside = torch.get_rng_state()
        if self._random is not None:
            torch.set_rng_state(self._random)
        try:
            yield
        finally:
            self._random = torch.get_rng_state()
            torch.set_rng_state(outside)

    def capture(self, work: Work) -> Work:
        """Return what does the same work again; capturing does none of it."""
        return work

    def mark(self) -> Mark:
        """Put a mark behind all work given so far."""
        return Mark()

    def host(self, key: object, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return memory of the host that can be copied to and from without waiting; the same for the same key."""
        held = self._buffers.get(key)
        if held is None or held.shape != shape or held.dtype != dtype:
            self._buffers[key] = held = self._allocate(shape, dtype)
        return held

    def _allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype)

    @contextlib.contextmanager
    def metered(self) -> Iterator[None]:
        """Count what is allocated meanwhile for this lane's network."""
        yield

    def idle(self) -> bool:
        """Return whether all work given is done; never waits."""
        return True

    def release(self) -> None:
        """Give back the graphs, and the memory that was theirs alone; call it when the lane is idle."""


class CudaMark(Mark):
    """A CUDA event with a time."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self.event = torch.cuda.Event(enable_timing=True)
        self.event.record(stream)

    def done(self) -> bool:
        """Return whether the stream has passed it."""
        return bool(self.event.query())

    def seconds_since(self, earlier: CudaMark) -> float:
        """Return the seconds on the card between the two."""
        return float(earlier.event.elapsed_time(self.event)) / 1000


_FAILED: list[Any] = []
"""Graphs whose capture failed: torch's allocator of page-locked memory may go on asking them, so they must live."""


class CudaLane(Lane):
    """A stream of a card. All lanes of a process are to be used from one thread.

    Random numbers: torch draws those of dropout from the card's one default generator, whose state is the offset in a
    stream of Philox numbers. A captured graph registers the state that is the current one, and each replay goes on from
    its offset. With one state for all lanes the numbers would depend on who was first; so each lane has a state of its
    own, put in place of the default one while the lane is active.
    """

    capturable = True

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self._index = torch.device(device).index or 0
        self.stream = torch.cuda.Stream(self._index)
        self._state = torch.Generator(device=f"cuda:{self._index}")
        self._graphs: list[Any] = []
        self._pool: Any = None
        self._held = 0

    def begin(self, tf32: bool = False) -> None:
        """Forget the network before; random numbers start anew with `torch.manual_seed` while the lane is active."""
        super().begin(tf32)
        self._held, self.peak = 0, None
        # Data that the default stream has put on the card must be there before this one reads them.
        self.stream.wait_stream(torch.cuda.default_stream(self._index))
        self._pool = torch.cuda.graph_pool_handle()

    @contextlib.contextmanager
    def _current(self) -> Iterator[None]:
        default = torch.cuda.default_generators[self._index]
        outside = default.graphsafe_get_state()
        cache = torch.is_autocast_cache_enabled()
        default.graphsafe_set_state(self._state)
        # Weights that autocast has cast and kept would be memory of a capture, read outside of it.
        torch.set_autocast_cache_enabled(False)
        try:
            with torch.cuda.device(self._index), torch.cuda.stream(self.stream):
                yield
        finally:
            torch.set_autocast_cache_enabled(cache)
            default.graphsafe_set_state(outside)

    def capture(self, work: Work) -> Work:
        """Capture work as a CUDA graph, in a memory pool of this network's own.

        Not by `torch.cuda.graph`, which first waits for the whole card and empties torch's cache: the other lanes are
        to go on meanwhile. Of what a capture forbids, only this thread's calls count ("thread_local").

        Raises
        ------
        CaptureError
            With a short reason; all is as before, but for Python values that the work changed.
        torch.OutOfMemoryError
            As it is: there eager work would not fit either.
        """
        graph = torch.cuda.CUDAGraph()
        collecting = gc.isenabled()
        gc.disable()  # a graph or an event of another network, destroyed now, could invalidate the capture
        try:
            try:
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                work()
                graph.capture_end()
            except BaseException as error:
                self._give_up(graph)
                if isinstance(error, torch.OutOfMemoryError) or not isinstance(error, Exception):
                    raise
                raise CaptureError(reason(error)) from error
        finally:
            if collecting:
                gc.enable()
        self._graphs.append(graph)
        replay: Work = graph.replay
        return replay

    def _give_up(self, graph: Any) -> None:
        """Take stream, generator and allocator out of a capture that failed."""
        _FAILED.append(graph)
        # Ends the capture if it is still on. Fails where it was invalidated, and then leaves the allocator in it.
        with contextlib.suppress(RuntimeError):
            graph.capture_end()
        with contextlib.suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(self._index, self._pool)
            torch._C._cuda_releasePool(self._index, self._pool)
        graph.reset()

    def mark(self) -> Mark:
        """Record an event."""
        return CudaMark(self.stream)

    def _allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, pin_memory=True)

    @contextlib.contextmanager
    def metered(self) -> Iterator[None]:
        """Count bytes. Work of one thread is all that allocates, so that what changes is this network's."""
        torch.cuda.reset_peak_memory_stats(self._index)
        before = torch.cuda.memory_allocated(self._index)
        try:
            yield
        finally:
            peak = torch.cuda.max_memory_allocated(self._index) - before
            self.peak = max(self.peak or 0, self._held + peak)
            self._held += torch.cuda.memory_allocated(self._index) - before

    def idle(self) -> bool:
        """Return whether the stream has nothing to do."""
        return bool(self.stream.query())

    def release(self) -> None:
        """Free the graphs; with the last of them the blocks of their pool go back to the allocator."""
        for graph in self._graphs:
            graph.reset()
        self._graphs.clear()
        self._pool = None


def make_lane(device: str) -> Lane:
    """Return a new lane of a device."""
    return CudaLane(device) if device.startswith("cuda") else Lane(device)


def reason(error: BaseException) -> str:
    """Return an error's message, short, and without the signs that have a meaning in a plan."""
    text = re.sub(r"[^A-Za-z0-9_.' -]+", " ", f"{error}".partition("\n")[0])
    return " ".join(text.split())[:60].strip() or type(error).__name__
