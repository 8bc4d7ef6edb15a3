"""Build a model card from the artefact and the job that created it, if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dspt_client.schemas.jobs import JobView

from app.access.caller import Caller
from app.jobs import repository as jobs
from app.jobs import views
from app.kit.context import Context
from app.kit.http.errors import Conflict
from app.models import artifacts
from app.models.service import find
from dspt.errors import ArtifactError
from dspt.report.card.schema import CardData, CardFile, CardHealth, JobRecord

if TYPE_CHECKING:
    from dspt.report.card import ModelCard


def read(context: Context, caller: Caller, model_id: str) -> ModelCard:
    """Return the card. Raises NotFound (no model, or no file) and Conflict (damaged file)."""
    from dspt.report.card import card_of

    with context.database.read() as session:
        model = find(session, caller, model_id)
        job = model.job_id and views.view(session, context, caller, model.job_id)
        health = jobs.health(session, model.job_id) if model.job_id else None
    try:
        manifest = artifacts.read(context, model).manifest
    except ArtifactError as error:
        raise Conflict(f"Model {model.id}: {error.message}", code=error.code) from error
    return card_of(
        manifest,
        name=model.name,
        metrics=model.metrics,
        job=_record(job, health) if job else None,
        model_id=model.id,
        artifact_sha256=model.sha256,
    )


def _record(job: JobView, health: dict[str, Any] | None) -> JobRecord:
    data, corrected = job.dataset, job.dataset.corrections
    rejected = data.rejected or []
    return JobRecord(
        job_id=job.id,
        finished_at=job.finished_at,
        data=CardData(
            filename=data.filename,
            images=data.images,
            split=data.split or {},
            rejected=[CardFile(file=each.file, reason=each.reason) for each in rejected],
            relabelled=corrected.relabelled if corrected else 0,
            dropped=corrected.dropped if corrected else 0,
        ),
        health=CardHealth.model_validate(health) if health else None,
        warnings=job.warnings,
    )
