"""Batches, as the API returns them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from dspt_client.schemas.jobs import JobError
from dspt_client.schemas.open_enum import OpenEnum
from dspt_client.schemas.status import RunStatus


class BatchView(BaseModel):
    """Many images that a worker classifies with one model."""

    id: str
    object: Literal["batch"] = "batch"
    name: str
    status: Annotated[RunStatus, OpenEnum()]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    pool: str = Field(default="default", description="Pool of workers that takes it.")
    model: str = Field(description="Id of the model that answers.")
    alias: str | None = Field(description="Alias in the request; null if an id.")
    dataset_id: str | None = Field(description="Null for an uploaded zip.")
    filename: str
    top_k: int
    reject_below: float | None
    images: int | None = Field(description="Null until a worker has opened the zip.")
    done: int = Field(description="Images with a result.")
    unreadable: int = Field(description="Those of them that have an `error`.")
    error: JobError | None = Field(description="Why it failed.")
    links: dict[str, str]
