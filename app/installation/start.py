"""What API and worker do before they start."""

from __future__ import annotations

import structlog
from sqlalchemy.exc import DBAPIError

from app.installation.service import InstallationError, ensure
from app.kit.context import Context
from app.kit.db import UNAVAILABLE
from app.kit.settings import Settings

_log = structlog.get_logger(__name__)


class StartError(Exception):
    """API and worker cannot start; the message says in a sentence why, and how to go on."""


def prepare(settings: Settings) -> Context:
    """Migrate the database and check that storage and broker belong to it; return it, open.

    Raises StartError.
    """
    # Only a start needs Alembic.
    from app.installation import broker
    from app.kit.schema import SchemaError, prepare_schema

    try:
        warning = prepare_schema(settings)
    except SchemaError as error:
        raise StartError(str(error)) from error
    except (*UNAVAILABLE, DBAPIError, OSError) as error:
        reason = getattr(error, "orig", None) or error
        raise StartError(f"DSPT_DATABASE_URL: cannot use the database: {reason}") from error
    except ValueError as error:  # a URL that is not supported
        raise StartError(str(error)) from error
    if warning:
        _log.warning(warning)
    try:
        context = Context.open(settings)
    except (ValueError, ImportError) as error:
        raise StartError(f"DSPT_STORAGE_URL: cannot use the storage: {error}") from error
    try:
        broker.ensure(settings, ensure(context))
    except InstallationError as error:
        context.close()
        raise StartError(str(error)) from error
    except OSError as error:
        context.close()
        raise StartError(f"DSPT_STORAGE_URL: cannot use the storage: {error}") from error
    return context


def prepare_or_exit(program: str, settings: Settings) -> Context:
    """Do what `prepare` does; on an error print one sentence and exit with status 1."""
    try:
        return prepare(settings)
    except StartError as error:
        raise SystemExit(f"{program}: {' '.join(str(error).split())}") from error
