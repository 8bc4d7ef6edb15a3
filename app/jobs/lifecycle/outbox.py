"""Ring the workers: one message in the broker for each queued job or batch.

A message is a doorbell: the worker that takes it claims the next job or batch in the database's
order (`repository.next_queued`), whichever one the message was sent for. So it does not matter
which message is lost or delivered twice, only that there are enough. Any number of processes may
run it.
"""

from __future__ import annotations

from collections.abc import Callable

from dspt_client.schemas.batches import BatchStatus
from sqlalchemy import select, update

from app.jobs.lifecycle.heartbeat_monitor import HeartbeatMonitor
from app.kit.context import Context
from app.kit.db import database_now
from app.tables.batches import Batch
from app.tables.jobs import OutboxEntry

#: From the broker's queue to a worker's claim a message takes milliseconds. If for this time there
#: are fewer messages than queued jobs, some were lost.
LOST_SECONDS = 5.0

#: Id, and time of the message, of all that is queued.
_JOBS = select(OutboxEntry.job_id, OutboxEntry.sent_at)
_BATCHES = select(Batch.id, Batch.sent_at).where(Batch.status == BatchStatus.QUEUED)


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
            entries = [
                *session.execute(_JOBS.order_by(OutboxEntry.job_id)),
                *session.execute(_BATCHES.order_by(Batch.id)),
            ]
        due = [id_ for id_, sent_at in entries if sent_at is None]
        sent = [id_ for id_, sent_at in entries if sent_at is not None]
        due += sent[: self._lost(len(sent))]
        for id_ in due:
            self._send(id_)
            with self._context.database.write() as session:
                now = database_now(session)
                for query in (
                    update(OutboxEntry).where(OutboxEntry.job_id == id_),
                    update(Batch).where(Batch.id == id_, Batch.status == BatchStatus.QUEUED),
                ):
                    session.execute(query.values(sent_at=now))
        return len(due)

    def _lost(self, sent: int) -> int:
        """Return how many of the messages for `sent` queued jobs and batches were lost."""
        missing = sent - self._waiting() if sent else 0
        seconds = self._missing.update([("messages", True)] if missing > 0 else [])
        if seconds.get("messages", 0.0) < LOST_SECONDS:
            return 0
        self._missing.update([])  # the new ones have as much time
        return missing
