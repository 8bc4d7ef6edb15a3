"""Options, errors and exit codes shared by the commands that use a service."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from dspt.cli.terminal import errors_shown, out, print_json, print_stderr
from dspt.config import TuneConfig
from dspt.errors import DatasetError, DsptError

if TYPE_CHECKING:
    from dspt_client import Client, ClientError
    from dspt_client._packing import OnProgress
    from pydantic import BaseModel
    from rich.console import RenderableType

    View = TypeVar("View", bound=BaseModel)

#: Interactive use: report a service that is down within two seconds.
_RETRIES = 2
FAILED, WRONG_USE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130

EPILOG = (
    "Exit codes: 0 success; 1 the job failed or the service rejected the request; 2 wrong usage; "
    "3 the service cannot be reached. DSPT_URL and DSPT_API_KEY set the address and the key."
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
Name = Annotated[
    str | None,
    typer.Option(help="Only those whose name contains this, in any case.", show_default=False),
]

Limit = Annotated[int, typer.Option(min=1, help="Show at most this many.")]


def _metadata(about: str) -> Any:
    return typer.Option("--metadata", metavar="KEY=VALUE", help=about, show_default=False)


Metadata = Annotated[list[str] | None, _metadata("Metadata of your own; may be repeated.")]
WithMetadata = Annotated[
    list[str] | None,
    _metadata("Only those with this metadata; if it is repeated, with all of it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]

_MODEL = "Id, unique beginning of an id, name or alias; see `dspt models list`."
ModelId = Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL, show_default=False)]
ModelA = Annotated[str, typer.Argument(metavar="A", help=_MODEL, show_default=False)]
ModelB = Annotated[
    str, typer.Argument(metavar="B", help="Model to compare with, named as A.", show_default=False)
]


def group(about: str) -> typer.Typer:
    """A group of commands on a service."""
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=f"{about} {EPILOG}")


def pairs(metadata: list[str] | None) -> dict[str, str] | None:
    """Return `--metadata` options as a map. Raises BadParameter."""
    for each in metadata or []:
        if "=" not in each:
            raise typer.BadParameter(f"{each!r} must be KEY=VALUE", param_hint="--metadata")
    return dict(each.split("=", 1) for each in metadata) if metadata else None


def print_view(found: BaseModel, as_json: bool, shown: RenderableType) -> None:
    """Print an answer of the service as JSON, or else `shown`."""
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        out.print(shown, markup=False)


def print_list(
    found: Sequence[View],
    as_json: bool,
    table: Callable[[Sequence[View]], RenderableType],
    none: str,
) -> None:
    """Print a list as JSON or as a table; `none` is the text for an empty one."""
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
    else:
        out.print(table(found) if found else none)


def print_deleted(kind: str, deleted: str, as_json: bool) -> None:
    """Print the id of the job or model that was deleted."""
    if as_json:
        print_json({kind: deleted, "deleted": True})
    else:
        out.print(f"Deleted {deleted}.", markup=False)


@contextmanager
def service(url: str | None, table: Path | None = None) -> Iterator[Client]:
    """Yield a client of the service. Errors are printed to standard error and end the program.

    table: the file that the service calls corrections.csv.
    """

    def words(text: str) -> str:
        text = in_command_words(text)
        return text if table is None else text.replace("corrections.csv", str(table))

    from dspt_client import Client, ClientError, NotSent, Unreachable

    try:
        client = Client(url, retries=_RETRIES)
    except ValueError as error:
        raise end(str(error), WRONG_USE) from error
    try:
        with client:
            yield client
    except Unreachable as error:
        raise end(str(error), UNREACHABLE) from error
    except NotSent as error:
        raise end(str(error), WRONG_USE) from error
    except ClientError as error:
        raise end(words(str(error)), FAILED, map(words, _more(error))) from error
    except DatasetError as error:
        named = [f"{p.where}: {p.message}" if p.where else p.message for p in error.problems]
        raise end(named[0], WRONG_USE, [f"error: {text}" for text in named[1:]]) from error
    except DsptError as error:
        where = f"{error.param}: " if error.param else ""
        raise end(where + error.message, WRONG_USE) from error
    except OSError as error:
        raise end(f"{error.filename or ''}: {error.strerror or error}", WRONG_USE) from error


@contextmanager
def packing() -> Iterator[OnProgress]:
    """Show how far packing and sending are. Yields the callback for the progress.

    At the end, also after an error, it prints as warnings which files were not sent.
    """
    from dspt_client._bar import Bar

    not_sent: list[warnings.WarningMessage] = []
    try:
        with Bar("packing") as bar, warnings.catch_warnings(record=True) as not_sent:
            warnings.simplefilter("always", UserWarning)
            yield bar.advance
    finally:
        for warning in not_sent:
            print_stderr(f"warning: {warning.message}", "yellow")


def check_photos(data: Path) -> None:
    """Check names and folders of photos before they are sent, as the service will.

    No image is decoded. Prints what is wrong and ends the program. Raises NotSent and OSError.
    """
    from dspt_client._packing import check_data

    from dspt.data.photos import open_photos  # imports Pillow

    check_data(data)
    with errors_shown(data):
        open_photos(data).close()


def end(message: str, code: int, more: Iterable[str] = ()) -> typer.Exit:
    """Print an error and its details; return what ends the program with this exit code."""
    print_stderr(f"error: {message}", "red")
    for text in more:
        print_stderr(text, "red")
    return typer.Exit(code)


def in_command_words(text: str) -> str:
    """Return a message of the service with options in place of the fields of the HTTP API."""
    for words, option in _OPTIONS:
        text = words.sub(option, text)
    return text


#: Words of the HTTP API -> those of the commands.
_OPTIONS = [
    *(
        (re.compile(rf"`{name}`|(?<![^;] )\b{name}(?=: | is )"), f"--{name.replace('_', '-')}")
        for name in (*TuneConfig.model_fields, "class_names")
    ),
    (re.compile("`dataset_id`"), "--data"),
    (re.compile("`all`"), "--all"),
    (re.compile("send the header `Authorization: Bearer KEY`"), "set DSPT_API_KEY"),
    (re.compile("send it as `Authorization: Bearer KEY`"), "set DSPT_API_KEY to it"),
]


def _more(error: ClientError) -> list[str]:
    """Return the items of an error that its message does not name."""
    from dspt_client import Refused

    if not isinstance(error, Refused):
        return []
    return [
        f"error: {item.param}: {item.message}" if item.param else f"error: {item.message}"
        for item in error.errors
        if item.message not in error.detail
    ]
