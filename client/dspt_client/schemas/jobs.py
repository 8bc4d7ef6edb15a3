"""Jobs, their events and their audits, as the API returns them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from dspt_client.schemas.metrics import (
    Described,
    EpochMetrics,
    NoiseRateView,
    TuningMetrics,
    WarningData,
)
from dspt_client.schemas.open_enum import OpenEnum
from dspt_client.schemas.status import Status


class JobProblem(BaseModel):
    """One problem of the data set."""

    where: str = Field(description="File or class folder; empty for the whole data set.")
    code: str
    message: str


class JobError(BaseModel):
    """Why a job failed and how to fix it."""

    code: str
    message: str
    param: str | None = Field(default=None, description="Setting, file or class at fault.")
    problems: list[JobProblem] = Field(
        default_factory=list, description="All problems of the data set."
    )


class JobProgress(BaseModel):
    stage: str = Field(
        description="queued, validating, encoding, zero_shot, tuning, evaluating or saving; "
        "for an ended job, its last stage."
    )
    epoch: int | None = None
    epochs: int | None = None
    fraction: float = Field(default=0.0, description="Progress of the whole job, 0 to 1.")
    eta_seconds: float | None = None
    message: str | None = Field(default=None, description="What the job waits for, if it waits.")


class RejectedFile(BaseModel):
    file: str
    reason: str


class JobCorrections(BaseModel):
    """Corrections of a data set since its upload."""

    relabelled: int = Field(description="Files with a corrected label.")
    dropped: int = Field(description="Dropped files.")
    kept: int = Field(default=0, description="Files whose label was confirmed as it is.")
    from_job: str | None = Field(
        description="Job that received the newest corrections; null once it is deleted."
    )


class JobDataset(BaseModel):
    """The data set. Before validation only `id`, `sha256` and `filename` are known."""

    id: str
    sha256: str = Field(description="SHA-256 of the zip file.")
    filename: str
    expired_at: datetime | None = Field(
        default=None, description="When retention deleted its photos."
    )
    content_sha256: str | None = Field(
        default=None, description="SHA-256 of its labelled images, independent of packing."
    )
    images: int | None = None
    classes: list[str] | None = None
    rejected: list[RejectedFile] | None = None
    split: dict[str, int] | None = None
    unlabelled: int | None = Field(default=None, description="Further images without labels.")
    corrections: JobCorrections | None = None


class JobAccuracy(BaseModel):
    accuracy: float
    accuracy_interval: tuple[float, float] = Field(description="95 % (Wilson).")


class JobChange(BaseModel):
    """What corrections or new photos changed, on the images that both jobs were measured on.

    The labels are those of the new job.
    """

    images: int
    left_out: int = Field(description="Images of a class that only one of the two jobs has.")
    before: JobAccuracy = Field(description="The job that was corrected.")
    after: JobAccuracy
    difference: float = Field(description="Accuracy after minus before.")
    difference_interval: tuple[float, float] = Field(description="95 % (Agresti and Min).")
    p_value: float = Field(description="Of McNemar's exact test, two-sided.")
    gained: list[str] = Field(
        default_factory=list, description="Files that only the new job gets right."
    )
    lost: list[str] = Field(
        default_factory=list, description="Files that only the old job gets right."
    )
    noise_rate_before: NoiseRateView | None = None
    noise_rate_after: NoiseRateView | None = None
    verdict: str = Field(description="Two sentences with the figures.")


class JobView(BaseModel):
    """One tuning run."""

    id: str
    object: Literal["job"] = "job"
    summary: bool = Field(
        default=False, description="Whether large parts are left out, as in lists."
    )
    name: str
    status: Annotated[Status, OpenEnum()]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int
    pool: str = Field(default="default", description="Pool of workers that takes it.")
    error: JobError | None
    progress: JobProgress
    dataset: JobDataset
    config: dict[str, Any] = Field(description="All settings, with defaults.")
    class_names: dict[str, str] | None
    metadata: dict[str, str] = Field(default_factory=dict, description="Pairs of your own.")
    metrics: Annotated[dict[str, Any], Described(TuningMetrics)] | None = Field(
        description="Metrics of zero_shot, of the tuned prompt alone and of the tuned "
        "classifier; which one is served, and why; the weights of an ensemble; the estimated share "
        "of wrong labels."
    )
    change: JobChange | None = Field(
        default=None,
        description="Of corrections: the difference to the job that they correct, without the "
        "files in lists. Null if that job was deleted, or ran in an earlier version.",
    )
    warnings: list[str]
    model_id: str | None
    links: dict[str, str]


class StatusData(BaseModel):
    """Data of a `status` event."""

    status: Annotated[Status, OpenEnum()]
    attempt: int | None = None
    error: JobError | None = Field(default=None, description="Why the job failed.")


class EventView(BaseModel):
    """An event of a job."""

    id: int = Field(description="Number within the job: 1, 2, 3, ...")
    type: Literal["status", "progress", "metrics", "warning"]
    created_at: datetime
    data: Annotated[
        dict[str, Any], Described(StatusData | JobProgress | EpochMetrics | WarningData)
    ] = Field(description="By type: StatusData, JobProgress, EpochMetrics or WarningData.")


class EventList(BaseModel):
    object: Literal["list"] = "list"
    data: list[EventView]
    has_more: bool
    next: int | None = Field(description="`after` of the next page.")


class AuditEntryView(BaseModel):
    """A training file and how likely its label is wrong."""

    file: str
    given: str = Field(description="The given label: class folder of the file.")
    suggested: str = Field(description="The most likely class other than the given one.")
    score: float = Field(description="Probability that the given label is wrong; 0 to 1.")
    p_tuned: float = Field(
        description="Probability of the given class by a classifier not trained on this file."
    )
    p_zero_shot: float = Field(description="The same by zero-shot CLIP.")
    suppression: float = Field(description="Near 0: tuning ignores the label as noise.")
    suspect: bool = Field(description="Whether a person should check the label.")
    held_out: bool = Field(
        default=False,
        description="Whether accuracy was measured on this file; the classifier was not tuned on "
        "it. Never with a test/ or val/ part.",
    )
    group: int | None = Field(
        default=None,
        description="Number that copies of one photo share; null for a photo without copies, and "
        "in audits of earlier versions.",
    )
    kept: bool = Field(
        default=False,
        description="Whether a person has corrected or confirmed the label; it is then not "
        "suspect.",
    )
    image: int | None = Field(
        default=None,
        description="Number of the photo in `/datasets/{id}/images`; only in pages (`limit` or "
        "`after`), and null once the photos are deleted.",
    )


class ExpectedWrong(BaseModel):
    """Expected number of wrong labels among the first entries of an audit."""

    first: int
    wrong: float


class AuditView(BaseModel):
    """Training files, most suspicious first."""

    object: Literal["audit"] = "audit"
    job_id: str
    can_tell: bool = Field(description="False if the ranking is no better than chance.")
    why: str
    noise_rate: NoiseRateView | None = Field(
        default=None,
        description="Share of wrong labels; null if it cannot be estimated, and in audits of "
        "earlier versions.",
    )
    suspects: int = Field(description="Number of labels to check in the whole audit.")
    expected_wrong: list[ExpectedWrong] = Field(
        default=[],
        description="Expected number of wrong labels among the first 10, 20, 50, 100, ... and all "
        "entries: how far down the list checking is worth it. Empty in audits of earlier versions.",
    )
    has_more: bool = Field(default=False, description="Whether there is a next page.")
    next: str | None = Field(default=None, description="`after` of the next page.")
    entries: list[AuditEntryView]
