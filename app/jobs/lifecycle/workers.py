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


def report(session: Session, worker_id: str, *, stopping: bool) -> None:
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


def count_alive(session: Session, settings: Settings) -> int:
    """Return the number of workers with a recent heartbeat that are not shutting down."""
    since = database_now(session) - timedelta(seconds=settings.lease_seconds)
    query = select(func.count()).where(Worker.seen_at > since, Worker.stopping.is_(False))
    return session.scalar(query) or 0


def any_alive(session: Session, settings: Settings) -> bool:
    """Return whether a worker is alive to take a queued job."""
    return count_alive(session, settings) > 0
