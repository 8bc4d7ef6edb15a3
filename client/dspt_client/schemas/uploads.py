"""Uploads in parts, as the API returns them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class UploadView(BaseModel):
    """A zip that arrives in parts, numbered 1, 2, ..."""

    id: str | None = Field(description="Null if the data set exists already.")
    object: Literal["upload"] = "upload"
    dataset_id: str | None = Field(
        description="The data set, if the same zip was uploaded before: nothing is left to send."
    )
    size_bytes: int
    part_bytes: int = Field(description="Size of each part but the last.")
    parts: int = Field(description="Number of parts.")
    missing: list[int] = Field(description="Numbers of the parts that have not arrived.")
    expires_at: datetime | None = Field(
        description="When the parts are deleted; each part that arrives moves it."
    )
    links: dict[str, str] = Field(
        description="With `part_url` where parts can be sent to the bucket itself."
    )


class PartUrl(BaseModel):
    """Where one part can be sent without the service."""

    object: Literal["part_url"] = "part_url"
    url: str = Field(description="Takes one `PUT` with the part as the body, without an API key.")
    expires_at: datetime
