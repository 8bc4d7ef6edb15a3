"""Schemas of requests for comparisons."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Text = Annotated[str, Field(max_length=500)]
_MODEL = "Id of a tuned classifier, or an alias."


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


class ComparisonJobRequest(ComparisonRequest):
    """A comparison for a worker."""

    name: str | None = Field(
        default=None, max_length=200, description="Default: the names of the two models."
    )
