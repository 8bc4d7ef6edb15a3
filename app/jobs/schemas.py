"""Jobs as they look over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.kit.http.schema_types import OpenEnum
from app.tables.job_state import LEASED, TERMINAL, Status
from dspt.data.hostile.limits import Limits
from dspt.data.names import MAX_PATH_CHARACTERS

if TYPE_CHECKING:
    from sqlalchemy import Row

_MAX_FILES = Limits().max_files
_Name = Annotated[str, Field(min_length=1, max_length=MAX_PATH_CHARACTERS)]


class JobProblem(BaseModel):
    """One thing wrong with the data set."""

    where: str = Field(description="File or class folder; empty for the whole.")
    code: str
    message: str


class JobError(BaseModel):
    """Why a job failed and how to mend it."""

    code: str
    message: str
    param: str | None = Field(default=None, description="Setting, file or class at fault.")
    problems: list[JobProblem] = Field(
        default_factory=list, description="All problems of the data set at once."
    )


class JobProgress(BaseModel):
    stage: str = Field(
        description="queued, validating, encoding, zero_shot, tuning, evaluating or saving; "
        "of an ended job, the last one it was in."
    )
    epoch: int | None = None
    epochs: int | None = None
    fraction: float = Field(default=0.0, description="Of the whole job, 0 to 1.")
    eta_seconds: float | None = None
    message: str | None = Field(
        default=None, description="What it is waiting for, if it is waiting."
    )


class RejectedFile(BaseModel):
    file: str
    reason: str


class JobCorrections(BaseModel):
    """What people have corrected in a data set since its upload."""

    relabelled: int = Field(description="Files whose label was put right.")
    dropped: int = Field(description="Files that were left out.")
    from_job: str | None = Field(
        description="The job that the newest of them were sent to; null once it is deleted."
    )


class JobDataset(BaseModel):
    """The data set; all but `id`, `sha256` and `filename` are known once it is validated."""

    id: str
    sha256: str = Field(description="Of the zip file.")
    filename: str
    expired_at: datetime | None = Field(
        default=None, description="When its photos were deleted, as their time was over."
    )
    content_sha256: str | None = Field(
        default=None, description="Of the labelled images in it, however they are packed."
    )
    images: int | None = None
    classes: list[str] | None = None
    rejected: list[RejectedFile] | None = None
    split: dict[str, int] | None = None
    corrections: JobCorrections | None = None


class JobView(BaseModel):
    """One tuning run."""

    id: str
    object: Literal["job"] = "job"
    name: str
    status: Annotated[Status, OpenEnum()]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int
    error: JobError | None
    progress: JobProgress
    dataset: JobDataset
    config: dict[str, Any] = Field(description="All settings, defaults filled in.")
    class_names: dict[str, str] | None
    metrics: dict[str, Any] | None = Field(
        description="Measurements of zero_shot, of the tuned prompt alone and of the tuned "
        "classifier; which is served, and why; how much each part of a blend weighs; the share of "
        "wrong labels."
    )
    warnings: list[str]
    model_id: str | None
    links: dict[str, str]


class EventView(BaseModel):
    """Something that happened to a job."""

    id: int = Field(description="1, 2, 3 ... within the job.")
    type: Literal["status", "progress", "metrics", "warning"]
    created_at: datetime
    data: dict[str, Any]

    @classmethod
    def of(cls, row: Row[Any, Any, Any, Any]) -> EventView:
        return cls.model_validate(
            {"id": row.seq, "type": row.type, "created_at": row.created_at, "data": row.data}
        )


class EventList(BaseModel):
    object: Literal["list"] = "list"
    data: list[EventView]
    has_more: bool
    next: int | None = Field(description="`after` of the next page.")


class AuditEntryView(BaseModel):
    """A training file and how likely its label is wrong."""

    file: str
    given: str = Field(description="Class folder that the file is in.")
    suggested: str = Field(description="The likeliest class other than the given one.")
    score: float = Field(description="Probability that the given label is wrong; 0 to 1.")
    p_tuned: float = Field(
        description="Probability of the given class by a classifier that has not seen this file."
    )
    p_zero_shot: float = Field(description="The same by CLIP as it was before tuning.")
    suppression: float = Field(description="Near 0: the tuning would ignore the label as noise.")
    suspect: bool = Field(description="Whether a person should look.")


class NoiseRateView(BaseModel):
    """Share of wrong labels, 0 to 1, and a 90 % interval around it."""

    estimate: float
    low: float
    high: float


class AuditView(BaseModel):
    """All training files, the most suspicious first."""

    object: Literal["audit"] = "audit"
    job_id: str
    can_tell: bool = Field(description="False where the ranking is no better than chance.")
    why: str
    noise_rate: NoiseRateView | None = Field(
        default=None,
        description="How many of the labels are wrong; null where nothing can be told, and in "
        "audits of earlier versions.",
    )
    suspects: int
    entries: list[AuditEntryView]


class CorrectionsRequest(BaseModel):
    """Labels that a person put right. Files are named as in the audit."""

    model_config = ConfigDict(extra="forbid")

    relabel: dict[_Name, _Name] = Field(
        default={},
        max_length=_MAX_FILES,
        description="Training file -> the class folder that it belongs to.",
        examples=[{"train/cat/7.jpg": "dog"}],
    )
    drop: list[_Name] = Field(
        default=[], max_length=_MAX_FILES, description="Training files to leave out."
    )
    name: str | None = Field(default=None, max_length=200)
    config: dict[str, Any] = Field(
        default={}, description="Settings to change; the others are those of the job corrected."
    )


def links_of(
    job_id: str,
    status: Status,
    model_id: str | None,
    corrected_from: str | None,
    *,
    expired: bool,
) -> dict[str, str]:
    """Where to go from a job, according to its state."""
    base = f"/jobs/{job_id}"
    links = {"self": base, "events": f"{base}/events"}
    if status == Status.SUCCEEDED:
        links["audit"] = f"{base}/audit"
        links["corrections"] = f"{base}/corrections"
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


def progress_of(status: Status, said: dict[str, Any] | None, *, worker_alive: bool) -> JobProgress:
    """What the worker last said, made to fit the state."""
    if status == Status.QUEUED:
        message = (
            "waiting: a worker will take it in its turn"
            if worker_alive
            else "waiting: no worker is running; start one with `dspt worker`"
        )
        return JobProgress(stage="queued", message=message)
    first = "validating" if status in LEASED else "queued"
    progress = JobProgress.model_validate(said or {"stage": first})
    if status == Status.CANCELLING:
        progress.message = "waiting: the worker stops after the step it is in"
    if status in TERMINAL:
        progress.eta_seconds = None
    if status == Status.SUCCEEDED:
        progress.fraction = 1.0
    return progress
