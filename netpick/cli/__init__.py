"""The command line: parse, call, print; nothing else in netpick prints."""

from __future__ import annotations

import gc
from typing import NoReturn

SELDOM = 500_000
"""Objects, more than were freed, after which Python looks for circles among them."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line."""
    gc.set_threshold(SELDOM)  # of what is imported nothing is freed, and to look takes a tenth of a short command
    from netpick.cli.app import main as run

    run(arguments)
