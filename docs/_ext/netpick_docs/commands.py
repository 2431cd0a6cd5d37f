"""The commands, with their arguments and options: from the commands themselves."""

from __future__ import annotations

from typing import Any

import typer

from netpick.cli.app import app
from netpick_docs.markdown import cell, table

GROUP: Any = typer.main.get_command(app)


def commands() -> str:
    """Return a section a command."""
    return "\n".join(_section(name, command) for name, command in sorted(GROUP.commands.items()))


def _section(name: str, command: Any) -> str:
    given = [p for p in command.params if p.param_type_name == "argument"]
    wanted = (_named(p) if p.required else f"[{_named(p).strip('[]')}]" for p in given)
    usage = " ".join([f"netpick {name}", *wanted, "[OPTION]..." if len(command.params) > len(given) else ""]).strip()
    parts = [f"## netpick {name}", " ".join(command.help.split()), f"```text\n{usage}\n```"]
    if command.params:
        parts.append(table(["argument or option", "default", "meaning"], map(_row, command.params)))
    return "\n\n".join(parts) + "\n"


def _row(parameter: Any) -> list[str]:
    if parameter.param_type_name == "argument":
        names = [_named(parameter)]
    else:
        names = [*parameter.opts, *parameter.secondary_opts]
        names[-1] += "" if parameter.is_flag else f" {_named(parameter)}"
    if parameter.default is True:
        default = f"`{parameter.opts[0]}`"
    else:
        none = parameter.required or parameter.default is None or parameter.default is False
        default = "" if none else f"`{parameter.default}`"
    return [", ".join(f"`{cell(name)}`" for name in names), default, cell(parameter.help or "")]


def _named(parameter: Any) -> str:
    return parameter.metavar or parameter.name.upper()
