"""What the commands that talk to a service have in common: options, errors, exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from dspt.cli.terminal import say
from dspt.errors import DatasetError, DsptError

if TYPE_CHECKING:
    from dspt_client import Client, ClientError

#: Somebody waits in front of it: a service that is down is told of within two seconds.
_RETRIES = 2
FAILED, WRONG_USE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130

EPILOG = (
    "Exit codes: 0 done; 1 the job failed or the service refused; 2 wrong usage; 3 the service "
    "cannot be reached. DSPT_URL and DSPT_API_KEY name the service and the key."
)

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="DSPT_URL",
        help="Address of the service; its key comes from DSPT_API_KEY.",
        show_default="http://127.0.0.1:8000",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else, no tables.")
]

ModelId = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="As `dspt models list` shows it.", show_default=False),
]


def group(about: str) -> typer.Typer:
    """A group of commands on a service."""
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=f"{about} {EPILOG}")


@contextmanager
def service(url: str | None) -> Iterator[Client]:
    """A client of the service. What goes wrong ends the program, and is told on standard error."""
    from dspt_client import Client, ClientError, Unreachable

    try:
        client = Client(url, retries=_RETRIES)
    except ValueError as error:
        raise _end(str(error), WRONG_USE) from error
    try:
        with client:
            yield client
    except Unreachable as error:
        raise _end(str(error), UNREACHABLE) from error
    except ClientError as error:
        raise _end(str(error), FAILED, _more(error)) from error
    except DatasetError as error:
        named = [f"{p.where}: {p.message}" if p.where else p.message for p in error.problems]
        raise _end(named[0], WRONG_USE, named[1:]) from error
    except DsptError as error:
        where = f"{error.param}: " if error.param else ""
        raise _end(where + error.message, WRONG_USE) from error
    except OSError as error:
        raise _end(f"{error.filename or ''}: {error.strerror or error}", WRONG_USE) from error


def _end(message: str, code: int, more: list[str] | None = None) -> typer.Exit:
    for text in (message, *(more or ())):
        say(f"error: {text}", "red")
    return typer.Exit(code)


def _more(error: ClientError) -> list[str]:
    """The items of a refusal that its sentence does not name."""
    from dspt_client import Refused

    if not isinstance(error, Refused):
        return []
    return [
        f"{item.param}: {item.message}" if item.param else item.message
        for item in error.errors
        if item.message not in error.detail
    ]
