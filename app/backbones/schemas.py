"""Backbones as they look over HTTP."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class BackboneView(BaseModel):
    """A frozen vision-language model that a job's `backbone` can name."""

    name: str
    embed_dim: int = Field(description="Width of an embedding.")
    image_size: int = Field(description="Side of the square that the image tower sees, in pixels.")
    weights: Literal["present", "download"] = Field(
        description="Whether the weights are on this machine, or would be downloaded first."
    )
    licence: str = Field(description="Licence of the weights.")
    note: str


class BackboneList(BaseModel):
    """`advice` says which one to take."""

    object: Literal["list"] = "list"
    data: list[BackboneView]
    advice: str
