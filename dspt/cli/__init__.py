"""The `dspt` command: local commands such as tune and predict, plus those of other packages.

Other packages add commands through the entry point group `dspt.commands`, so this package does not
import the web application or the worker. Commands import torch only when they run.
"""

from __future__ import annotations

from importlib.metadata import entry_points, version
from typing import Annotated, Any

import typer

from dspt.cli.audit import audit
from dspt.cli.card import card
from dspt.cli.check import check
from dspt.cli.compare import compare
from dspt.cli.export import export
from dspt.cli.predict import predict
from dspt.cli.terminal import print_stderr
from dspt.cli.tune import tune

_GROUP = "dspt.commands"


def build() -> typer.Typer:
    """Return the application with all installed commands."""
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Tune CLIP's prompt on a few photos per class, find the wrong labels, classify.",
    )
    app.callback()(_options)
    commands: dict[str, Any] = {
        command.__name__: command
        for command in (check, tune, audit, predict, compare, card, export)
    }
    # An entry point replaces our command of the same name: `predict` that can also use a service.
    for entry in sorted(entry_points(group=_GROUP), key=lambda e: e.name):
        try:
            commands[entry.name] = entry.load()
        except Exception as error:  # noqa: BLE001 - code of another package
            package = entry.dist.name if entry.dist else entry.module
            print_stderr(
                f"warning: the command `dspt {entry.name}` of the package {package} cannot be "
                f"loaded ({type(error).__name__}: {error}). Reinstall or remove the package.",
                "yellow",
            )
    for name, command in commands.items():
        if isinstance(command, typer.Typer):  # a group of commands
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def main() -> None:
    """Run the console script."""
    build()()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dspt {version('dspt')}")
        raise typer.Exit


def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Accept the options that come before the name of a command."""
