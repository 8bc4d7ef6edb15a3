"""The `dspt` command: tune, predict and audit without a server, and what other packages add.

Commands come from the entry points of group `dspt.commands`, so this package needs to know nothing
of the web application and the worker. torch is imported by the commands that use it, when they run.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import typer

from dspt.cli.audit import audit
from dspt.cli.card import card
from dspt.cli.compare import compare
from dspt.cli.export import export
from dspt.cli.predict import predict
from dspt.cli.tune import tune

_GROUP = "dspt.commands"


def build() -> typer.Typer:
    """The application with all commands that are installed."""
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Tune CLIP's prompt on a few photos per class, find the wrong labels, classify.",
    )
    commands: dict[str, Any] = {
        command.__name__: command for command in (tune, audit, predict, compare, card, export)
    }
    # One of the same name takes the place of ours: a `predict` that can ask a service, too.
    for entry in sorted(entry_points(group=_GROUP), key=lambda e: e.name):
        commands[entry.name] = entry.load()
    for name, command in commands.items():
        if isinstance(command, typer.Typer):  # a group of commands
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def main() -> None:
    """Entry point of the console script."""
    build()()
