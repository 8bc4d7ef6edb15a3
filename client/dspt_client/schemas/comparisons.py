"""Comparisons of two classifiers, as the API returns them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from dspt_client.schemas.jobs import JobError
from dspt_client.schemas.open_enum import OpenEnum
from dspt_client.schemas.status import RunStatus

_Interval = tuple[float, float]


class SideView(BaseModel):
    """One of the two compared classifiers."""

    model: str = Field(description="Id of the model.")
    alias: str | None = Field(description="Alias in the request; null if an id.")
    name: str
    right: int = Field(description="Correctly classified images.")
    accuracy: float
    accuracy_interval: _Interval = Field(description="95 % interval (Wilson).")
    only_here: list[str] = Field(description="Classes that the other model does not have.")


class ClassRowView(BaseModel):
    """Results for one class."""

    name: str
    images: int
    a: float = Field(description="Accuracy of A.")
    b: float


class ComparisonView(BaseModel):
    """Two classifiers on the same images; only images of classes that both have count."""

    object: Literal["comparison"] = "comparison"
    dataset_id: str
    part: Literal["test", "val", "held_out", "all"] = Field(
        description="Part of the data set; `held_out`: the images that the jobs of both held out."
    )
    images: int
    left_out: int = Field(description="Images left out: one of the two does not have their class.")
    unreadable: int = Field(description="Unreadable files.")
    a: SideView
    b: SideView
    both_right: int
    only_a_right: int
    only_b_right: int
    both_wrong: int
    difference: float = Field(description="Accuracy of B minus that of A.")
    difference_interval: _Interval = Field(description="95 % interval (Agresti and Min).")
    p_value: float = Field(description="McNemar's exact test, two-sided.")
    verdict: str
    per_class: list[ClassRowView]


class ComparisonJobView(BaseModel):
    """A comparison that a worker computes."""

    id: str
    object: Literal["comparison_job"] = "comparison_job"
    name: str
    status: Annotated[RunStatus, OpenEnum()]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    pool: str = Field(default="default", description="Pool of workers that takes it.")
    a: str = Field(description="Id of the first model.")
    b: str = Field(description="Id of the second model.")
    a_alias: str | None = Field(description="Alias in the request; null if an id.")
    b_alias: str | None
    dataset_id: str
    all: bool = Field(
        description="Whether all photos are compared, not only the test part or the held-out ones."
    )
    images: int | None = Field(description="Null until a worker has opened the data set.")
    done: int = Field(description="Images done.")
    result: ComparisonView | None = Field(
        description="Null until the comparison has succeeded, and in lists."
    )
    error: JobError | None = Field(description="Why it failed.")
    links: dict[str, str]
