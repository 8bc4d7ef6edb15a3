"""Schemas of added classes and comparisons."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Text = Annotated[str, Field(max_length=500)]
_MODEL = "Id of a tuned classifier, or an alias."


class NewClasses(BaseModel):
    """Classes to add by name only."""

    model_config = ConfigDict(extra="forbid")

    classes: dict[_Text, _Text | None] = Field(
        min_length=1,
        max_length=1000,
        description="Class name -> its class words in the prompt; null: the name itself.",
        examples=[{"polar_bear": None, "0017": "coffee mug"}],
    )


class ComparisonRequest(BaseModel):
    """Two classifiers to compare, and the photos to compare them on."""

    model_config = ConfigDict(extra="forbid")

    a: _Text = Field(description=_MODEL, examples=["production"])
    b: _Text = Field(description=_MODEL)
    dataset_id: _Text | None = Field(
        default=None,
        description="Data set id of any job. Default: the data set that both were tuned on.",
    )
    all: bool = Field(
        default=False,
        description="Use all photos, not only the test part or the held-out ones. Neither model "
        "may be tuned on them.",
    )
