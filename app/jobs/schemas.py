"""Schemas of jobs, events, audits and corrections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from dspt_client.schemas.jobs import EventView, JobProgress
from dspt_client.schemas.reviews import Verdict
from dspt_client.schemas.status import TERMINAL, Status
from pydantic import BaseModel, ConfigDict, Field

from app.kit.pools import start_command, worker_of
from app.tables.job_state import LEASED
from dspt.data.hostile.limits import Limits
from dspt.data.names import MAX_PATH_CHARACTERS

if TYPE_CHECKING:
    from sqlalchemy import Row

_MAX_FILES = Limits().max_files
_Name = Annotated[str, Field(min_length=1, max_length=MAX_PATH_CHARACTERS)]
_Words = Annotated[str, Field(max_length=500)]


class ReviewChanges(BaseModel):
    """Verdicts to save. File names are those of the audit."""

    model_config = ConfigDict(extra="forbid")

    verdicts: dict[_Name, Verdict | None] = Field(
        max_length=5000,
        description="Training file -> its verdict; null: undo it.",
        examples=[{"train/cat/7.jpg": {"action": "relabel", "label": "dog"}}],
    )


class CorrectionsRequest(BaseModel):
    """Labels corrected or confirmed by a person. File names are those of the audit."""

    model_config = ConfigDict(extra="forbid")

    relabel: dict[_Name, _Name] = Field(
        default={},
        max_length=_MAX_FILES,
        description="Training file -> its correct class folder.",
        examples=[{"train/cat/7.jpg": "dog"}],
    )
    drop: list[_Name] = Field(
        default=[], max_length=_MAX_FILES, description="Training files to drop."
    )
    keep: list[_Name] = Field(
        default=[],
        max_length=_MAX_FILES,
        description="Training files whose label is right. Their labels, and the corrected ones, "
        "are not suspect in the new job, nor in corrections of it.",
    )
    new_classes: dict[_Name, _Words | None] = Field(
        default={},
        max_length=1000,
        description="Classes in `relabel` that the data set does not have yet -> their class words "
        "in the prompt; null: the name itself.",
        examples=[{"polar_bear": None, "0017": "coffee mug"}],
    )
    review: bool = Field(
        default=False,
        description="Take the corrections from the review of the job. `relabel`, `drop` and `keep` "
        "must be empty then; `new_classes` may have words.",
    )
    name: str | None = Field(default=None, max_length=200)
    config: dict[str, Any] = Field(
        default={}, description="Settings to change; the others are taken from this job."
    )


def links_of(
    job_id: str,
    status: Status,
    model_id: str | None,
    corrected_from: str | None,
    *,
    expired: bool,
    has_predictions: bool,
) -> dict[str, str]:
    """Return the links of a job that its state allows."""
    base = f"/jobs/{job_id}"
    links = {"self": base, "events": f"{base}/events"}
    if status == Status.SUCCEEDED:
        links["audit"] = f"{base}/audit"
        links["review"] = f"{base}/review"
        links["corrections"] = f"{base}/corrections"
    if has_predictions:
        links["predictions"] = f"{base}/predictions"
    if status not in TERMINAL:
        links["cancel"] = f"{base}/cancel"
    if status in (Status.FAILED, Status.CANCELLED) and not expired:
        links["retry"] = f"{base}/retry"
    if corrected_from is not None:
        links["corrected_from"] = f"/jobs/{corrected_from}"
    if model_id is not None:
        links["model"] = f"/models/{model_id}"
        links["artifact"] = f"/models/{model_id}/artifact"
    return links


def progress_of(
    status: Status, reported: dict[str, Any] | None, pool: str, *, worker_alive: bool
) -> JobProgress:
    """Return the last progress report of the worker, adapted to the state."""
    if status == Status.QUEUED:
        worker = worker_of(pool)
        message = (
            f"waiting for a {worker}"
            if worker_alive
            else f"waiting: no {worker} is running. Start one with `{start_command(pool)}`."
        )
        return JobProgress(stage="queued", message=message)
    first = "validating" if status in LEASED else "queued"
    progress = JobProgress.model_validate(reported or {"stage": first})
    if status == Status.CANCELLING:
        progress.message = "waiting: the worker stops after its current step"
    if status in TERMINAL:
        progress.eta_seconds = None
    if status == Status.SUCCEEDED:
        progress.fraction = 1.0
    return progress


def event_view(row: Row[Any, Any, Any, Any]) -> EventView:
    """Return the event of a row (seq, type, created_at, data)."""
    return EventView.model_validate(
        {"id": row.seq, "type": row.type, "created_at": row.created_at, "data": row.data}
    )
