"""Jobs, their events and their audits, as the API returns them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from dspt_client.schemas.open_enum import OpenEnum
from dspt_client.schemas.status import Status


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
