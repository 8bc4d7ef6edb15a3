"""The comparison of two classifiers, as the API returns it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

_Interval = tuple[float, float]


class SideView(BaseModel):
    """One of two classifiers that were compared."""

    model: str = Field(description="Its id.")
    alias: str | None = Field(description="The alias it was asked for by.")
    name: str
    right: int = Field(description="Images that it gets right.")
    accuracy: float
    accuracy_interval: _Interval = Field(description="95 % (Wilson).")
    only_here: list[str] = Field(description="Classes that the other does not know.")


class ClassRowView(BaseModel):
    """The images of one class."""

    name: str
    images: int
    a: float = Field(description="Share that A gets right.")
    b: float


class ComparisonView(BaseModel):
    """Two classifiers on the same images, those whose class both know."""

    object: Literal["comparison"] = "comparison"
    dataset_id: str
    part: Literal["test", "val", "all"] = Field(description="Which photos of the data set.")
    images: int
    left_out: int = Field(description="Images whose class one of the two does not know.")
    unreadable: int = Field(description="Files that cannot be read.")
    a: SideView
    b: SideView
    both_right: int
    only_a_right: int
    only_b_right: int
    both_wrong: int
    difference: float = Field(description="Accuracy of B less that of A.")
    difference_interval: _Interval = Field(description="95 % (Agresti and Min).")
    p_value: float = Field(description="Of McNemar's exact test, two-sided.")
    verdict: str
    per_class: list[ClassRowView]
