"""Predictions that are kept on request, and feedback on them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

Order = Literal["newest", "uncertain", "instructive"]


class CapturedView(BaseModel):
    """A prediction whose photo is kept, and the correct class if a person has given it."""

    id: str
    object: Literal["prediction"] = "prediction"
    model_id: str
    created_at: datetime
    expires_at: datetime = Field(description="Time at which it is deleted with its photo.")
    file: str = Field(description="Name of the file in the request.")
    predicted: str = Field(description="Most likely class.")
    score: float = Field(description="Probability of the most likely class.")
    margin: float = Field(
        description="Probability of the most likely class minus that of the second one."
    )
    distance: float | None = Field(
        description="Distance from the photos that the model was tuned on, 0 to 2; null if the "
        "model has no class means."
    )
    label: str | None = Field(
        description="Correct class according to feedback; null without feedback. It may be a class "
        "that the model does not have."
    )
    labelled_at: datetime | None = Field(description="Time of the feedback that counts.")
    links: dict[str, str]
