"""Data sets and their photos, as the API returns them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from dspt_client.schemas.open_enum import OpenEnum


class DatasetView(BaseModel):
    """Labelled photos: an uploaded zip, corrections of its labels, or photos added to it."""

    id: str
    object: Literal["dataset"] = "dataset"
    filename: str = Field(description="File name of the uploaded zip.")
    sha256: str = Field(
        description="SHA-256 of the uploaded file, of the corrections, or of the added photos."
    )
    size_bytes: int = Field(description="Of that file; the files of earlier versions are shared.")
    created_at: datetime
    kept: bool = Field(
        description="Whether it was uploaded by itself. Others are deleted with their last job."
    )
    expired: bool = Field(description="Whether retention deleted its photos.")
    parent_id: str | None = Field(
        description="Of corrections: the zip that they correct. Of added photos: the version that "
        "they were added to."
    )
    version: int = Field(
        default=1,
        description="1 for an uploaded zip. Corrections of it, and photos added to it or to its "
        "versions, have the next numbers.",
    )
    metadata: dict[str, str] = Field(default_factory=dict, description="Pairs of your own.")
    relabelled: int | None = Field(description="Of corrections: files with a corrected label.")
    dropped: int | None = Field(description="Of corrections: dropped files.")
    links: dict[str, str]


class ClassCount(BaseModel):
    """Files of one class by part."""

    name: str
    train: int
    val: int
    test: int


class DatasetDetail(DatasetView):
    """One data set with what can be seen without decoding its files."""

    images: int = Field(
        description="Files that should be photos. A job may reject some that are damaged."
    )
    unlabelled: int = Field(
        default=0, description="Further files that should be photos, to be used without labels."
    )
    classes: list[ClassCount]
    warnings: list[str] = Field(description="What was assumed about folders and tables.")


class PhotoView(BaseModel):
    """One file of a data set."""

    number: int = Field(
        description="It never changes; later versions have the numbers of earlier ones."
    )
    file: str
    split: Literal["train", "val", "test"]
    label: str = Field(description="Its class; after corrections, the corrected one.")
    given: str = Field(description="Its class in the uploaded zip.")
    links: dict[str, str]


class PhotoPage(BaseModel):
    """One page of the photos of a data set: in the order of their paths, then those added later."""

    object: Literal["list"] = "list"
    data: list[PhotoView]
    has_more: bool = Field(description="Whether there is a next page.")
    next: int | None = Field(description="`after` of the next page.")


class HealthFile(BaseModel):
    """A file of the data set."""

    file: str
    note: str = Field(
        default="", description="Why it is left out, or the photo that it is a copy of; or empty."
    )


class HealthFinding(BaseModel):
    """One kind of finding, with its files or classes and how to fix it."""

    kind: str = Field(
        description="Such as `copies_across_classes` or `unreadable`; later versions may have more."
    )
    severity: Annotated[Literal["error", "warning", "info"], OpenEnum()] = Field(
        description="error: a job refuses the data; warning: the result may suffer."
    )
    title: str
    text: str = Field(description="One or several sentences, with up to three examples.")
    fix: str
    count: int = Field(
        description="Number of files or, if it concerns no single files, of classes or warnings."
    )
    files: list[HealthFile] = Field(default_factory=list, description="At most 100.")
    classes: list[str] = Field(default_factory=list, description="At most 100.")


class HealthClass(BaseModel):
    """Images of one class."""

    name: str
    words: str = Field(description="Words of the class in the prompt.")
    train: int
    val: int
    test: int
    photos: int = Field(description="Different training photos; copies count once.")


class DatasetHealth(BaseModel):
    """What the newest job that read a data set found out about it, apart from wrong labels."""

    object: Literal["dataset_health"] = "dataset_health"
    dataset_id: str
    job_id: str = Field(description="The job that read it, which may have been deleted since.")
    created_at: datetime
    usable: bool = Field(description="False if the job refused the data; then no counts are known.")
    summary: str
    images: int
    photos: int = Field(description="Different photos; copies count once.")
    left_out: int = Field(description="Files that are not used.")
    split: dict[str, int] = Field(description="Images in train, val and test.")
    n_classes: int
    classes: list[HealthClass] = Field(description="At most 1,000.")
    findings: list[HealthFinding] = Field(description="The most serious first.")
