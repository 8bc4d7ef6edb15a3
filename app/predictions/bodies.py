"""Images in the body of a request: one as it is, or several in JSON as base64 or as URLs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from app.kit.http.errors import invalid_field
from app.kit.outgoing import OutgoingError
from app.predictions.service import PredictOptions

Named = tuple[str, bytes]
CAPTURE = (
    "Keep the photos with their answers for feedback, for DSPT_KEEP_CAPTURED_DAYS. Each prediction "
    "then has the id `prediction`."
)
"""Description of the option of that name."""
JSON = "application/json"


class JsonImages(BaseModel):
    """Images and options of a prediction request."""

    model_config = ConfigDict(extra="forbid")

    images: list[str] = Field(
        min_length=1,
        description="Images in base64, also as `data:image/...;base64,...`, or as https URLs of "
        "hosts that the operator allows (DSPT_PREDICT_URL_HOSTS).",
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

    capture: bool = Field(default=False, description=CAPTURE)

    def options(self) -> PredictOptions:
        """Return the options."""
        return PredictOptions(self.top_k, self.zero_shot, self.reject_below, self.capture)


class JsonPrediction(JsonImages):
    """The same for `POST /predict`."""

    model: str = Field(min_length=1, description="Id of a tuned classifier, or an alias.")


async def read_images(
    texts: Sequence[str], fetch: Callable[[str, int], Awaitable[bytes]], most_bytes: int
) -> list[Named]:
    """Return the images with their names, decoded or fetched.

    fetch: returns the content behind a URL, up to a number of bytes. Raises Unprocessable,
    """
    images = await run_in_threadpool(
        lambda: [None if _is_url(text) else _decoded(i, text) for i, text in enumerate(texts)]
    )
    left = most_bytes - sum(len(image) for image in images if image is not None)
    for i, text in enumerate(texts):
        if images[i] is None:
            images[i] = content = await _fetched(i, text, fetch, left)
            left -= len(content)
    return [(f"image {i}", image or b"") for i, image in enumerate(images)]


def is_json(content_type: str) -> bool:
    """Return whether a Content-Type is JSON."""
    return content_type.partition(";")[0].strip().lower() == JSON


CONTENT: dict[str, Any] = {
    JSON: {"schema": JsonImages.model_json_schema()},
    "image/*": {"schema": {"type": "string", "format": "binary"}},
}
PREDICT_CONTENT: dict[str, Any] = {
    # Not required by the endpoint, which also takes JSON.
    "multipart/form-data": {"schema": {"required": ["model"]}},
    JSON: {"schema": JsonPrediction.model_json_schema()},
}
"""Of the OpenAPI document."""


def _is_url(text: str) -> bool:
    return text.startswith(("https:", "http:"))


async def _fetched(
    number: int, url: str, fetch: Callable[[str, int], Awaitable[bytes]], most_bytes: int
) -> bytes:
    try:
        return await fetch(url, most_bytes)
    except OutgoingError as error:
        raise invalid_field(f"images.{number}", "url_not_fetched", str(error)) from error


def _decoded(number: int, text: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_field(
            f"images.{number}", "invalid_base64", f"is not base64: {error}"
        ) from error
