"""Ring the workers: one message in the broker for each queued job.

A message is a doorbell: the worker that takes it claims the next job in the database's order
(`repository.next_queued`), whichever job the message was sent for. So it does not matter which
message is lost or delivered twice, only that there are enough. Any number of processes may run it.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import select, update

from app.jobs.lifecycle.heartbeat_monitor import HeartbeatMonitor
from app.kit.context import Context
from app.kit.db import database_now
from app.tables.jobs import OutboxEntry

#: From the broker's queue to a worker's claim a message takes milliseconds. If for this time there
#: are fewer messages than queued jobs, some were lost.
LOST_SECONDS = 5.0


class Outbox:
    """`send` sends one job id to the broker; `waiting` returns the length of the broker's queue."""

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
            entries = session.execute(
                select(OutboxEntry.job_id, OutboxEntry.sent_at).order_by(OutboxEntry.job_id)
            ).all()
        due = [job_id for job_id, sent_at in entries if sent_at is None]
        sent = [job_id for job_id, sent_at in entries if sent_at is not None]
        due += sent[: self._lost(len(sent))]
        for job_id in due:
            self._send(job_id)
            with self._context.database.write() as session:
                session.execute(
                    update(OutboxEntry)
                    .where(OutboxEntry.job_id == job_id)
                    .values(sent_at=database_now(session))
                )
        return len(due)

    def _lost(self, sent: int) -> int:
        """Return how many of the messages for `sent` queued jobs were lost."""
        missing = sent - self._waiting() if sent else 0
        seconds = self._missing.update([("messages", True)] if missing > 0 else [])
        if seconds.get("messages", 0.0) < LOST_SECONDS:
            return 0
        self._missing.update([])  # the new ones have as much time
        return missing
