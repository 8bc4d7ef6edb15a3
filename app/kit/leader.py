"""One process of an installation runs the background loops; if it dies, another one takes over."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import structlog
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from app.kit.background_loop import Loop
from app.kit.db import Database

_log = structlog.get_logger(__name__)

_LOCK = 0x64737074_6C656164
#: After this time without a sign of life, PostgreSQL ends the transaction of a leader that hangs.
_SILENCE_SECONDS = 10


class Leader:
    """Holds an advisory lock of PostgreSQL as long as this process leads.

    The lock belongs to an open transaction, not to a session, so PgBouncer may be in between. On
    SQLite, which is for one machine, each process leads.
    """

    def __init__(self, database: Database, loops: Sequence[Loop], seconds: float) -> None:
        """`loops` run only while this process leads, which it checks every `seconds`."""
        self._database = database
        self._shared = database.engine.dialect.name == "postgresql"
        self._held: Connection | None = None
        self._loops = loops
        for each in loops:
            each.runs = self.leads
        #: Its own.
        self.loops = [Loop("leader", self._check, seconds)] if self._shared else []
        self._silence_seconds = max(_SILENCE_SECONDS, 5 * seconds)

    def leads(self) -> bool:
        return self._held is not None or not self._shared

    def start(self) -> None:
        """Take the lead if it is free; its loop tries again and again."""
        if self._shared:
            with suppress(SQLAlchemyError):
                self._check()

    def close(self) -> None:
        """Give the lead to another process. Call it when the loops have stopped."""
        held, self._held = self._held, None
        if held is not None:
            # A rollback would wait for a database that does not answer. Without the connection
            # PostgreSQL rolls back by itself.
            held.invalidate()
            held.close()

    def _check(self) -> None:
        if self._held is not None:
            try:
                self._held.execute(select(1))
            except SQLAlchemyError:
                _log.warning("this process no longer runs the background loops")
                self.close()
                raise
        elif self._take():
            _log.info("this process runs the background loops")
            for loop in self._loops:
                loop.wake()

    def _take(self) -> bool:
        connection = self._database.engine.connect()
        try:
            limit = round(self._silence_seconds * 1000)
            connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {limit}"))
            if connection.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))):
                self._held = connection
        finally:
            if self._held is None:
                connection.close()
        return self._held is not None
