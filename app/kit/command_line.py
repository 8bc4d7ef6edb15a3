"""Options and helpers that the service's commands share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from app.kit.settings import Settings

if TYPE_CHECKING:
    from app.kit.db import Database

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
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(["DSPT", *(str(part).upper() for part in problem["loc"])])
            typer.echo(f"{name}: {problem['msg']}", err=True)
        raise typer.Exit(2) from error


#: A command may delete many rows at once.
_STATEMENT_SECONDS = 60.0


@contextmanager
def service_database(data_dir: Path | None) -> Iterator[tuple[Settings, Database]]:
    """Yield the settings and the database, migrated to the newest schema.

    User errors exit with status 1 or 2.
    """
    from sqlalchemy.exc import OperationalError

    from app.kit.db import Database, migrate

    if data_dir is not None and os.environ.get("DSPT_DATABASE_URL"):
        typer.echo("--data-dir and DSPT_DATABASE_URL are both set; set only one of them.", err=True)
        raise typer.Exit(2)
    settings = settings_from(data_dir)
    try:
        if settings.database_url.startswith("sqlite"):
            # As in `dspt serve`: no access for other users.
            settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
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
