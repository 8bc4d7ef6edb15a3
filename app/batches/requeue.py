"""Queue the batches of dead workers again."""

from __future__ import annotations

from typing import Any

from dspt_client.schemas.batches import BatchStatus
from sqlalchemy.orm import Session

from app.batches import repository
from app.jobs.lifecycle.reaper import Reaper
from app.kit.context import Context
from app.kit.settings import Settings
from app.tables.batches import LEASED, Batch


def batch_reaper(context: Context) -> Reaper:
    """Return a reaper of batches."""
    return Reaper(context, Batch, LEASED, requeue_batch)


def requeue_batch(session: Session, settings: Settings, batch: Batch) -> str | None:
    """Queue the batch again, after the images that have a result; return its new state.

    It fails if too many workers in a row died before they stored a result, and is cancelled if
    cancellation was requested.
    """
    target, values = BatchStatus.QUEUED, dict[str, Any]()
    if batch.status == BatchStatus.CANCELLING:
        target = BatchStatus.CANCELLED
    elif batch.attempt >= settings.max_attempts:
        target, values = BatchStatus.FAILED, {"error": _worker_lost(batch)}
    return target if repository.move(session, batch.id, target, values=values) else None


def _worker_lost(batch: Batch) -> dict[str, Any]:
    return {
        "code": "worker_lost",
        "message": f"The worker stopped responding {batch.attempt} times in a row while it "
        f"classified the images after the first {batch.done}. Its log, or that of its machine, has "
        "the reason.",
        "param": None,
        "problems": [],
    }
