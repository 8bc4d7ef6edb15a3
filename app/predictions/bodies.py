"""Images in the body of a request: one as it is, or several as base64 in JSON."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.kit.http.errors import ProblemItem, Unprocessable

Named = tuple[str, bytes]
JSON = "application/json"


class JsonImages(BaseModel):
    """Images and options of a prediction request."""

    model_config = ConfigDict(extra="forbid")

    images: list[str] = Field(
        min_length=1, description="Images in base64, also as `data:image/...;base64,...`."
    )
    top_k: int = Field(default=5, ge=1, le=1000, description="Classes to return per image.")
    zero_shot: bool = Field(
        default=False, description="Also return the zero-shot prediction of the untuned model."
    )
    reject_below: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Return no label if the most likely class is less probable than this.",
    )

    def decoded(self) -> list[Named]:
        """Return the images with their names. Raises Unprocessable for invalid base64."""
        return [(f"image {i}", _decoded(i, text)) for i, text in enumerate(self.images)]


CONTENT: dict[str, Any] = {
    JSON: {"schema": JsonImages.model_json_schema()},
    "image/*": {"schema": {"type": "string", "format": "binary"}},
}
"""Of the OpenAPI document."""


def _decoded(number: int, text: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        param = f"images.{number}"
        message = f"is not base64: {error}"
        item = ProblemItem(param=param, code="invalid_base64", message=message)
        raise Unprocessable(f"{param}: {message}", code="invalid_base64", errors=[item]) from error
