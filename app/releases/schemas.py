"""The schema of added classes."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Text = Annotated[str, Field(max_length=500)]


class NewClasses(BaseModel):
    """Classes to add by name only."""

    model_config = ConfigDict(extra="forbid")

    classes: dict[_Text, _Text | None] = Field(
        min_length=1,
        max_length=1000,
        description="Class name -> its class words in the prompt; null: the name itself.",
        examples=[{"polar_bear": None, "0017": "coffee mug"}],
    )
