"""Bodies of the calls about finished classifiers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Text = Annotated[str, Field(max_length=500)]
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
