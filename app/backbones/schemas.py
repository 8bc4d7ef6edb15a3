"""Schemas of backbones."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class BackboneView(BaseModel):
    """A frozen vision-language model that a job's `backbone` can name."""

    name: str
    embed_dim: int = Field(description="Width of an embedding.")
    image_size: int = Field(description="Side of the square input image, in pixels.")
    weights: Literal["present", "download"] = Field(
        description="`present`: on this machine; `download`: downloaded on first use."
    )
    licence: str = Field(description="Licence of the weights.")
    note: str


class BackboneList(BaseModel):
    """All backbones; `advice` says which one to choose."""

    object: Literal["list"] = "list"
    data: list[BackboneView]
    advice: str
