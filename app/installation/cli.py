"""`dspt storage`."""

from __future__ import annotations

import typer

from app.kit.command_line import DataDir, service_database
from dspt.kit.text import counted

storage = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Manage which storage belongs to the database.",
)


@storage.callback()
def _group() -> None:
    pass


@storage.command()
def adopt(data_dir: DataDir = None) -> None:
    """Mark storage and broker as belonging to the database, so that the service starts with them.

    Needed after the storage was moved without its file `installation.json`, or if a new database
    is to be used with an existing storage or broker. No file is changed or deleted.
    """
    from app.installation import broker, service
    from app.installation.references import referenced_keys
    from app.kit import storage_keys
    from app.kit.context import Context
    from app.kit.storage import open_storage

    with service_database(data_dir, create=True) as (settings, database):
        context = Context(settings, database, open_storage(settings))
        own = service.adopt(context)
        if settings.broker_url:
            try:
                broker.adopt(settings, own)
            except service.InstallationError as error:
                typer.echo(str(error), err=True)
                raise typer.Exit(1) from error
        stored = {f.name for f in context.storage.files() if storage_keys.is_own(f.name)}
        with database.read() as session:
            named = referenced_keys(session)
    typer.echo(
        f"The storage {settings.storage_url} now belongs to the database's installation {own}.\n"
        f"It has {len(named & stored):,} of the {len(named):,} files that the database refers to, "
        f"and {counted(len(stored - named), 'other file')} of the service."
    )
    if stored - named:
        typer.echo("Garbage collection moves those to the trash; see `dspt gc --dry-run`.")
