"""Tuned classifiers and their aliases, as the API returns them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from dspt_client.schemas.open_enum import OpenEnum


class ModelView(BaseModel):
    """A tuned classifier."""

    id: str
    object: Literal["model"] = "model"
    name: str
    aliases: list[str] = Field(default=[], description="Names that point to it now.")
    created_at: datetime
    job_id: str | None = Field(description="The job that made it, if it is still there.")
    backbone: str
    backbone_digest: str
    classes: list[str]
    served: Annotated[Literal["tuned", "zero_shot"], OpenEnum()] = Field(
        description="Which classifier answers: zero_shot where tuning did not help."
    )
    config: dict[str, Any]
    metrics: dict[str, Any]
    dataset_sha256: str = Field(description="Of the labelled images that it was tuned on.")
    size_bytes: int
    sha256: str = Field(description="Of the artefact.")
    links: dict[str, str]


class AliasView(BaseModel):
    """A name that points to one of its owner's models."""

    id: str
    object: Literal["alias"] = "alias"
    name: str
    owner: str
    model_id: str
    moved_at: datetime = Field(description="Since when it points there.")
    links: dict[str, str]


class AliasMoveView(BaseModel):
    """A step of an alias."""

    number: int = Field(description="1, 2, 3 ... within the alias.")
    model_id: str | None = Field(description="Where it pointed from then on; null: removed.")
    previous_model_id: str | None = Field(description="Where it pointed before.")
    rollback_to: int | None = Field(description="The move that a rollback would go back to.")
    moved_at: datetime
    key_id: str | None = Field(description="The key that did it; null where there are none.")


class AliasHistory(AliasView):
    """An alias, and a page of its moves, the newest first."""

    history: list[AliasMoveView]
    has_more: bool
    next: int | None = Field(description="`before` of the next page.")
