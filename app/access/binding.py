"""An address that others can reach is bound to only if there is a key to keep them out with."""

from __future__ import annotations

import socket
from pathlib import Path

from sqlalchemy import inspect, make_url
from sqlalchemy.exc import OperationalError

from app.access import keys
from app.access.loopback import MAKE_A_KEY, binds_to_loopback
from app.kit.db import Database, normalise_url
from app.tables.access import ApiKey


class BindingRefused(Exception):
    """The API must not listen there; the message says how to mend it."""


def check_binding(host: str, database_url: str) -> None:
    """Raise BindingRefused if others can reach `host` and no valid key is in the database.

    Nothing is made or changed there.
    """
    try:
        if binds_to_loopback(host):
            return
    except socket.gaierror as error:
        raise BindingRefused(
            f"--host {host}: not an address of this machine ({error.strerror})."
        ) from error
    try:
        found = _has_valid_key(database_url)
    except OperationalError as error:
        raise BindingRefused(
            f"DSPT_DATABASE_URL: the database does not answer, so there is no telling whether "
            f"there is a key to bind to {host} with: {error.orig}"
        ) from error
    if not found:
        raise BindingRefused(
            f"--host {host} (DSPT_HOST) can be reached from other machines, and there is no API "
            f"key to keep them out with. {MAKE_A_KEY} first, for the same --data-dir or "
            "DSPT_DATABASE_URL, or bind to 127.0.0.1."
        )


def _has_valid_key(database_url: str) -> bool:
    url = make_url(normalise_url(database_url))
    if url.drivername == "sqlite" and not Path(url.database or "").is_file():
        return False
    database = Database(database_url)
    try:
        if not inspect(database.engine).has_table(ApiKey.__tablename__):
            return False
        with database.read() as session:
            return keys.any_valid(session)
    finally:
        database.close()
