"""Schema of a model card. Imports nothing large, because the API imports it at start."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

Share = Annotated[float, Field(ge=0, le=1)]
Figure = Annotated[float, Field(ge=-1e9, le=1e9)]
ClassifierKind = Literal["zero_shot", "prompt", "tuned"]


class CardBackbone(BaseModel):
    """The frozen CLIP model."""

    name: str
    digest: str = Field(
        description="SHA-256 of its weights and of everything else that affects features."
    )
    activation: str
    licence: str | None = Field(description="Licence of the weights; null if not known.")
    note: str | None


class CardFile(BaseModel):
    """A file that was left out."""

    file: str
    reason: str


class CardData(BaseModel):
    """Photos used for tuning and measuring."""

    filename: str | None = None
    images: int | None = None
    split: dict[str, int] = Field(default={}, description="Images in train, val and test.")
    rejected: list[CardFile] = Field(
        default=[],
        description="Files left out. A long list is cut and ends with the number of further files.",
    )
    relabelled: int = Field(default=0, description="Number of labels corrected by a person.")
    dropped: int = Field(default=0, description="Number of files dropped by a person.")


class CardFinding(BaseModel):
    """Something about the photos that may be wrong."""

    severity: Literal["error", "warning", "info"]
    title: str
    text: str
    fix: str
    count: int = Field(description="Number of files or classes.")


class CardHealth(BaseModel):
    """What the job found out about its photos, apart from wrong labels."""

    summary: str
    findings: list[CardFinding]


class CardNoise(BaseModel):
    """Estimated share of wrong labels with a 90 % interval."""

    estimate: Share
    low: Share
    high: Share


class CardUnlabelled(BaseModel):
    """Photos without labels, which make the tuned classifier semi-supervised."""

    photos: int = Field(ge=0)
    used: int = Field(
        ge=0, description="Those that moved the class means; copies of other photos never do."
    )
    accuracy_without: Share | None = Field(
        default=None, description="Accuracy of the tuned classifier without them."
    )


class CardResult(BaseModel):
    """Metrics of one classifier on the images that accuracy was measured on."""

    classifier: ClassifierKind
    images: int = Field(ge=0)
    accuracy: Share
    accuracy_interval: tuple[Share, Share] = Field(description="95 % interval.")
    calibration_error: Share


class CardClass(BaseModel):
    """One class and its accuracy with each classifier; null for a class without images."""

    name: str
    words: str = Field(description="Words of the class in the prompt.")
    images: int | None = Field(
        default=None, description="Number of images of the class that it was measured on."
    )
    zero_shot: Share | None = None
    prompt: Share | None = None
    tuned: Share | None = None
    mistaken_for: str | None = Field(
        default=None, description="Wrong class that the served classifier predicts most often."
    )
    mistaken: int = Field(default=0, description="Number of images predicted as that class.")


class CardEpoch(BaseModel):
    """One pass over the training images."""

    epoch: int = Field(ge=0)
    loss: Figure
    train_accuracy: Share
    suppressed: Share = Field(description="Share of the images whose label was nearly ignored.")


class JobRecord(BaseModel):
    """Facts about the job that created a classifier, which its file does not contain."""

    job_id: str
    finished_at: datetime | None = None
    data: CardData = CardData()
    health: CardHealth | None = Field(
        default=None, description="null for jobs of earlier versions, which made no report."
    )
    warnings: list[str] = []


class ModelCard(BaseModel):
    """Data, metrics, settings and limits of a tuned classifier."""

    object: Literal["model_card"] = "model_card"
    name: str
    model_id: str | None = None
    source: Literal["job", "manifest"] = Field(
        description="manifest: made from the classifier's file only, which has less than the job."
    )
    job: JobRecord | None = None
    served: Literal["tuned", "zero_shot"]
    why: str
    backbone: CardBackbone
    measured_on: Literal["test", "val", "held_out"] | None
    results: list[CardResult]
    classes: list[CardClass]
    added_classes: list[str] = Field(
        default=[], description="Classes that were added by name, without photos."
    )
    noise: CardNoise | None
    unlabelled: CardUnlabelled | None = Field(
        default=None, description="null without photos without labels."
    )
    blend: dict[str, Figure] = Field(description="Weight of each part of the ensemble.")
    temperatures: dict[str, Figure] = Field(
        default={}, description="Divisor of the logits that calibrates the probabilities."
    )
    epochs: Annotated[list[CardEpoch], Field(max_length=10_000)]
    seconds: dict[str, Figure] = Field(description="Seconds that each stage of the job took.")
    config: dict[str, Any]
    dataset_sha256: str = Field(description="SHA-256 of the labelled images.")
    artifact_sha256: str | None = None
    limits: list[str] = Field(
        default=[], description="Limits of the figures, one sentence or paragraph each."
    )
