"""Send queued jobs to the broker: each at least once, and again if the broker lost it.

Any number of processes may run it. Duplicate messages are harmless, because a claim is
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

#: From the broker's queue to a worker's claim a message takes milliseconds. If a job is still
#: queued after this time and the broker's queue is empty, its message was lost.
LOST_SECONDS = 5.0


class Outbox:
    """`send` sends one job id to the broker; `waiting` returns the length of the broker's queue."""

    def __init__(
        self, context: Context, send: Callable[[str], None], waiting: Callable[[], int]
    ) -> None:
        self._context = context
        self._send = send
        self._waiting = waiting
        self._monitor = HeartbeatMonitor[datetime](2 * context.settings.housekeeping_seconds)

    def relay(self) -> int:
        """Send each job that the broker does not have; return the number sent.

        A job is sent first and recorded after, so a crash in between sends it twice, never zero
        times. A broker restarted without its data has an empty queue while recorded jobs are still
        queued: they are sent again. Raises what `send` and `waiting` raise; jobs sent before that
        stay recorded.
        """
        with self._context.database.read() as session:
            entries = session.execute(
                select(OutboxEntry.job_id, OutboxEntry.sent_at).order_by(OutboxEntry.job_id)
            ).all()
        due = [job_id for job_id, sent_at in entries if sent_at is None]
        sent = [(job_id, sent_at) for job_id, sent_at in entries if sent_at is not None]
        unclaimed = self._monitor.update(sent if sent and self._waiting() == 0 else [])
        due += [job_id for job_id, seconds in unclaimed.items() if seconds >= LOST_SECONDS]
        for job_id in due:
            self._send(job_id)
            with self._context.database.write() as session:
                session.execute(
                    update(OutboxEntry)
                    .where(OutboxEntry.job_id == job_id)
                    .values(sent_at=database_now(session))
                )
        return len(due)
