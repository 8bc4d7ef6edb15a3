"""What is on a model card. Imports nothing large: the API's documentation needs it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

Share = Annotated[float, Field(ge=0, le=1)]
Figure = Annotated[float, Field(ge=-1e9, le=1e9)]
ClassifierKind = Literal["zero_shot", "prompt", "tuned"]


class CardBackbone(BaseModel):
    """The frozen model underneath."""

    name: str
    digest: str = Field(description="SHA-256 over its weights and whatever else decides features.")
    activation: str
    licence: str | None = Field(description="Of its weights; null where it is not known here.")
    note: str | None


class CardFile(BaseModel):
    file: str
    reason: str


class CardData(BaseModel):
    """The photos that it was tuned and measured on."""

    filename: str | None = None
    images: int | None = None
    split: dict[str, int] = Field(default={}, description="Images in train, val and test.")
    rejected: list[CardFile] = Field(
        default=[], description="Files left out; of very many the first, then how many more."
    )
    relabelled: int = Field(default=0, description="Labels that a person has put right.")
    dropped: int = Field(default=0, description="Files that a person has left out.")


class CardNoise(BaseModel):
    """Estimated share of wrong labels, and a 90 % interval around it."""

    estimate: Share
    low: Share
    high: Share


class CardResult(BaseModel):
    """One classifier on the images that accuracy was measured on."""

    classifier: ClassifierKind
    images: int = Field(ge=0)
    accuracy: Share
    accuracy_interval: tuple[Share, Share] = Field(description="95 %.")
    calibration_error: Share


class CardClass(BaseModel):
    """One class, with its accuracy by each classifier; null without images of it."""

    name: str
    words: str = Field(description="What the prompt calls it.")
    images: int | None = Field(default=None, description="That it was measured on.")
    zero_shot: Share | None = None
    prompt: Share | None = None
    tuned: Share | None = None
    mistaken_for: str | None = Field(
        default=None, description="What the served classifier most often takes its images for."
    )
    mistaken: int = Field(default=0, description="How many of them.")


class CardEpoch(BaseModel):
    """One pass over the training images."""

    epoch: int = Field(ge=0)
    loss: Figure
    train_accuracy: Share
    suppressed: Share = Field(description="Of the images, those whose label was all but ignored.")


class JobRecord(BaseModel):
    """What the job that made a classifier knows of it, and its file does not."""

    job_id: str
    finished_at: datetime | None = None
    data: CardData = CardData()
    warnings: list[str] = []


class ModelCard(BaseModel):
    """All there is to know about a tuned classifier, and what is not known."""

    object: Literal["model_card"] = "model_card"
    name: str
    model_id: str | None = None
    source: Literal["job", "manifest"] = Field(
        description="manifest: made from the classifier's file alone, which does not say it all."
    )
    job: JobRecord | None = None
    served: Literal["tuned", "zero_shot"]
    why: str
    backbone: CardBackbone
    measured_on: Literal["test", "val", "held_out"] | None
    results: list[CardResult]
    classes: list[CardClass]
    added_classes: list[str] = Field(
        default=[], description="Of the classes, those added by name, without a photo of them."
    )
    noise: CardNoise | None
    blend: dict[str, Figure] = Field(description="Weight of each part of a blend.")
    temperatures: dict[str, Figure] = Field(
        default={}, description="What logits are divided by, so that probabilities are calibrated."
    )
    epochs: Annotated[list[CardEpoch], Field(max_length=10_000)]
    seconds: dict[str, Figure] = Field(description="That each stage of the job took.")
    config: dict[str, Any]
    dataset_sha256: str = Field(description="Of the labelled images.")
    artifact_sha256: str | None = None
    limits: list[str] = Field(default=[], description="What the figures do not say.")

    def result(self, classifier: ClassifierKind) -> CardResult | None:
        return next((each for each in self.results if each.classifier == classifier), None)
