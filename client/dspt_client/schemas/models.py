"""Tuned classifiers and their aliases, as the API returns them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from dspt_client.schemas.metrics import Described, DriftFigures, TuningMetrics
from dspt_client.schemas.open_enum import OpenEnum


class Drift(BaseModel):
    """Whether recent photos look like those that a classifier was measured on."""

    captured: int = Field(
        description="Number of captured predictions that `now` rests on: the newest, at most 500."
    )
    since: datetime | None = Field(description="Time of the oldest of them.")
    now: DriftFigures | None = Field(description="Of them; null if they are fewer than 30.")
    baseline: DriftFigures | None = Field(
        description="Of the photos that accuracy was measured on: what is normal."
    )
    reason: str | None = Field(description="Why figures are missing; null if none are.")


class ModelView(BaseModel):
    """A tuned classifier."""

    id: str
    object: Literal["model"] = "model"
    name: str
    aliases: list[str] = Field(default=[], description="Aliases that point to it.")
    created_at: datetime
    job_id: str | None = Field(
        description="The job that created it; null if imported or if the job was deleted."
    )
    backbone: str
    backbone_digest: str
    classes: list[str]
    served: Annotated[Literal["tuned", "zero_shot"], OpenEnum()] = Field(
        description="Classifier in use: zero_shot if tuning did not help."
    )
    config: dict[str, Any]
    metrics: Annotated[dict[str, Any], Described(TuningMetrics)] = Field(
        description="Of its job; of an imported model as its file has them."
    )
    drift: Drift | None = Field(default=None, description="Of captured predictions; null in lists.")
    dataset_sha256: str = Field(description="SHA-256 of the labelled images it was tuned on.")
    size_bytes: int
    sha256: str = Field(description="SHA-256 of the artefact.")
    metadata: dict[str, str] = Field(default_factory=dict, description="Pairs of your own.")
    links: dict[str, str]


class AliasView(BaseModel):
    """A name that points to one of its owner's models."""

    id: str
    object: Literal["alias"] = "alias"
    name: str
    owner: str
    model_id: str
    moved_at: datetime = Field(description="Time of its last move.")
    capture: float = Field(
        default=0, description="Share of the predictions through it that are kept, 0 to 1."
    )
    links: dict[str, str]


class AliasMoveView(BaseModel):
    """One move of an alias."""

    number: int = Field(description="Number within the alias: 1, 2, 3, ...")
    model_id: str | None = Field(description="Model after the move; null: the alias was deleted.")
    previous_model_id: str | None = Field(description="Model before the move.")
    rollback_to: int | None = Field(
        description="Number of the move that a rollback would return to."
    )
    moved_at: datetime
    key_id: str | None = Field(description="API key of the request; null without keys.")


class AliasHistory(AliasView):
    """An alias and a page of its moves, newest first."""

    history: list[AliasMoveView]
    has_more: bool
    next: int | None = Field(description="`before` of the next page.")
