"""Loading the machine code of `kernels`, and compiling it where it is not kept yet. Without torch: each costs a second.

What is compiled here is optimised once, where Python calls it, whereas numba by itself optimises each function as soon
as it is done, with all that it calls, and again in each function that calls it: three quarters of its work.
"""

from __future__ import annotations

import functools
import gc
import multiprocessing
import sys
from collections.abc import Sequence
from multiprocessing import connection
from types import ModuleType
from typing import Any

from netpick.core.devices import usable_cores
from netpick.training.engines.compiled import ALL_ENTRIES, BF16_ENTRIES, ENTRIES
from netpick.training.engines.compiled.cache import in_use


@functools.lru_cache(maxsize=2)
def load(bf16: bool = False) -> ModuleType:
    """Return the module `kernels` with what is kept of it, and nothing else: it compiles nothing any more."""
    kernels = load(False) if bf16 else module()
    for name in BF16_ENTRIES if bf16 else ENTRIES:
        function = getattr(kernels, name)
        function.compile(kernels.TYPES[name])
        function.disable_compile()
    return kernels


@functools.cache
def address(kernels: ModuleType, name: str) -> int:
    """Return where one of what is kept begins, for the others, which call it there."""
    function = getattr(kernels, name)
    result = function.overloads[kernels.TYPES[name]]
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_cfunc_wrapper_name))


@functools.lru_cache(maxsize=1)
def module() -> ModuleType:
    """Return the module `kernels`."""
    with in_use():
        from netpick.training.engines.compiled import kernels

    return kernels


def prepare(names: Sequence[str] = ENTRIES, linked: bool = True) -> int | str:
    """Load some entries, or compile them, `linked` or as numba does; return 0, or what a process exits with that can't.

    Each is compiled by a process, so that its bits hang on nothing else, as many at a time as there are cores; then
    all are loaded by another one. They begin as copies of this one, which has loaded numba: that takes half a second.
    """
    module()
    codes = _ended([(name,) for name in names], linked)
    if any(code not in (KEPT, MADE) for code in codes):
        return next(code for code in codes if code not in (KEPT, MADE))  # it has complained itself
    if MADE in codes and _ended([names], linked) != [KEPT]:
        return "it is not kept"
    return 0


KEPT, MADE = 0, 3
"""What a process exits with that found the machine code, or compiled some of it."""


def _ended(groups: Sequence[Sequence[str]], linked: bool) -> list[int]:
    """Return the exit code of a process for each group of names, which loads them, or compiles what is not kept."""
    ways = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("fork" if "fork" in ways else "spawn")
    waiting = [context.Process(target=_get, args=(names, linked)) for names in groups]
    every, running = list(waiting), list[Any]()
    while waiting or running:
        while waiting and len(running) < max(2, usable_cores()):
            running.append(waiting.pop(0))
            running[-1].start()
        ended = connection.wait([process.sentinel for process in running])
        running = [process for process in running if process.sentinel not in ended]
    for process in every:
        process.join()
    return [process.exitcode for process in every]


def _get(names: Sequence[str], linked: bool) -> None:
    """Load some entries, or compile them; exit with KEPT if all were there, else with MADE."""
    gc.disable()  # looks at what the compiler makes again and again, for an eighth of the time, and finds little
    kernels = module()
    if linked:
        link_parts(kernels)
    for name in names:
        getattr(kernels, name).compile(kernels.TYPES[name])
    stats = [getattr(kernels, name).stats for name in names]
    sys.exit(KEPT if all(one.cache_hits and not one.cache_misses for one in stats) else MADE)


def link_parts(kernels: ModuleType) -> None:
    """Have numba link an entry with all that it calls before any of it is optimised, in this process from now on."""
    from numba.core import codegen
    from numba.core.dispatcher import Dispatcher

    for name, function in vars(kernels).items():
        if isinstance(function, Dispatcher) and name not in ALL_ENTRIES:  # Python doesn't call it here
            function.targetoptions.update(no_cpython_wrapper=True, no_cfunc_wrapper=True)

    class Linked(codegen.JITCodeLibrary):
        """The code of a function, which is finished only where it can be called from outside."""

        def add_linking_library(self, library: Any) -> None:
            """Link another function's code as this one is finished, and what that calls."""
            self._linking_libraries += [library, *library._linking_libraries]

        def _ensure_finalized(self) -> None:
            """Leave it as it is."""

        def get_pointer_to_function(self, name: str) -> int:
            """Return where a function begins; 0 if there is none, as for all that only others here call."""
            if not self._finalized:
                if all(function.name != name for function in self._final_module.functions):
                    return 0
                self.finalize()
            return int(super().get_pointer_to_function(name))

    def set_env(self: codegen.JITCPUCodegen, name: str, env: Any) -> None:
        """Tell a function of its environment, where it has been finished."""
        if self._engine.is_symbol_defined(name):
            tell(self, name, env)

    tell, codegen.JITCPUCodegen.set_env = codegen.JITCPUCodegen.set_env, set_env
    codegen.JITCPUCodegen._library_class = Linked
