"""The `dspt` command: local commands such as tune and predict, plus those of other packages.

Other packages add commands through the entry point group `dspt.commands`, so this package does not
import the web application or the worker. Commands import torch only when they run.
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
    """Return the application with all installed commands."""
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Tune CLIP's prompt on a few photos per class, find the wrong labels, classify.",
    )
    commands: dict[str, Any] = {
        command.__name__: command for command in (tune, audit, predict, compare, card, export)
    }
    # An entry point replaces our command of the same name: `predict` that can also use a service.
    for entry in sorted(entry_points(group=_GROUP), key=lambda e: e.name):
        commands[entry.name] = entry.load()
    for name, command in commands.items():
        if isinstance(command, typer.Typer):  # a group of commands
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def main() -> None:
    """Run the console script."""
    build()()
