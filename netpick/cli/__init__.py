"""The command line: parse, call, print; nothing else in netpick prints."""

from __future__ import annotations

from typing import NoReturn


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line."""
    from netpick.cli.app import main as run

    run(arguments)
