"""Bind to an address only if other machines cannot use the service there without an API key."""

from __future__ import annotations

import socket
from pathlib import Path

from sqlalchemy import inspect, make_url
from sqlalchemy.exc import OperationalError

from app.access import keys, local_user
from app.access.loopback import CREATE_A_KEY, binds_to_loopback
from app.kit.db import Database, normalise_url
from app.kit.settings import Settings
from app.tables.access import ApiKey


class BindingRefused(Exception):
    """The API must not listen on this address; the message says how to fix it."""


def check_binding(host: str, settings: Settings) -> None:
    """Raise BindingRefused if others could use a service on `host` that has no valid key.

    The database is only read.
    """
    try:
        loopback = binds_to_loopback(host)
    except socket.gaierror as error:
        raise BindingRefused(
            f"--host {host}: not an address of this machine ({error.strerror})."
        ) from error
    if loopback and (settings.no_auth or local_user.available()):
        return
    if settings.bootstrap_key:  # created before the first request is answered
        return
    try:
        found = _has_valid_key(settings.database_url)
    except OperationalError as error:
        raise BindingRefused(
            f"DSPT_DATABASE_URL: the database does not answer, so the API keys needed to bind to "
            f"{host} cannot be checked: {error.orig}"
        ) from error
    if found:
        return
    if loopback:
        raise BindingRefused(
            "There is no API key, and this system does not tell which user sends a request. "
            f"{CREATE_A_KEY} first, or pass --no-auth (DSPT_NO_AUTH=true) to accept requests from "
            "every user and program of this machine."
        )
    raise BindingRefused(
        f"--host {host} (DSPT_HOST) can be reached from other machines, but there is no API "
        f"key. {CREATE_A_KEY} first, with the same --data-dir or DSPT_DATABASE_URL, or set "
        "DSPT_BOOTSTRAP_KEY, or bind to 127.0.0.1."
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
