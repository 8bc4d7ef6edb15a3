"""Classify images, in as many requests as the limits of the service require."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, cast

from dspt_client._calls import Call, as_a
from dspt_client._connection import Connection
from dspt_client._exceptions import PayloadTooLarge
from dspt_client._packing import OnProgress
from dspt_client.schemas.predictions import Prediction, PredictResponse

Image = str | Path | bytes | IO[bytes]
_Named = tuple[str, bytes]
#: Default limit of images per request, and half of the default limit in bytes.
_MOST_IMAGES, _MOST_BYTES = 64, 32 * 1024**2


@dataclass(frozen=True)
class Question:
    """Options of a prediction; see Client.predict."""

    model: str
    top_k: int = 5
    zero_shot: bool = False
    reject_below: float | None = None
    capture: bool = False


async def predict(
    connection: Connection,
    question: Question,
    images: Image | Iterable[Image],
    on_progress: OnProgress,
) -> PredictResponse:
    """Return all predictions, in the order of the images.

    Requests get smaller if the service refuses one as too large. Raises OSError for a missing file,
    and TypeError for an image of another kind, such as one that Pillow has opened.
    """
    named, total = _named(images), _count(images)
    waiting: list[_Named] = []
    most, first, predictions = _MOST_IMAGES, None, list[Prediction]()
    while True:
        waiting += await connection.io.work(partial(_batch, named, most - len(waiting)))
        if not waiting and first is not None:
            return first.model_copy(update={"predictions": predictions})
        sent = waiting[:most]
        try:
            answer = await connection.call(_ask(question, sent))
        except PayloadTooLarge:
            if len(sent) == 1:
                raise
            most = len(sent) // 2
            continue
        predictions += [_rejected(one, question.reject_below) for one in answer.predictions]
        on_progress("classifying", len(predictions), total)
        # By id from now on: the alias may move to another model meanwhile.
        first, question = first or answer, replace(question, model=answer.model)
        waiting = waiting[len(sent) :]


def _ask(question: Question, images: list[_Named]) -> Call[PredictResponse]:
    fields = {
        "model": question.model,
        "top_k": str(question.top_k),
        # Defaults are not sent: an older service may not know the field.
        "zero_shot": "true" if question.zero_shot else None,
        "capture": "true" if question.capture else None,
        "reject_below": None if question.reject_below is None else str(question.reject_below),
    }
    options = {
        "data": {name: value for name, value in fields.items() if value is not None},
        "files": [("images", image) for image in images],
    }
    # A repeated capture would keep the photos twice.
    repeatable = not question.capture
    return Call("POST", "/predict", as_a(PredictResponse), repeatable=repeatable, options=options)


def _rejected(answer: Prediction, below: float | None) -> Prediction:
    """Return the prediction without a label if it is too uncertain, as older services do not."""
    if below is None or answer.score is None or answer.score >= below:
        return answer
    return answer.model_copy(update={"label": None, "rejected": True})


def _batch(images: Iterator[_Named], most: int) -> list[_Named]:
    """Return the next images: at most `most`, and fewer if they are large."""
    batch: list[_Named] = []
    size = 0
    while len(batch) < most and size < _MOST_BYTES:
        image = next(images, None)
        if image is None:
            break
        batch.append(image)
        size += len(image[1])
    return batch


def _is_one(images: Image | Iterable[Image]) -> bool:
    return isinstance(images, (str, Path, bytes)) or hasattr(images, "read")


def _count(images: Image | Iterable[Image]) -> int:
    """Return the number of images; 0 if it is unknown."""
    if _is_one(images):
        return 1
    return len(images) if isinstance(images, Sized) else 0


def _named(images: Image | Iterable[Image]) -> Iterator[_Named]:
    """Yield name and content of each image, or of a single one."""
    each = cast("Iterable[Image]", [images] if _is_one(images) else images)
    for number, image in enumerate(each):
        if isinstance(image, bytes):
            yield f"image {number}", image
        elif isinstance(image, (str, Path)):
            yield Path(image).name, Path(image).read_bytes()
        elif not hasattr(image, "read"):
            raise TypeError(
                f"image {number} is of type {type(image).__name__}; pass paths, bytes, or files "
                "opened in binary mode"
            )
        else:
            name = getattr(image, "name", None)
            yield Path(name).name if isinstance(name, str) else f"image {number}", image.read()
