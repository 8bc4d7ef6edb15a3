"""Data sets and their photos, as the API returns them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class DatasetView(BaseModel):
    """Labelled photos: an uploaded zip, or corrections of the labels in one."""

    id: str
    object: Literal["dataset"] = "dataset"
    filename: str = Field(description="File name of the uploaded zip.")
    sha256: str = Field(description="SHA-256 of the uploaded file, or of the corrections.")
    size_bytes: int
    created_at: datetime
    kept: bool = Field(
        description="Whether it was uploaded by itself. Others are deleted with their last job."
    )
    expired: bool = Field(description="Whether retention deleted its photos.")
    parent_id: str | None = Field(description="Of corrections: the uploaded zip.")
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
    classes: list[ClassCount]
    warnings: list[str] = Field(description="What was assumed about folders and tables.")


class PhotoView(BaseModel):
    """One file of a data set."""

    number: int = Field(description="It never changes; corrections have the numbers of the zip.")
    file: str
    split: Literal["train", "val", "test"]
    label: str = Field(description="Its class; after corrections, the corrected one.")
    given: str = Field(description="Its class in the uploaded zip.")
    links: dict[str, str]


class PhotoPage(BaseModel):
    """One page of the photos of a data set, in the order of their paths."""

    object: Literal["list"] = "list"
    data: list[PhotoView]
    has_more: bool = Field(description="Whether there is a next page.")
    next: int | None = Field(description="`after` of the next page.")
