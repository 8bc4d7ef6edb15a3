"""Bind to an address that other machines can reach only if a valid API key exists."""

from __future__ import annotations

import socket
from pathlib import Path

from sqlalchemy import inspect, make_url
from sqlalchemy.exc import OperationalError

from app.access import keys
from app.access.loopback import CREATE_A_KEY, binds_to_loopback
from app.kit.db import Database, normalise_url
from app.tables.access import ApiKey


class BindingRefused(Exception):
    """The API must not listen on this address; the message says how to fix it."""


def check_binding(host: str, database_url: str) -> None:
    """Raise BindingRefused if others can reach `host` and the database has no valid key.

    The database is only read.
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
            f"DSPT_DATABASE_URL: the database does not answer, so the API keys needed to bind to "
            f"{host} cannot be checked: {error.orig}"
        ) from error
    if not found:
        raise BindingRefused(
            f"--host {host} (DSPT_HOST) can be reached from other machines, but there is no API "
            f"key. {CREATE_A_KEY} first, with the same --data-dir or DSPT_DATABASE_URL, or bind "
            "to 127.0.0.1."
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
