"""Options and helpers that the service's commands share."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from app.kit.secret_files import SecretFileError
from app.kit.settings import Settings

if TYPE_CHECKING:
    from app.kit.db import Database

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


def settings_from(data_dir: Path | None) -> Settings:
    """Return the settings, with `data_dir` if given. Invalid settings exit with status 2."""
    try:
        return Settings() if data_dir is None else Settings(data_dir=data_dir)
    except SecretFileError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(["DSPT", *(str(part).upper() for part in problem["loc"])])
            typer.echo(f"{name}: {problem['msg']}", err=True)
        raise typer.Exit(2) from error


def duration(text: str, option: str) -> timedelta:
    """Parse a duration such as `90d`. Raises typer.BadParameter, which names the option."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(
            "must be a number and a unit, such as 30m, 12h, 90d or 52w", param_hint=option
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


@contextmanager
def service_database(
    data_dir: Path | None, *, upgrade: bool = True
) -> Iterator[tuple[Settings, Database]]:
    """Yield the settings and the database, with `upgrade` migrated to the newest schema.

    User errors exit with status 1 or 2.
    """
    from sqlalchemy.exc import OperationalError

    from app.kit.db import Database, migrate

    for name in ("DSPT_DATABASE_URL", "DSPT_DATABASE_URL_FILE"):
        if data_dir is not None and os.environ.get(name):
            typer.echo(f"--data-dir and {name} are both set; set only one of them.", err=True)
            raise typer.Exit(2)
    settings = settings_from(data_dir)
    try:
        if settings.database_url.startswith("sqlite"):
            # As in `dspt serve`: no access for other users.
            settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if upgrade:
            migrate(settings.database_url)
        database = Database(settings.database_url, seconds=_STATEMENT_SECONDS)
    except OSError as error:
        typer.echo(f"--data-dir: {settings.data_dir}: {error.strerror}", err=True)
        raise typer.Exit(1) from error
    except (OperationalError, ValueError) as error:
        reason = error if isinstance(error, ValueError) else error.orig
        typer.echo(f"DSPT_DATABASE_URL: cannot use the database: {reason}", err=True)
        raise typer.Exit(1) from error
    try:
        yield settings, database
    finally:
        database.close()
