"""A worker's lease on one row: claimed by compare-and-set, renewed during work, then released.

Every write requires the lease, so a worker that was considered dead and comes back changes nothing.
A lease has no expiry time, because clocks differ and jump: the reaper monitors whether it is still
renewed (app.jobs.lifecycle.heartbeat_monitor).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

from dspt_client.schemas.status import Status
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.kit.context import Context
from app.kit.db import database_now
from app.kit.ids import new_id
from app.leased.kind import Kind, Q, R
from app.tables.jobs import Worker


class StepRefusedError(Exception):
    """The lease is lost, or the row is to be cancelled; `Lease.stop_request` tells which."""


@dataclass(frozen=True)
class StopRequest:
    """Reasons to stop work on a row."""

    cancel: bool
    """Cancellation was requested."""
    release: bool
    """The worker is shutting down: return the row to the queue."""
    lost: bool
    """The lease is lost."""


L = TypeVar("L", bound="Lease[Any]")


@dataclass(frozen=True)
class Lease(Generic[R]):
    """A claim on the row `id`; `owner` is a new random id for each claim."""

    context: Context
    id: str
    owner: str
    worker_id: str

    kind: ClassVar[Kind[Any]]

    @classmethod
    def claim_next(cls, context: Context, worker_id: str) -> Self | None:
        """Claim the queued row of this kind whose turn it is; None if none is queued."""
        return claim_first(context, worker_id, [cls])

    @classmethod
    def claim(cls, context: Context, row_id: str, worker_id: str) -> Self | None:
        """Claim a queued row; return None if it is no longer queued, which is no error."""
        owner, table = new_id("lease"), cls.kind.table
        with context.database.write() as session:
            now = database_now(session)
            values = {
                **cls.kind.fresh,
                "lease_owner": owner,
                "lease_renewed_at": now,
                "attempt": table.attempt + 1,
                "started_at": func.coalesce(table.started_at, now),
            }
            taken = cls.kind.move(session, row_id, cls.kind.claimed, values=values)
        return cls(context, row_id, owner, worker_id) if taken else None

    def row(self) -> R:
        """Return the current row."""
        with self.context.database.read() as session:
            row: R | None = self.kind.get(session, self.id)
        assert row is not None  # a leased row cannot be deleted
        return row

    def renew(self) -> bool:
        """Renew the lease; return False if it is lost."""
        with self.context.database.write() as session:
            return self._update(session, lease_renewed_at=database_now(session))

    def stop_request(self) -> StopRequest:
        """Read from the database whether to stop, and why."""
        table = self.kind.table
        with self.context.database.read() as session:
            query = select(table.status, table.lease_owner).where(table.id == self.id)
            row = session.execute(query).one_or_none()
            stopping = session.scalar(select(Worker.stopping).where(Worker.id == self.worker_id))
        return StopRequest(
            cancel=row is not None and row.status == Status.CANCELLING,
            release=bool(stopping),
            lost=row is None or row.lease_owner != self.owner,
        )

    def fail(self, error: Mapping[str, Any], **values: Any) -> None:
        """Move to failed, and set `values`. Raises StepRefusedError."""
        self._end(Status.FAILED, {"error": dict(error), **values})

    def cancelled(self) -> None:
        """Move from cancelling to cancelled. Raises StepRefusedError."""
        self._end(Status.CANCELLED, {})

    def release(self) -> None:
        """Return the row to the queue; this claim does not count as an attempt."""
        attempt = self.kind.table.attempt - 1
        self._end(Status.QUEUED, {**self.kind.back, "attempt": attempt})

    def _end(self, target: Status, values: Mapping[str, Any]) -> None:
        with self.context.database.write() as session:
            self._move(session, target, values)

    def _move(self, session: Session, target: Status, values: Mapping[str, Any]) -> None:
        if not self.kind.move(session, self.id, target, owner=self.owner, values=values):
            raise StepRefusedError(self.id)

    def _update(self, session: Session, **values: Any) -> bool:
        """Set columns if the lease is still held; return whether it is."""
        table = self.kind.table
        query = update(table).where(table.id == self.id, table.lease_owner == self.owner)
        return session.execute(query.values(values).returning(table.id)).one_or_none() is not None


@dataclass(frozen=True)
class RunLease(Lease[Q]):
    """A claim on a row that stores its progress."""

    def release(self) -> None:
        """Return the row to the queue. The worker is alive, so the attempts are reset."""
        self._end(Status.QUEUED, {"attempt": 0})


def claim_first(context: Context, worker_id: str, leases: Sequence[type[L]]) -> L | None:
    """Claim the next row of the kind whose next row was queued first; None if none is queued.

    Only rows of this worker's pool are claimed.
    """
    pool = context.settings.worker_pool
    while True:
        with context.database.read() as session:
            turns = [
                (turn, each) for each in leases if (turn := each.kind.next_queued(session, pool))
            ]
        if not turns:
            return None
        (_, row_id), kind = min(turns, key=lambda turn: turn[0][0])
        lease = kind.claim(context, row_id, worker_id)
        if lease is not None:  # else another worker was faster, or the row was cancelled
            return lease
