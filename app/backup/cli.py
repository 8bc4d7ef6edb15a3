"""`dspt backup` and `dspt restore`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from app.kit.command_line import DataDir, service_database
from dspt.kit.text import counted

Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Folder of the backup.", show_default=False)
]


def backup(
    folder: Folder,
    check: Annotated[
        bool,
        typer.Option("--check", help="Do not back up; verify the backup in FOLDER by its digests."),
    ] = False,
    no_files: Annotated[
        bool,
        typer.Option(
            "--no-files",
            help="Only list the stored files, without copying them: for a storage that is backed "
            "up in another way.",
        ),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Back up the database and the stored files, while the service runs.

    A backup in FOLDER is brought up to date; only new files are copied. Exit status 1 if files
    are missing or damaged. The backup contains photos, models and digests of API keys.
    """
    from app.backup.create import back_up
    from app.backup.manifest import BackupError
    from app.installation.service import InstallationError
    from app.kit.context import Context
    from app.kit.storage import open_storage

    try:
        if check:
            _check(folder)
            return
        with service_database(data_dir, schema="any") as (settings, database), _bar() as advance:
            context = Context(settings, database, open_storage(settings))
            done = back_up(context, folder, copy_files=not no_files, on_progress=advance)
    except (BackupError, InstallationError, OSError) as error:
        raise _failure("backup", error) from error
    rows = sum(table.rows for table in done.tables.values())
    what = "Backed up" if done.copied else "Listed"
    typer.echo(
        f"Backed up {rows:,} rows. {what} {_size(done.files, done.files_bytes)} in {folder}."
    )
    if done.missing:
        typer.echo(
            f"{len(done.missing):,} files that the database refers to are missing from the storage "
            f"or damaged: {', '.join(done.missing[:10])}{' ...' * (len(done.missing) > 10)}",
            err=True,
        )
        raise typer.Exit(1)


def restore(
    folder: Folder,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Replace everything in a database that is not empty."),
    ] = False,
    incomplete: Annotated[
        bool,
        typer.Option(
            "--incomplete", help="Restore even if some files are neither stored nor in the backup."
        ),
    ] = False,
    keep_schema: Annotated[
        bool,
        typer.Option(
            "--keep-schema",
            help="Do not migrate the database: for the older version of DSPT that made the backup.",
        ),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Restore the database, and the stored files that are missing, from a backup.

    Stop the API and all workers first; while `dspt serve`, or an API on PostgreSQL, runs, this is
    refused. No stored file is deleted. The backup may come from SQLite and the database be
    PostgreSQL, or the reverse. With DSPT_OWNER_DATABASE_URL it connects as the owner of the
    tables, and lets the role of DSPT_DATABASE_URL use them.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from app.backup.manifest import BackupError
    from app.backup.restore import restore as run
    from app.installation.service import InstallationError
    from app.kit.context import Context
    from app.kit.storage import open_storage
    from app.migrations.cli import grant_to_service
    from app.serve import ServeError

    try:
        with (
            service_database(data_dir, schema="any", create=True, as_owner=True) as (
                settings,
                database,
            ),
            _bar() as advance,
        ):
            context = Context(settings, database, open_storage(settings))
            done = run(
                context,
                folder,
                replace=replace,
                incomplete=incomplete,
                keep_schema=keep_schema,
                on_progress=advance,
            )
    except (BackupError, InstallationError, ServeError, OSError, SQLAlchemyError) as error:
        raise _failure("restore", error) from error
    grant_to_service(settings)
    rows = sum(table.rows for table in done.manifest.tables.values())
    typer.echo(
        f"Restored {rows:,} rows of {done.manifest.created_at:%Y-%m-%d %H:%M:%S} UTC. Files: "
        f"{done.present:,} in place, {done.copied:,} copied from the backup, {done.from_trash:,} "
        f"moved back from the trash, {done.absent + len(done.manifest.missing):,} missing."
    )


def _check(folder: Path) -> None:
    from app.backup.manifest import BackupError, problems_of_copies, problems_of_dump, read_manifest

    manifest = read_manifest(folder)
    problems = list(problems_of_dump(folder, manifest))
    done = 0
    if not problems:
        with _bar() as advance:
            for found in problems_of_copies(folder, manifest):
                if isinstance(found, str):
                    problems.append(found)
                else:
                    done += found
                    advance(done, manifest.files_bytes)
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise BackupError(f"The backup is damaged ({counted(len(problems), 'file')}).")
    rows = sum(table.rows for table in manifest.tables.values())
    copies = f"and {_size(manifest.files, done)}" if manifest.copied else "without copies of files"
    typer.echo(
        f"The backup of {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC is sound: {rows:,} rows "
        f"{copies}."
    )


def _failure(command: str, error: Exception) -> typer.Exit:
    reason = getattr(error, "orig", None) or error
    typer.echo(f"dspt {command}: {reason}", err=True)
    return typer.Exit(1)


def _size(count: int, size_bytes: int) -> str:
    from rich.filesize import decimal

    return f"{counted(count, 'file')} ({decimal(size_bytes)})"


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows bytes done of all, on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("files", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
