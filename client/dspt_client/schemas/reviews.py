"""Verdicts of people on the labels of a job, as the API takes and returns them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Action = Literal["relabel", "keep", "drop"]


class VerdictView(BaseModel):
    """The decision on one file."""

    action: Action
    label: str | None = Field(description="The correct class, for `relabel`.")
    new_class: bool = Field(description="Whether the data set does not have the class yet.")
    by: str | None = Field(description="Name of the API key; null without keys.")
    at: datetime


class ReviewCounts(BaseModel):
    """Number of files by verdict."""

    keep: int = 0
    relabel: int = 0
    drop: int = 0


class ReviewView(BaseModel):
    """The verdicts on the labels of a job."""

    object: Literal["review"] = "review"
    job_id: str
    version: int = Field(description="Grows with each verdict; 0 before the first one.")
    verdicts: dict[str, VerdictView | None] = Field(
        description="By file; null: the verdict was undone, only in changes since a version."
    )
    counts: ReviewCounts = Field(description="Of the whole review.")


class VerdictEvent(BaseModel):
    """One verdict in the history of a review."""

    id: int = Field(description="Version of the review after this verdict.")
    file: str
    verdict: VerdictView | None = Field(description="Null: an earlier verdict was undone.")
    by: str | None = Field(description="Name of the API key; null without keys.")
    at: datetime


class ReviewHistory(BaseModel):
    """Verdicts in the order in which they were given."""

    object: Literal["list"] = "list"
    data: list[VerdictEvent]
    has_more: bool
    next: int | None = Field(description="`after` of the next page.")


class Verdict(BaseModel):
    """A decision to save."""

    model_config = ConfigDict(extra="forbid")

    action: Action
    label: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(
        default=None, description="The correct class; only for `relabel`, which needs it."
    )
    new_class: bool = Field(
        default=False, description="Whether `label` is a class that the data set does not have."
    )

    @model_validator(mode="after")
    def _label_fits(self) -> Self:
        if (self.label is not None) != (self.action == "relabel"):
            raise ValueError("`relabel` needs a label; `keep` and `drop` have none")
        return self
