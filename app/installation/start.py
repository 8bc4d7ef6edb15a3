"""What API and worker do before they start."""

from __future__ import annotations

import typer
from alembic.util.exc import CommandError
from sqlalchemy.exc import OperationalError

from app.installation.service import InstallationError, ensure
from app.kit.context import Context
from app.kit.db import migrate
from app.kit.settings import Settings


def prepare_or_exit(program: str, settings: Settings) -> None:
    """Migrate the database and check that it belongs to the storage.

    On an error print one sentence and exit with status 1.
    """
    try:
        migrate(settings.database_url)
        context = Context.open(settings)
        try:
            ensure(context)
        finally:
            context.close()
    except (InstallationError, ValueError) as error:
        reason = str(error)
    except OperationalError as error:
        reason = f"DSPT_DATABASE_URL: cannot use the database: {error.orig}"
    except CommandError as error:
        reason = (
            f"The database has a newer schema than this version of DSPT knows ({error}). Install "
            "the version that migrated it, or a later one."
        )
    except (OSError, ImportError) as error:
        reason = f"DSPT_STORAGE_URL: cannot use the storage: {error}"
    else:
        return
    typer.echo(f"{program}: {' '.join(reason.split())}", err=True)
    raise typer.Exit(1)
