"""Tuned classifiers as they look over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.models.tables import Model


class ModelView(BaseModel):
    """A tuned classifier."""

    id: str
    object: Literal["model"] = "model"
    name: str
    created_at: datetime
    job_id: str | None = Field(description="The job that made it, if it is still there.")
    backbone: str
    backbone_digest: str
    classes: list[str]
    served: Literal["tuned", "zero_shot"] = Field(
        description="Which classifier answers: zero_shot where tuning did not help."
    )
    config: dict[str, Any]
    metrics: dict[str, Any]
    dataset_sha256: str = Field(description="Of the labelled images that it was tuned on.")
    size_bytes: int
    sha256: str = Field(description="Of the artefact.")
    links: dict[str, str]


def view(model: Model) -> ModelView:
    """A model as it looks over HTTP."""
    base = f"/models/{model.id}"
    links = {"self": base, "artifact": f"{base}/artifact"}
    if model.job_id is not None:
        links["job"] = f"/jobs/{model.job_id}"
    return ModelView.model_validate(
        {**{key: getattr(model, key) for key in _COLUMNS}, "links": links}
    )


_COLUMNS = tuple(key for key in ModelView.model_fields if key not in ("object", "links"))
