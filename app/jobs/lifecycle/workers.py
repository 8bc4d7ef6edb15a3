"""Which workers are about: each reports every few seconds."""

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
    """Say that this process, a worker, is alive; forget those silent for a day."""
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
    """Say that this worker is gone."""
    session.execute(delete(Worker).where(Worker.id == worker_id))


def count_alive(session: Session, settings: Settings) -> int:
    """How many workers reported lately and are not shutting down."""
    since = database_now(session) - timedelta(seconds=settings.lease_seconds)
    query = select(func.count()).where(Worker.seen_at > since, Worker.stopping.is_(False))
    return session.scalar(query) or 0


def any_alive(session: Session, settings: Settings) -> bool:
    """Whether somebody will come for a job that waits."""
    return count_alive(session, settings) > 0
