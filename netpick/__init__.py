"""Generate a thousand small networks, train them all, keep every answer, and ask which one to pick.

Importing the package loads nothing heavy: `netpick.Run` is looked up when it is first used, and never needs torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netpick.exam.run import Run

    __version__: str

__all__ = ["Run", "__version__"]


def __getattr__(name: str) -> object:
    if name == "Run":
        from netpick.exam.run import Run

        return Run
    if name == "__version__":
        from importlib.metadata import version

        return version("netpick")
    raise AttributeError(f"module 'netpick' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
