"""The `dspt` command: local commands such as tune and predict, plus those of other packages.

Other packages add commands through the entry point group `dspt.commands`, so this package does not
import the web application or the worker. A command is imported when it is used. `dspt --help`
imports only commands that have no line in the entry point group `dspt.summaries`.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from dspt.kit.text import without_prefix

_COMMANDS = "dspt.commands"
_SUMMARIES = "dspt.summaries"
"""Group of entry points that are mappings: from the names of commands to the first sentence of
their help."""

_OWN = {
    "check": "Check labelled photos before tuning: what is wrong, which files, and how to fix it.",
    "tune": "Tune a classifier on labelled photos; some labels may be wrong.",
    "audit": "Find the labels that are probably wrong, in photos or with predictions made "
    "elsewhere.",
    "predict": "Classify images with a tuned classifier.",
    "compare": "Compare two tuned classifiers on the test images of a data set.",
    "card": "Show the model card of a tuned classifier, with what its file contains.",
    "export": "Write a tuned classifier as one ONNX file from photos to probabilities.",
}
"""Commands of this package, each in the module of its name, and their summaries."""


def build() -> typer.Typer:
    """Return the application with all installed commands."""
    app = typer.Typer(
        cls=_Group,
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Tune CLIP's prompt on a few photos per class, find the wrong labels, classify.",
    )
    app.callback()(_options)
    return app


def main() -> None:
    """Run the console script."""
    build()()


class _Commands(MutableMapping[str, Any]):
    """Click commands by name, imported when they are read."""

    def __init__(self) -> None:
        installed = entry_points()  # reads the metadata of all packages
        entries = sorted(installed.select(group=_COMMANDS), key=lambda entry: entry.name)
        # An entry point replaces our command of the same name: `predict` that can also use a
        # service.
        self._entries = dict.fromkeys(_OWN) | {entry.name: entry for entry in entries}
        self._summaries = installed.select(group=_SUMMARIES)
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            entry = self._entries[name]
            command = None if entry is None else _loaded(entry)
            if command is None and name in _OWN:
                command = getattr(import_module(f"dspt.cli.{name}"), name)
            if command is None:
                raise KeyError(name)
            self._loaded[name] = _click_command(name, command)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __setitem__(self, name: str, command: Any) -> None:
        self._entries.setdefault(name, None)
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._entries[name]
        self._loaded.pop(name, None)

    def listed(self) -> dict[str, Any]:
        """Return commands that have a summary, without importing them, and all others."""
        summaries = {name: line for name, line in _OWN.items() if self._entries[name] is None}
        for entry in self._summaries:
            summaries |= entry.load()
        listed = {
            name: TyperCommand(name, help=summaries[name]) if name in summaries else self.get(name)
            for name in self
        }
        return {name: command for name, command in listed.items() if command is not None}


class _Group(TyperGroup):
    """Group of commands that are imported when they are used."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: Any = _Commands()

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Invalid options are reported without the prefix that pydantic adds."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = without_prefix(error.message)
            raise

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the help."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands."""
        TyperGroup(commands=self.commands.listed()).format_commands(ctx, formatter)


def _loaded(entry: EntryPoint) -> Any:
    """Import a command of another package. Returns None, with a warning, if this fails."""
    try:
        return entry.load()
    except Exception as error:  # noqa: BLE001 - code of another package
        from dspt.cli.terminal import print_stderr

        package = entry.dist.name if entry.dist else entry.module
        print_stderr(
            f"warning: the command `dspt {entry.name}` of the package {package} cannot be "
            f"loaded ({type(error).__name__}: {error}). Reinstall or remove the package.",
            "yellow",
        )
        return None


def _click_command(name: str, command: Any) -> Any:
    """Return the click command of a function or of a typer.Typer."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.callback()(lambda: None)  # makes it a group, with this one command
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name)
    else:
        app.command(name)(command)
    group: Any = typer.main.get_command(app)
    return group.commands[name]


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
