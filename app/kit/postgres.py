"""Time limits of connections to PostgreSQL, kept by the server and by this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import URL, Dialect, Engine, event

#: The server reports its own limit before this process gives up.
_SERVER_SHARE = 0.9


@dataclass(frozen=True)
class Limits:
    """Limits of all connections of an engine."""

    seconds: float
    """For a statement, and for the wait for a lock."""
    aborted: threading.Event
    """Once set, statements end at once."""


def postgres_arguments(url: URL, limits: Limits, *, pooled: bool = False) -> dict[str, Any]:
    """Return the arguments to connect with; what `url` sets itself takes precedence.

    pooled: through PgBouncer in transaction mode, which passes on no options of a session, and
    gives each transaction another one, without its prepared statements.
    """
    milliseconds = round(limits.seconds * 1000 * _SERVER_SHARE)
    settings = {
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": 60_000,
    }
    options = [f"-c {name}={value}" for name, value in settings.items()]
    if given := url.query.get("options"):
        options += [given] if isinstance(given, str) else given
    arguments: dict[str, Any] = {
        "connect_timeout": 3,
        "fallback_application_name": "dspt",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
    kept = {name: value for name, value in arguments.items() if name not in url.query}
    if pooled:
        return {**kept, "prepare_threshold": None}
    return {**kept, "options": " ".join(options)}


def limit_connections(engine: Engine, limits: Limits) -> None:
    """Make all connections of an engine keep the limits if the server is silent, too."""

    @event.listens_for(engine, "do_connect")
    def connect(
        _dialect: Dialect, _record: object, arguments: list[Any], options: dict[str, Any]
    ) -> psycopg.Connection[Any]:
        connection = _LimitedConnection.connect(*arguments, **options)
        connection.limits = limits
        return connection


class _LimitedConnection(psycopg.Connection[Any]):
    """Raises OperationalError, and closes, when the server has not answered within the limit.

    The server's own limit does not help if the server hangs, or if the network drops packets
    or holds them back; and TCP's limits do not help if a proxy in between is still alive.
    """

    limits: Limits | None = None

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
        return super().wait(self._limited(gen), *args, **kwargs)

    def _limited(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Pass everything on between psycopg and its own generator, and check the time."""
        limits = self.limits
        start = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted  # 0 after some 100 ms without an answer
                if limits is not None and not ready:
                    if limits.aborted.is_set():
                        self._give_up("this process is stopping")
                    if time.monotonic() - start > limits.seconds:
                        self._give_up(f"no answer within {limits.seconds:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value

    def _give_up(self, reason: str) -> None:
        self.close()
        raise psycopg.OperationalError(reason)
