"""Worker heartbeats in the database."""

from __future__ import annotations

import os
import socket
from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.kit.db import database_now
from app.kit.settings import Settings
from app.tables.jobs import Worker


def report(session: Session, worker_id: str, *, pool: str, stopping: bool) -> None:
    """Record a heartbeat of this worker; delete workers without one for a day."""
    now = database_now(session)
    found = session.execute(
        update(Worker)
        .where(Worker.id == worker_id)
        .values(seen_at=now, stopping=stopping)
        .returning(Worker.id)
    )
    if found.one_or_none() is None:
        session.add(
            Worker(
                id=worker_id,
                pool=pool,
                hostname=socket.gethostname(),
                pid=os.getpid(),
                started_at=now,
                seen_at=now,
                stopping=stopping,
            )
        )
    session.execute(delete(Worker).where(Worker.seen_at < now - timedelta(days=1)))


def leave(session: Session, worker_id: str) -> None:
    """Delete this worker's row."""
    session.execute(delete(Worker).where(Worker.id == worker_id))


def alive(session: Session, settings: Settings) -> dict[str, int]:
    """Return pool -> number of its workers with a recent heartbeat that are not shutting down.

    Pools without one are left out.
    """
    since = database_now(session) - timedelta(seconds=settings.lease_seconds)
    query = select(Worker.pool, func.count()).group_by(Worker.pool)
    recent = query.where(Worker.seen_at > since, Worker.stopping.is_(False))
    return dict(iter(session.execute(recent)))
