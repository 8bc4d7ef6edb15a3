"""Time limits of connections to a real PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.orm import Session

from app.kit import db
from app.kit.db import Database
from tests.services import postgres_database


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    with postgres_database(postgres_url) as opened:
        yield opened


def value(session: Session, sql: str) -> str:
    return str(session.scalar(text(sql)))


def test_the_server_ends_a_long_statement_and_the_connection_stays(url: str) -> None:
    database = Database(url, seconds=1.0)
    try:
        with pytest.raises(OperationalError, match="statement timeout"), database.read() as session:
            value(session, "SELECT pg_sleep(60)")
        with database.read() as session:
            assert value(session, "SELECT 1") == "1"
    finally:
        database.close()


def test_a_wait_for_a_lock_ends(url: str) -> None:
    database = Database(url, seconds=1.0)
    try:
        with database.write() as first, database.write() as second:
            value(first, "SELECT pg_advisory_xact_lock(1)")
            with pytest.raises(OperationalError, match="timeout"):
                value(second, "SELECT pg_advisory_xact_lock(1)")
            second.rollback()
    finally:
        database.close()


def test_a_running_statement_ends_when_the_process_stops(url: str) -> None:
    database = Database(url, seconds=60.0)
    try:
        with database.read() as session:
            value(session, "SELECT 1")
            threading.Timer(0.2, database.abort).start()
            start = time.monotonic()
            with pytest.raises(OperationalError, match="stopping"):
                value(session, "SELECT pg_sleep(60)")
            assert time.monotonic() - start < 30
    finally:
        database.close()


def test_the_pool_has_a_size_and_a_wait_for_it_ends(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "_POOL_TIMEOUT_SECONDS", 0.2)
    database = Database(url, pool_size=2)
    try:
        with ExitStack() as held:
            for _ in range(2):
                value(held.enter_context(database.read()), "SELECT 1")
            with pytest.raises(NoConnection), database.read() as session:
                value(session, "SELECT 1")
    finally:
        database.close()


def test_settings_of_the_url_take_precedence(url: str) -> None:
    given = f"{url}&options=-c%20statement_timeout%3D7s&application_name=mine"
    for address, limit, name in ((url, "4500ms", "dspt"), (given, "7s", "mine")):
        database = Database(address)
        try:
            with database.read() as session:
                assert value(session, "SHOW statement_timeout") == limit
                assert value(session, "SHOW application_name") == name
                assert value(session, "SHOW idle_in_transaction_session_timeout") == "1min"
        finally:
            database.close()
