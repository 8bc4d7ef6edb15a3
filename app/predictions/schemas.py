"""What POST /predict answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class ClassScore(BaseModel):
    """One class and its probability."""

    label: str
    score: float = Field(ge=0, le=1, description="Probability, 0 to 1.")


class ImageProblem(BaseModel):
    """Why one image has no prediction."""

    code: str
    message: str


class Prediction(BaseModel):
    """One image's answer: either `label`, `score` and `top`, or `error`."""

    file: str = Field(description="The name it was sent under.")
    label: str | None = Field(default=None, description="The likeliest class.")
    score: float | None = Field(default=None, description="Its probability, 0 to 1.")
    top: list[ClassScore] | None = Field(default=None, description="The likeliest, best first.")
    error: ImageProblem | None = Field(default=None, description="Why there is no prediction.")


class PredictResponse(BaseModel):
    """Predictions in the order of the images."""

    model: str = Field(description="Id of the model that answered.")
    alias: str | None = Field(
        default=None, description="The alias it was asked for by; left out if by its id."
    )
    served: Literal["tuned", "zero_shot"] = Field(
        description="Whether the tuned context or plain zero-shot was the better one to serve."
    )
    predictions: list[Prediction]
