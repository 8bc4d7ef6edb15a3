"""Ring the workers: one message in the broker for each queued job, batch or comparison.

A message is a doorbell: the worker that takes it claims the next one in the database's order
(`app.leased.lease.claim_first`), whichever one the message was sent for. So it does not matter
which message is lost or delivered twice, only that there are enough. Any number of processes may
run it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dspt_client.schemas.status import Status
from sqlalchemy import ColumnElement, select, true, update

from app.jobs.lifecycle.heartbeat_monitor import HeartbeatMonitor
from app.kit.context import Context
from app.kit.db import database_now
from app.tables.batches import Batch
from app.tables.comparisons import Comparison
from app.tables.jobs import OutboxEntry

#: From the broker's queue to a worker's claim a message takes milliseconds. If for this time there
#: are fewer messages than queued jobs, some were lost.
LOST_SECONDS = 5.0

#: Tables of what is queued, with the column of the id, and the rows that are queued.
_QUEUED: tuple[tuple[Any, Any, ColumnElement[bool]], ...] = (
    (OutboxEntry, OutboxEntry.job_id, true()),
    *((table, table.id, table.status == Status.QUEUED) for table in (Batch, Comparison)),
)


class Outbox:
    """`send` sends one id to the broker; `waiting` returns the length of the broker's queue."""

    def __init__(
        self, context: Context, send: Callable[[str], None], waiting: Callable[[], int]
    ) -> None:
        self._context = context
        self._send = send
        self._waiting = waiting
        self._missing = HeartbeatMonitor[bool](2 * context.settings.housekeeping_seconds)

    def relay(self) -> int:
        """Send the messages that the broker does not have; return their number.

        A message is sent first and recorded after, so a crash in between sends it twice, never zero
        times. Raises what `send` and `waiting` raise; what was sent before that stays recorded.
        """
        with self._context.database.read() as session:
            entries = [
                (row.sent_at, row[0], update(table).where(id_ == row[0], queued))
                for table, id_, queued in _QUEUED
                for row in session.execute(select(id_, table.sent_at).where(queued).order_by(id_))
            ]
        due = [entry for entry in entries if entry[0] is None]
        sent = [entry for entry in entries if entry[0] is not None]
        due += sent[: self._lost(len(sent))]
        for _, id_, record in due:
            self._send(id_)
            with self._context.database.write() as session:
                session.execute(record.values(sent_at=database_now(session)))
        return len(due)

    def _lost(self, sent: int) -> int:
        """Return how many of the messages for `sent` queued rows were lost."""
        missing = sent - self._waiting() if sent else 0
        seconds = self._missing.update([("messages", True)] if missing > 0 else [])
        if seconds.get("messages", 0.0) < LOST_SECONDS:
            return 0
        self._missing.update([])  # the new ones have as much time
        return missing
