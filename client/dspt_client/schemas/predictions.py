"""Predictions, as the API returns them: whole, or line by line."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from dspt_client.schemas.open_enum import OpenEnum


class ClassScore(BaseModel):
    """One class and its probability."""

    label: str
    score: float = Field(ge=0, le=1, description="Probability, 0 to 1.")


class ImageProblem(BaseModel):
    """Why one image has no prediction."""

    code: str
    message: str


class Prediction(BaseModel):
    """One image's answer: either `score` and `top`, with a `label` if not rejected, or `error`."""

    file: str = Field(description="The name it was sent under.")
    label: str | None = Field(
        default=None, description="The likeliest class; left out if its score is too low."
    )
    score: float | None = Field(default=None, description="Probability of the likeliest class.")
    rejected: Literal[True] | None = Field(
        default=None, description="The score is below `reject_below`: perhaps none of the classes."
    )
    top: list[ClassScore] | None = Field(default=None, description="The likeliest, best first.")
    zero_shot: list[ClassScore] | None = Field(
        default=None, description="The same by CLIP without tuning, if it was asked for."
    )
    error: ImageProblem | None = Field(default=None, description="Why there is no prediction.")


class Answered(BaseModel):
    """Who answers; the first line of a stream."""

    model: str = Field(description="Id of the model that answered.")
    alias: str | None = Field(
        default=None, description="The alias it was asked for by; left out if by its id."
    )
    served: Annotated[Literal["tuned", "zero_shot"], OpenEnum()] = Field(
        description="Whether the tuned context or plain zero-shot was the better one to serve."
    )
    images: int | None = Field(default=None, description="In a stream: how many will follow.")


class PredictResponse(Answered):
    """Predictions in the order of the images."""

    predictions: list[Prediction]


class StreamEnd(BaseModel):
    """The last line of a stream; one that ends without it was cut off."""

    done: Literal[True] = True
    classified: int
    unreadable: int = Field(description="Images that have an `error`.")
