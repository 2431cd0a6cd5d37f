"""Where results come from: the versions that they may depend on, and the commit of the checkout."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of netpick's own code."""


def versions() -> dict[str, str]:
    """Return the versions that results may depend on."""
    names = ("torch", "torchvision", "numpy", "pandas", "pyarrow", "joblib", "thop", "scikit-learn")
    libraries = {name: metadata.version(name) for name in names}
    return {"netpick": metadata.version("netpick"), "python": platform.python_version(), **libraries}


def git_commit() -> str | None:
    """Return the commit of the checkout that netpick runs from, or None where it is no checkout."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
