"""docs/reference/cli.md: every command with its arguments and options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main

from dspt.cli import build
from scripts.reference.markdown import code, paragraphs, table


def page() -> str:
    parts = ["# Commands", "`dspt COMMAND --help` says the same."]
    for name, command in _commands("dspt", typer.main.get_command(build())):
        parts += [f"## {name}", paragraphs(command.help)]
        if getattr(command, "commands", None):
            continue
        parameters = [p for p in command.params if p.name != "help" and not _hidden(p)]
        arguments = [p for p in parameters if p.param_type_name == "argument"]
        options = [p for p in parameters if p.param_type_name != "argument"]
        usage = " ".join([name, *(["[OPTIONS]"] if options else []), *map(_usage, arguments)])
        parts.append(f"```text\n{usage}\n```")
        rows = [(code(_name(p)), p.help or "", _default(p)) for p in [*arguments, *options]]
        parts.append(table(("", "meaning", "default"), rows))
    return "\n\n".join(part for part in parts if part)


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    if getattr(command, "hidden", False):
        return
    yield name, command
    for inner in sorted(getattr(command, "commands", {})):
        yield from _commands(f"{name} {inner}", command.commands[inner])


def _hidden(parameter: Any) -> bool:
    # How to install shell completion depends on the shell that one is in.
    return getattr(parameter, "hidden", False) or "completion" in (parameter.name or "")


def _usage(argument: Any) -> str:
    name = _name(argument)
    name += "..." if argument.nargs == -1 else ""
    return name if argument.required else f"[{name}]"


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name).strip("[]").upper()
    name = ", ".join([*parameter.opts, *parameter.secondary_opts])
    form = _form(parameter)
    return f"{name} {form}" if form else name


def _form(option: Any) -> str:
    """Return what the value of an option looks like, where that is more than its type."""
    choices = option.type_descriptor.choices or ()
    return option.metavar or "|".join(str(getattr(each, "value", each)) for each in choices)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return code(parameter.show_default)
    default = parameter.default
    if default in (None, False, ()) or callable(default):
        return ""
    return code(getattr(default, "value", default))
