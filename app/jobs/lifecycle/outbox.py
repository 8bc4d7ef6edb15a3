"""Tells the broker of queued jobs: of each at least once, and again if the broker forgot it.

Any number of processes may do this; what they do twice is harmless, as claiming a job is
compare-and-set.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import select, update

from app.jobs.lifecycle.heartbeat_monitor import HeartbeatMonitor
from app.kit.context import Context
from app.kit.db import database_now
from app.tables.jobs import OutboxEntry

#: A message on its way from the broker's queue to a worker's claim takes milliseconds; a job that
#: is still queued after this long, with nothing left in the queue, has lost its message.
LOST_SECONDS = 5.0


class Outbox:
    """Sends what is queued. `send` gives one job's id to the broker; `waiting` counts its queue."""

    def __init__(
        self, context: Context, send: Callable[[str], None], waiting: Callable[[], int]
    ) -> None:
        self._context = context
        self._send = send
        self._waiting = waiting
        self._monitor = HeartbeatMonitor[datetime](2 * context.settings.housekeeping_seconds)

    def relay(self) -> int:
        """Send each job that the broker does not know of; returns how many were sent.

        Sent first, noted after: a crash in between sends it twice, never not at all. A broker that
        was restarted without its data has an empty queue while jobs that it was told of are still
        queued: those are sent again. Raises what `send` and `waiting` raise; what was sent before
        that stays noted.
        """
        with self._context.database.read() as session:
            entries = session.execute(
                select(OutboxEntry.job_id, OutboxEntry.sent_at).order_by(OutboxEntry.job_id)
            ).all()
        due = [job_id for job_id, sent_at in entries if sent_at is None]
        sent = [(job_id, sent_at) for job_id, sent_at in entries if sent_at is not None]
        unheard = self._monitor.update(sent if sent and self._waiting() == 0 else [])
        due += [job_id for job_id, seconds in unheard.items() if seconds >= LOST_SECONDS]
        for job_id in due:
            self._send(job_id)
            with self._context.database.write() as session:
                session.execute(
                    update(OutboxEntry)
                    .where(OutboxEntry.job_id == job_id)
                    .values(sent_at=database_now(session))
                )
        return len(due)
