"""What is sent to a server and how its answer is read, as cheaply as possible."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp


@dataclass(frozen=True)
class Api:
    """One way to ask for predictions. Its functions are of a module, so that it can be pickled."""

    path: str
    image: Callable[[bytes], bytes]
    """An image, encoded once for all requests."""
    body: Callable[[str, Sequence[bytes]], aiohttp.FormData | bytes]
    """Model and encoded images -> body of a request."""
    entry: bytes
    """Occurs once per image in a good answer: counting it costs a fiftieth of parsing."""
    failure: bytes | None = None
    """Occurs once per image that has no prediction."""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})

    def found(self, answer: bytes) -> int:
        """Return the number of images that were answered."""
        return answer.count(self.entry) - (answer.count(self.failure) if self.failure else 0)


def _form(model: str, images: Sequence[bytes]) -> aiohttp.FormData:
    form = aiohttp.FormData({"model": model})
    for image in images:
        form.add_field("images", image, filename="photo.jpg")
    return form


def _one_image(model: str, images: Sequence[bytes]) -> bytes:
    (image,) = images
    return b'{"image":"' + image + b'"}'


def _data_uri(content: bytes) -> bytes:
    return b'"data:image/jpeg;base64,' + base64.b64encode(content) + b'"'


def _inputs(model: str, images: Sequence[bytes]) -> bytes:
    fields = {"model": model, "modality": "image", "encoding_format": "base64", "input": []}
    return json.dumps(fields).encode().replace(b"[]", b"[" + b",".join(images) + b"]")


PREDICT = Api("/predict", bytes, _form, b'"file":', b'"error":', headers={})
"""A form with images."""
ONE_IMAGE = Api("/predict", base64.b64encode, _one_image, b'"label":')
"""JSON with an image in base64."""
EMBEDDINGS = Api("/embeddings", _data_uri, _inputs, b'"embedding":')
"""OpenAI's call for embeddings, with images as data URIs."""
