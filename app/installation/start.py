"""What API and worker do before they start."""

from __future__ import annotations

import typer

from app.installation.service import InstallationError, ensure
from app.kit.context import Context
from app.kit.db import UNAVAILABLE, migrate
from app.kit.settings import Settings


def prepare_or_exit(program: str, settings: Settings) -> None:
    """Migrate the database and check that it belongs to the storage.

    On an error print one sentence and exit with status 1.
    """
    if reason := _migrate(settings) or _ensure(settings):
        typer.echo(f"{program}: {' '.join(reason.split())}", err=True)
        raise typer.Exit(1)


def _migrate(settings: Settings) -> str | None:
    """Migrate the database; return why that is impossible."""
    try:
        migrate(settings.database_url)
    except (*UNAVAILABLE, OSError) as error:
        reason = getattr(error, "orig", None) or error
        return f"DSPT_DATABASE_URL: cannot use the database: {reason}"
    except ValueError as error:  # a URL that is not supported, or a newer schema
        return str(error)
    return None


def _ensure(settings: Settings) -> str | None:
    """Mark database and storage, or check their marks; return why that is impossible."""
    try:
        context = Context.open(settings)
    except (ValueError, ImportError) as error:
        return f"DSPT_STORAGE_URL: cannot use the storage: {error}"
    try:
        ensure(context)
    except InstallationError as error:
        return str(error)
    except OSError as error:
        return f"DSPT_STORAGE_URL: cannot use the storage: {error}"
    finally:
        context.close()
    return None
