"""Work in pieces, some of them made ahead of the one that is used: numpy and pyarrow let other threads go on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from netpick.core.devices import usable_cores

T = TypeVar("T")
S = TypeVar("S")

MOST = 8
"""Threads: each holds a piece, and they wait for each other where Python itself has work."""


def ahead(make: Callable[[T], S], pieces: Iterable[T], threads: int = 0) -> Iterator[S]:
    """Yield what `make` gives for each piece, in their order.

    So many threads (0: one a core, `MOST` of them) make the next ones meanwhile, and no more than these: what is held
    doesn't grow with the number of pieces.
    """
    if isinstance(pieces, Sized) and len(pieces) < 2:
        yield from map(make, pieces)
        return
    threads = threads or min(MOST, usable_cores())
    made: deque[Future[S]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for piece in pieces:
                made.append(pool.submit(make, piece))
                if len(made) > threads:
                    yield made.popleft().result()
            while made:
                yield made.popleft().result()
        finally:
            for one in made:
                one.cancel()
