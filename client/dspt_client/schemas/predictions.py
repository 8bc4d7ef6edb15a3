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
    """Result of one image: `score` and `top`, with a `label` unless rejected; or `error`."""

    file: str = Field(description="File name in the request.")
    label: str | None = Field(
        default=None, description="Most likely class; omitted if its score is below `reject_below`."
    )
    score: float | None = Field(default=None, description="Probability of the most likely class.")
    rejected: Literal[True] | None = Field(
        default=None,
        description="The score is below `reject_below`; the image may show none of the classes.",
    )
    top: list[ClassScore] | None = Field(
        default=None, description="Most likely classes, best first."
    )
    zero_shot: list[ClassScore] | None = Field(
        default=None, description="The same by zero-shot CLIP, if requested."
    )
    prediction: str | None = Field(
        default=None, description="Id for `POST /feedback`, if the photo was kept."
    )
    not_captured: ImageProblem | None = Field(
        default=None, description="Why the photo was not kept although it should have been."
    )
    error: ImageProblem | None = Field(default=None, description="Why there is no prediction.")


class Answered(BaseModel):
    """The model that answers; the first line of a stream."""

    model: str = Field(description="Id of the model that answered.")
    alias: str | None = Field(default=None, description="Alias in the request; omitted if an id.")
    served: Annotated[Literal["tuned", "zero_shot"], OpenEnum()] = Field(
        description="Classifier in use: zero_shot if tuning did not help."
    )
    images: int | None = Field(
        default=None, description="In a stream: number of predictions that follow."
    )


class PredictResponse(Answered):
    """Predictions in the order of the images."""

    predictions: list[Prediction]


class StreamStopped(BaseModel):
    """The last line of a stream that ends early because the server is stopping."""

    done: Literal[False] = False
    answered: int = Field(description="Predictions sent. Send the images after them again.")
    retry_after: int = Field(description="Seconds to wait before that.")
    error: ImageProblem = Field(description="Why the stream ends.")


class StreamEnd(BaseModel):
    """The last line of a stream; a stream without it was cut off."""

    done: Literal[True] = True
    classified: int
    unreadable: int = Field(description="Images that have an `error`.")


class PredictionEntry(BaseModel):
    """A job's prediction for an image that its accuracy was measured on."""

    file: str
    label: str = Field(description="The given label, or the corrected one.")
    predicted: str
    score: float = Field(description="Probability of the predicted class.")
    image: int | None = Field(
        default=None,
        description="Number of the photo in `/datasets/{id}/images`; null once it is deleted.",
    )


class JobPredictions(BaseModel):
    """Predictions of a job's served classifier, by file, for the images of `measured_on`."""

    object: Literal["predictions"] = "predictions"
    job_id: str
    measured_on: str = Field(description="test, val or held_out.")
    labels: str = Field(description="Whether the labels count as clean, or are given ones.")
    served: Annotated[Literal["tuned", "zero_shot"], OpenEnum()]
    images: int = Field(description="Number of predictions in all.")
    has_more: bool = Field(default=False, description="Whether there is a next page.")
    next: str | None = Field(default=None, description="`after` of the next page.")
    entries: list[PredictionEntry]
