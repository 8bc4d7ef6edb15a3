"""Requeue the rows of dead workers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import structlog
from dspt_client.schemas.status import Status
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.jobs.lifecycle.heartbeat_monitor import HeartbeatMonitor
from app.kit.context import Context
from app.kit.settings import Settings
from app.leased.kind import Kind
from app.tables.job_state import LEASED
from app.tables.leased import Leased

_log = structlog.get_logger(__name__)

#: Owner of a lease, and time of its last renewal.
_Lease = tuple[str | None, datetime | None]


class Reaper:
    """Monitor the leases on rows of one kind.

    Any number of processes may run it; each relies on its own observations.
    """

    def __init__(self, context: Context, kind: Kind[Any]) -> None:
        self._context, self._kind = context, kind
        self._monitor = HeartbeatMonitor[_Lease](2 * context.settings.housekeeping_seconds)

    def reap(self) -> int:
        """Take back the rows whose lease is no longer renewed; return their number."""
        table = self._kind.table
        with self._context.database.read() as session:
            query = select(table.id, table.lease_owner, table.lease_renewed_at)
            rows = session.execute(query.where(table.status.in_(sorted(LEASED)))).all()
        leases = {id_: (owner, renewed) for id_, owner, renewed in rows}
        silent_for = self._monitor.update(leases.items())
        return sum(
            self._take_back(id_, lease)
            for id_, lease in leases.items()
            if silent_for[id_] >= self._context.settings.lease_seconds
        )

    def _take_back(self, id_: str, lease: _Lease) -> bool:
        kind = self._kind
        with self._context.database.write() as session:
            # Read again under a lock: the worker may have renewed or ended it in the meantime.
            query = select(kind.table).where(kind.table.id == id_)
            row = session.scalar(query.with_for_update())
            if row is None or (row.lease_owner, row.lease_renewed_at) != lease:
                return False
            attempt = row.attempt
            target = requeue(session, self._context.settings, kind, row)
        if target is not None:
            about = {f"{kind.noun}_id": id_, "attempt": attempt, "now": target}
            _log.warning("worker lost", **about)
        return target is not None


def requeue(session: Session, settings: Settings, kind: Kind[Any], row: Leased) -> str | None:
    """Queue a row again whose worker is dead; return its new state, or None if it has moved.

    It fails after too many attempts, and is cancelled if cancellation was requested. An attempt
    that got further than all before it does not count.
    """
    target: Status
    values: dict[str, Any]
    if row.status == Status.CANCELLING:
        target, values = Status.CANCELLED, {}
    elif kind.made_progress(session, row.id):
        # A restart of the machine, say: the row itself does not kill its worker.
        target, values = Status.QUEUED, {**kind.back, "attempt": kind.table.attempt - 1}
    elif row.attempt >= settings.max_attempts:
        about = {"code": "worker_lost", "message": kind.lost(row)}
        target, values = Status.FAILED, {"error": {**about, "param": None, "problems": []}}
    else:
        target, values = Status.QUEUED, dict(kind.back)
    return target if kind.move(session, row.id, target, values=values) else None
