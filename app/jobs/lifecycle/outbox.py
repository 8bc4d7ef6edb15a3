"""Ring the workers: one message in the broker for each queued job, batch or comparison.

A message is a doorbell: the worker that takes it claims the next one in the database's order
(`app.leased.lease.claim_first`), whichever one the message was sent for. So it does not matter
which message is lost or delivered twice, only that there are enough in the queue of each pool. Any
number of processes may run it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dspt_client.schemas.status import Status
from sqlalchemy import Update, select, update
from sqlalchemy.orm import Session

from app.jobs.lifecycle.heartbeat_monitor import HeartbeatMonitor
from app.kit.context import Context
from app.kit.db import database_now
from app.tables.batches import Batch
from app.tables.comparisons import Comparison
from app.tables.jobs import Job, OutboxEntry

#: From the broker's queue to a worker's claim a message takes milliseconds. If for this time there
#: are fewer messages than queued jobs, some were lost.
LOST_SECONDS = 5.0


@dataclass(frozen=True)
class _Entry:
    """A queued row; `record` sets when its message was sent."""

    id: str
    sent_at: datetime | None
    record: Update


class Outbox:
    """`send` sends one id to a pool; `waiting` returns the length of a pool's queue."""

    def __init__(
        self, context: Context, send: Callable[[str, str], None], waiting: Callable[[str], int]
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
        pools = defaultdict[str, list[_Entry]](list)
        with self._context.database.read() as session:
            for pool, entry in _queued(session):
                pools[pool].append(entry)
        lost = self._lost(
            {pool: sum(each.sent_at is not None for each in pools[pool]) for pool in pools}
        )
        due = 0
        for pool, entries in pools.items():
            unsent = [each for each in entries if each.sent_at is None]
            sent = [each for each in entries if each.sent_at is not None]
            for each in unsent + sent[: lost.get(pool, 0)]:
                self._send(each.id, pool)
                with self._context.database.write() as session:
                    session.execute(each.record.values(sent_at=database_now(session)))
                due += 1
        return due

    def _lost(self, sent: dict[str, int]) -> dict[str, int]:
        """Return pool -> how many of the messages for its `sent` queued rows were lost."""
        missing = {
            pool: gone
            for pool, number in sent.items()
            if number and (gone := number - self._waiting(pool)) > 0
        }
        seconds = self._missing.update([(pool, True) for pool in missing])
        lost = {pool: missing[pool] for pool in missing if seconds[pool] >= LOST_SECONDS}
        if lost:  # the new ones have as much time
            self._missing.update([(pool, True) for pool in missing if pool not in lost])
        return lost


def _queued(session: Session) -> Iterator[tuple[str, _Entry]]:
    """Yield the pool and the entry of each queued row, oldest first within its table."""
    jobs = select(OutboxEntry.job_id, OutboxEntry.sent_at, Job.pool)
    jobs = jobs.join(Job, Job.id == OutboxEntry.job_id).order_by(OutboxEntry.job_id)
    for id_, sent_at, pool in session.execute(jobs):
        record = update(OutboxEntry).where(OutboxEntry.job_id == id_)
        yield pool, _Entry(id_, sent_at, record)
    table: Any
    for table in (Batch, Comparison):
        queued = table.status == Status.QUEUED
        rows = select(table.id, table.sent_at, table.pool).where(queued).order_by(table.id)
        for id_, sent_at, pool in session.execute(rows):
            yield pool, _Entry(id_, sent_at, update(table).where(table.id == id_, queued))
