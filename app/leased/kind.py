"""Read and change leased rows of one kind. Every state transition goes through `Kind.move`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from dspt_client.schemas.status import TERMINAL, Status
from sqlalchemy import Row, delete, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.kit.db import database_now
from app.kit.ids import is_id
from app.kit.newest_first import newest_first
from app.tables.job_state import LEASED
from app.tables.leased import Leased, Run
from app.webhooks.events import Noun, record_end

R = TypeVar("R", bound=Leased)
Q = TypeVar("Q", bound=Run)


class Kind(Generic[R]):
    """A table of leased rows, and what differs between them.

    noun: in messages, error codes and logs. claimed: the state after a claim. sources: target
    state -> the states from which it can be entered. fresh: columns to set at a claim and a retry;
    back: at a return to the queue.
    """

    def __init__(
        self,
        table: type[R],
        noun: Noun,
        *,
        claimed: Status,
        sources: Mapping[Status, frozenset[Status]],
        fresh: Mapping[str, Any] = MappingProxyType({}),
        back: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.table, self.noun, self.claimed = table, noun, claimed
        self.fresh, self.back, self._sources = fresh, back, sources

    #: Columns that `move` reads for `moved`.
    _returned: Sequence[InstrumentedAttribute[Any]] = ()

    def get(self, session: Session, row_id: str, *, lock: bool = False) -> R | None:
        """Return the current row, or None; with `lock`, locked until the transaction ends."""
        if not is_id(row_id):
            return None
        return session.get(self.table, row_id, populate_existing=True, with_for_update=lock)

    def by_idempotency_digest(self, session: Session, digest: str) -> R | None:
        return session.scalar(select(self.table).where(self.table.idempotency_digest == digest))

    def page(
        self, session: Session, *, owner: str | None, after: str | None, limit: int
    ) -> Sequence[R]:
        """Return rows of one owner, or of all (None), newest first, older than `after`."""
        query = newest_first(select(self.table), self.table, owner=owner, after=after, limit=limit)
        return session.scalars(query).all()

    def next_queued(self, session: Session, pool: str) -> tuple[datetime, str] | None:
        """Return when the next row of a pool was queued, and its id; None if none is queued."""
        raise NotImplementedError

    def move(
        self,
        session: Session,
        row_id: str,
        target: Status,
        *,
        when: Iterable[Status] | None = None,
        owner: str | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> bool:
        """Move a row to `target` if its state allows it; return whether it moved.

        Compare-and-set, with everything that follows from the transition in the same transaction
        (`_moved`). `when` restricts the source states, `owner` requires that lease, `values` are
        set together with the state.
        """
        table, now = self.table, database_now(session)
        changes: dict[str, Any] = {**(values or {}), "status": target}
        changes["finished_at"] = now if target in TERMINAL else None
        if target not in LEASED:
            changes.update(lease_owner=None, lease_renewed_at=None)
        if target is not Status.FAILED:
            changes["error"] = None
        changes.update(self._changes(target, now))
        allowed = self._sources[target]
        if when is not None:
            allowed &= frozenset(when)
        query = update(table).where(table.id == row_id, table.status.in_(sorted(allowed)))
        if owner is not None:
            query = query.where(table.lease_owner == owner)
        columns = (table.id, table.owner, table.name, *self._returned)
        row = session.execute(query.values(changes).returning(*columns)).one_or_none()
        if row is None:
            return False
        self._moved(session, row, target, changes, now)
        if target in TERMINAL:
            record_end(
                session,
                self.noun,
                row.id,
                owner=row.owner,
                name=row.name,
                status=target,
                error=changes["error"],
                now=now,
            )
        return True

    def _changes(self, target: Status, now: datetime) -> dict[str, Any]:
        """Return more columns to set with the state."""
        return {}

    def _moved(
        self,
        session: Session,
        row: Row[Any],
        target: Status,
        changes: dict[str, Any],
        now: datetime,
    ) -> None:
        """Write what follows from the transition."""

    def remove(self, session: Session, row_id: str) -> bool:
        """Delete an ended row; return False if it has not ended. Dependent rows are deleted too."""
        table = self.table
        query = delete(table).where(table.id == row_id, table.status.in_(sorted(TERMINAL)))
        return session.execute(query.returning(table.id)).one_or_none() is not None

    def made_progress(self, session: Session, row_id: str) -> bool:
        """Return whether the current attempt got further than each one before it."""
        return False

    def lost(self, row: R) -> str:
        """Return the message of a row that fails because its workers stopped responding."""
        return (
            f"The worker stopped responding {row.attempt} times while it ran this {self.noun}. "
            "Its log, or that of its machine, has the reason."
        )

    def not_retriable(self, status: str) -> str:
        """Return the code of the error for a retry in this state."""
        return f"{self.noun}_not_retriable"


class RunKind(Kind[Q]):
    """A kind whose rows are claimed in the order in which they were queued, across owners."""

    def __init__(self, table: type[Q], noun: Noun, **columns: Mapping[str, Any]) -> None:
        super().__init__(table, noun, claimed=Status.RUNNING, sources=_RUN_SOURCES, **columns)

    def next_queued(self, session: Session, pool: str) -> tuple[datetime, str] | None:
        table = self.table
        query = select(table.queued_at, table.id)
        query = query.where(table.status == Status.QUEUED, table.pool == pool)
        row = session.execute(query.order_by(table.queued_at, table.id).limit(1)).one_or_none()
        return None if row is None else (row.queued_at, row.id)

    def _changes(self, target: Status, now: datetime) -> dict[str, Any]:
        return {"queued_at": now, "sent_at": None} if target is Status.QUEUED else {}


_RUN_SOURCES = MappingProxyType(
    {
        Status.RUNNING: frozenset({Status.QUEUED}),
        Status.CANCELLING: frozenset({Status.RUNNING}),
        Status.SUCCEEDED: frozenset({Status.RUNNING}),
        Status.FAILED: frozenset({Status.RUNNING}),
        Status.CANCELLED: frozenset({Status.QUEUED, Status.CANCELLING}),
        Status.QUEUED: frozenset({Status.RUNNING, Status.FAILED, Status.CANCELLED}),
    }
)
