"""Import torchvision's Python parts even where its compiled operators can't be loaded.

torchvision's wheels hold compiled operators (non-maximum suppression and the like, for object detection) that load only
beside the very build of torch that they were made for. With a CPU build of torch beside a CUDA build of torchvision,
`import torchvision` dies: "operator torchvision::nms does not exist". Data sets and image classifiers need none of
these operators. So each one that the import asks for gets a placeholder that is declared and can't be called, and the
import is tried again. Where torchvision is healthy nothing of this happens.

This module repairs nothing else: any other failure is reported as a `DataError`.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from types import ModuleType
from typing import Any

from netpick.core.errors import DataError

# torchvision asks for two operators today; the bound only keeps a surprise from becoming an endless loop.
_MAX_PLACEHOLDERS = 32
_MISSING = re.compile(r"operator torchvision::(\w+) does not exist")

# A torch.library.Library takes its operators with it when it is collected, so the placeholders are kept here.
_placeholders: list[Any] = []


def torchvision_datasets() -> ModuleType:
    """Return the module `torchvision.datasets`.

    Raises
    ------
    DataError
        torchvision is not installed, or can't be imported for another reason than missing compiled operators.
    """
    return _import("torchvision.datasets")


def torchvision_models() -> ModuleType:
    """Return the module `torchvision.models`; raises as `torchvision_datasets`."""
    return _import("torchvision.models")


def _import(name: str) -> ModuleType:
    """Import a module of torchvision, declaring the operators it misses, one a try."""
    declared: set[str] = set()
    while True:
        try:
            with warnings.catch_warnings():
                # Images are decoded by Pillow or come as arrays: torchvision's own image extension is not missed.
                warnings.filterwarnings("ignore", message="Failed to load image Python extension")
                return importlib.import_module(name)
        except ImportError as error:
            raise DataError(
                f"cannot import {name}: {_line(error)}; install it with 'pip install torchvision'"
            ) from error
        except RuntimeError as error:
            missing = _MISSING.search(str(error))
            if missing is None or missing[1] in declared or len(declared) >= _MAX_PLACEHOLDERS:
                raise DataError(
                    f"cannot import {name}: {_line(error)}; install the torchvision made for this build of torch"
                ) from error
            _forget_half_import()
            _declare(missing[1])
            declared.add(missing[1])


def _declare(operator: str) -> None:
    """Declare `torchvision::operator` with a schema and no implementation."""
    import torch

    # FRAGMENT adds to the namespace whether or not the compiled library has claimed it; DEF may be given only once.
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(f"{operator}(Tensor x) -> Tensor")
    _placeholders.append(library)


def _forget_half_import() -> None:
    """Drop torchvision's modules, so that the next try runs them from their beginning."""
    for module in [m for m in sys.modules if m == "torchvision" or m.startswith("torchvision.")]:
        del sys.modules[module]


def _line(error: BaseException) -> str:
    """Return the first line of an error's text, or its class where it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
