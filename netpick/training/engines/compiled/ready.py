"""Getting the machine code of `kernels` ready before workers need it, once for all of them.

Without it every worker would compile for itself, at the same time, and the first networks would seem to take half a
minute. A process of its own compiles it (`loading.prepare`). What lies in the cache is trusted only when a process
could load it: a file that was cut off would fail every network, or take a worker down. Loads neither torch nor numba
here.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import filelock

from netpick.training.engines.compiled import ALL_ENTRIES, ENTRIES, cache
from netpick.training.plan import Plan


def make_ready(plans: Iterable[Plan], on_note: Callable[[str], None]) -> frozenset[str]:
    """Have the kernels compiled, if a plan needs them and they are not there yet.

    Returns
    -------
    frozenset
        The engines that can't be used on this machine, for `choose`: `compiled`, or none.
    """
    needed = [plan for plan in plans if plan.mode == "compiled"]
    if not needed:
        return frozenset()
    bf16 = any(plan.precision == "bf16" for plan in needed)
    note = f"compiling the training steps, once after an installation, for some {'twenty' if bf16 else 'ten'} seconds"
    why = make_kept(bf16, lambda: on_note(note))
    if why is None:
        return frozenset()
    on_note(f"networks are trained by torch, small ones some times slower, since machine code can't be had here: {why}")
    return frozenset({"compiled"})


def make_kept(bf16: bool = False, on_begin: Callable[[], None] = lambda: None) -> str | None:
    """Have the machine code in the cache, checked, also for bf16 if that is wanted; return why it can't be, or None."""
    names = ALL_ENTRIES if bf16 else ENTRIES
    place = cache.folder()
    if place is None:
        return "no folder can be written that would keep it: name one in NUMBA_CACHE_DIR"
    if cache.is_checked(place, names):
        return None
    on_begin()
    with _alone(place):
        # Another process may have done it meanwhile.
        return None if cache.is_checked(place, names) else _compile(place, names)


def _compile(place: Path, names: Sequence[str]) -> str | None:
    """Fill the cache, anew where that is needed; return why that can't be done, or None."""
    why = None
    for linked in (True, True, False):  # what lies there may be spoilt; and numba's insides be others than are known
        if (why := _load(names, linked)) is None:
            cache.mark_checked(place, names)
            return None
        cache.clear(place)
    return why


def _load(names: Sequence[str], linked: bool) -> str | None:
    """Have the kernels loaded by a process, which compiles what is not there; return its complaint, if it has one.

    It looks for modules where this process does, not in the folder where the user stands.
    """
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from netpick.training.engines.compiled.loading import prepare\n"
        f"sys.exit(prepare({names}, {linked}))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], check=False, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines()
    return said[-1] if said else f"the process that loads it ended with exit code {done.returncode}"


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Wait until no other process compiles into the folder, where its file system has locks."""
    lock = filelock.FileLock(place / ".kernels.lock")
    with contextlib.suppress(OSError, NotImplementedError):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
