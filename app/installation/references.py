"""Files that the database refers to."""

from __future__ import annotations

from dspt_client.schemas.status import Status
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.kit import storage_keys
from app.tables.batches import Batch
from app.tables.captures import CapturedPrediction
from app.tables.datasets import Dataset
from app.tables.jobs import Job
from app.tables.models import Model
from app.tables.uploads import UploadPart


def referenced_keys(session: Session) -> set[str]:
    """Return the keys of all files that the database refers to."""
    datasets = session.execute(
        select(Dataset.id, Dataset.parent_id).where(Dataset.expired_at.is_(None))
    )
    keys = {storage_keys.dataset(id_, corrections=parent is not None) for id_, parent in datasets}
    keys |= {storage_keys.model(id_) for id_ in session.scalars(select(Model.id))}
    batches = session.scalars(
        select(Batch.id).where(Batch.dataset_id.is_(None), Batch.status != Status.SUCCEEDED)
    )
    keys |= {storage_keys.batch(id_) for id_ in batches}
    captured = session.scalars(select(CapturedPrediction.id))
    keys |= {storage_keys.capture(id_) for id_ in captured}
    of_jobs = session.execute(
        select(Job.audit_key, Job.predictions_key).where(Job.audit_key.is_not(None))
    )
    keys |= {key for row in of_jobs for key in row if key is not None}
    return keys | {part.storage_key for part in session.scalars(select(UploadPart))}
