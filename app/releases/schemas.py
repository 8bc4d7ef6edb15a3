"""Bodies of the calls about finished classifiers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_Text = Annotated[str, Field(max_length=500)]
_Interval = tuple[float, float]
_MODEL = "Id of a tuned classifier, or an alias."


class NewClasses(BaseModel):
    """Classes that a classifier is to know by their names alone."""

    model_config = ConfigDict(extra="forbid")

    classes: dict[_Text, _Text | None] = Field(
        min_length=1,
        max_length=1000,
        description="Name of each class -> the words for it in the prompt; null: the name itself.",
        examples=[{"polar_bear": None, "0017": "coffee mug"}],
    )


class ComparisonRequest(BaseModel):
    """Which two classifiers to compare, and on which photos."""

    model_config = ConfigDict(extra="forbid")

    a: _Text = Field(description=_MODEL, examples=["production"])
    b: _Text = Field(description=_MODEL)
    dataset_id: _Text | None = Field(
        default=None,
        description="A data set that was uploaded with a job. Left out: the one that both were "
        "tuned on.",
    )
    all: bool = Field(
        default=False,
        description="Use all its photos, not the test part alone: if neither was tuned on any.",
    )


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
