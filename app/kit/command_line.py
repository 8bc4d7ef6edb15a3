"""Options and helpers that the service's commands share."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:  # `dspt --help` imports this module
    from pydantic_settings import BaseSettings

    from app.kit.db import Database
    from app.kit.settings import Settings

_DURATION = re.compile(r"([1-9]\d{0,3})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: A command may delete many rows at once.
_STATEMENT_SECONDS = 60.0

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Directory of all data. Default: DSPT_DATA_DIR, or the user data directory of the "
        "platform.",
        show_default=False,
    ),
]


def settings_from(data_dir: Path | None, *others: type[BaseSettings]) -> Settings:
    """Return the settings, with `data_dir` if given. Invalid settings exit with status 2.

    others: further classes of settings that the command will read.
    """
    from app.kit.settings import Settings
    from app.kit.wrong_settings import wrong_settings

    try:
        for kind in others:
            kind()
        return Settings() if data_dir is None else Settings(data_dir=data_dir)
    except ValueError as error:
        kinds: tuple[type[BaseSettings], ...] = (Settings, *others)
        for name, message in chain.from_iterable(map(wrong_settings, kinds)):
            typer.echo(f"{name}: {message}", err=True)
        raise typer.Exit(2) from error


def duration(text: str, option: str) -> timedelta:
    """Parse a duration such as `90d`. Raises typer.BadParameter, which names the option."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(
            "must be a number from 1 to 9999 and a unit, such as 30m, 12h, 90d or 52w",
            param_hint=option,
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def settings_for(data_dir: Path | None, *, create: bool = False) -> Settings:
    """Return the settings for a command that uses the database.

    User errors exit with status 1 or 2. create: whether the command may make a new SQLite database.
    Others must not: a mistyped directory would look like a service without keys and jobs.
    """
    for name in ("DSPT_DATABASE_URL", "DSPT_DATABASE_URL_FILE"):
        if data_dir is not None and os.environ.get(name):
            typer.echo(f"--data-dir and {name} are both set; set only one of them.", err=True)
            raise typer.Exit(2)
    settings = settings_from(data_dir)
    file = settings.sqlite_file
    if file is not None and not create and not file.exists():
        typer.echo(
            f"There is no database {file}. Correct --data-dir, DSPT_DATA_DIR or DSPT_DATABASE_URL; "
            "the first start of the service creates a database.",
            err=True,
        )
        raise typer.Exit(1)
    if file is not None:
        try:
            # As in `dspt serve`: no access for other users.
            settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            typer.echo(f"--data-dir: {settings.data_dir}: {error.strerror}", err=True)
            raise typer.Exit(1) from error
    return settings


@contextmanager
def database_errors(
    variable: str = "DSPT_DATABASE_URL", *others: type[Exception]
) -> Iterator[None]:
    """Print one sentence, and exit with status 1, if the database cannot be used.

    others: further exceptions that say so.
    """
    from sqlalchemy.exc import DBAPIError

    from app.kit.schema import SchemaError

    unusable: tuple[type[Exception], ...] = (DBAPIError, OSError, ValueError, *others)
    try:
        yield
    except SchemaError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    except unusable as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        typer.echo(f"{variable}: cannot use the database: {reason}", err=True)
        raise typer.Exit(1) from error


@contextmanager
def service_database(
    data_dir: Path | None,
    *,
    schema: Literal["migrated", "checked", "any"] = "migrated",
    create: bool = False,
    as_owner: bool = False,
) -> Iterator[tuple[Settings, Database]]:
    """Yield the settings and the database.

    schema: whether it is migrated to the newest schema; only checked, by a command that changes
    nothing; or used as it is. create: see `settings_for`. With `as_owner` it connects with
    DSPT_OWNER_DATABASE_URL if that is set. User errors exit with status 1 or 2.
    """
    from app.kit.db import Database
    from app.kit.schema import check_schema, prepare_schema

    settings = settings_for(data_dir, create=create)
    owner = settings.owner_database_url if as_owner else None
    with database_errors("DSPT_OWNER_DATABASE_URL" if owner else "DSPT_DATABASE_URL"):
        if schema == "migrated":
            prepare_schema(settings)
        elif schema == "checked":
            check_schema(settings.database_url)
        database = Database(owner or settings.database_url, seconds=_STATEMENT_SECONDS)
    try:
        yield settings, database
    finally:
        database.close()
