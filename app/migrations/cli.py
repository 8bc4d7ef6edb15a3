"""`dspt db`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from app.kit.command_line import DataDir, database_errors, settings_for

if TYPE_CHECKING:
    from app.kit.settings import Settings

db = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Migrate the database, or check its schema."
)


@db.callback()
def _group() -> None:
    pass


@db.command()
def upgrade(data_dir: DataDir = None) -> None:
    """Migrate the database to the schema of this version. Safe to repeat.

    With DSPT_OWNER_DATABASE_URL it connects as the owner of the tables, creates the role of
    DSPT_DATABASE_URL if needed, and lets it read and write rows.
    """
    from app.kit.schema import migrate

    settings = settings_for(data_dir, create=True)
    owner = settings.owner_database_url or settings.database_url
    name = "DSPT_OWNER_DATABASE_URL" if settings.owner_database_url else "DSPT_DATABASE_URL"
    with database_errors(name):
        warning = migrate(owner)
    typer.echo(warning or "The database has the schema of this version.")
    grant_to_service(settings)


@db.command()
def check(data_dir: DataDir = None) -> None:
    """Check that this version can use the schema of the database; exit with status 1 if not."""
    from app.kit.schema import check_schema

    settings = settings_for(data_dir)
    with database_errors("DSPT_DATABASE_URL"):
        warning = check_schema(settings.database_url)
    typer.echo(warning or "The database has the schema of this version.")


def grant_to_service(settings: Settings) -> None:
    """Let the role of DSPT_DATABASE_URL use the tables, if another role owns them."""
    if settings.owner_database_url:
        from psycopg import Error

        from app.migrations.roles import grant

        with database_errors("DSPT_OWNER_DATABASE_URL", Error):
            role = grant(settings.owner_database_url, settings.database_url)
        typer.echo(f"The role {role} can read and write rows, and change no table.")
