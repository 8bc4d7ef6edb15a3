"""Predict images with the model of an id or alias."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING

from dspt_client.schemas.predictions import Answered, ClassScore, ImageProblem, Prediction
from starlette.concurrency import run_in_threadpool

from app.access.caller import Caller
from app.feedback import capture
from app.feedback.capture import Captured
from app.kit import storage_keys
from app.kit.batched_reader import BatchedReader
from app.kit.context import Context
from app.kit.http.errors import Conflict, ServiceUnavailable
from app.models.resolve import ResolvedModel, resolve
from app.models.service import name_not_found
from app.predictions.inference import Classified, Inference, Scores, Served
from app.predictions.settings import PredictionSettings
from dspt.errors import ArtifactError, BackboneMismatch, ImageError, UnknownBackbone

if TYPE_CHECKING:
    from dspt.model.format import Artifact


@dataclass(frozen=True)
class PredictOptions:
    """Options of a prediction request."""

    top_k: int = 5
    zero_shot: bool = False
    """Also return the zero-shot prediction."""
    reject_below: float | None = None
    """Return no label below this probability."""
    capture: bool = False
    """Keep the photos and answers for feedback."""


_Answered = tuple[
    tuple[str, bytes | ImageError], list[Scores] | Classified | ImageError, Prediction
]
"""An image by name, what was found, and the answer."""


@dataclass(frozen=True)
class Answering:
    """A loaded model with the options of one request; it answers the whole request."""

    context: Context
    inference: Inference
    options: PredictOptions
    model: ResolvedModel
    served: tuple[Served, ...]
    """The model, and its zero-shot variant if requested."""
    key_id: str | None
    """The caller's API key."""

    def room(self, images: int) -> AbstractContextManager[None]:
        """Reserve queue space. Raises ServiceUnavailable and TooManyRequests."""
        return self.inference.room(images, self.key_id)

    def answered(self, images: int | None = None) -> Answered:
        return Answered.model_validate(
            {
                "model": self.model.id,
                "alias": self.model.alias,
                "served": self.served[0].served,
                "images": images,
            }
        )

    async def answer(self, images: Sequence[tuple[str, bytes | ImageError]]) -> list[Prediction]:
        """Return the predictions of images (name, encoded bytes or read error), in order."""
        readable = [data for _, data in images if not isinstance(data, ImageError)]
        inference, options = self.inference, self.options
        share = 1.0 if options.capture else self.model.capture
        # Which photos are kept is no secret.
        keep = [random.random() < share for _ in images]  # nosec B311
        predict = inference.predict_to_capture if any(keep) else inference.predict
        try:
            results = await predict(self.served, readable, options.top_k, self.key_id)
        except BackboneMismatch as error:
            raise Conflict(f"Model {self.model.id}: {error.message}", code=error.code) from error
        found = iter(results)
        answers = [data if isinstance(data, ImageError) else next(found) for _, data in images]
        predictions = [
            prediction_of(name, each.scores if isinstance(each, Classified) else each, options)
            for (name, _), each in zip(images, answers, strict=True)
        ]
        if any(keep):
            rows = zip(images, answers, predictions, strict=True)
            await run_in_threadpool(self._capture, list(compress(rows, keep)))
        return predictions

    def _capture(self, rows: Sequence[_Answered]) -> None:
        """Keep the readable images, and add to each prediction its id, or why it is not kept."""
        kept, captured = [], []
        for (name, data), answer, prediction in rows:
            if isinstance(answer, Classified) and isinstance(data, bytes):
                label, score = answer.scores[0][0]
                kept.append(prediction)
                known = answer.margin, answer.features, answer.distance
                captured.append(Captured(name, data, label, score, *known))
        ids = capture.store_or_explain(self.context, self.model, captured)
        for i, prediction in enumerate(kept):
            if isinstance(ids, ImageProblem):
                prediction.not_captured = ids
            else:
                prediction.prediction = ids[i]


class Predictions:
    """Load models for POST /predict."""

    def __init__(self, context: Context, reader: BatchedReader, inference: Inference) -> None:
        self._context = context
        self._reader = reader
        self._inference = inference

    async def ready(self, caller: Caller, name: str, options: PredictOptions) -> Answering:
        """Load the caller's model with this id or alias.

        An alias is resolved once, even if it moves meanwhile. Raises NotFound (no such model),
        Conflict (it cannot be served here) and WeightsUnavailable (its backbone cannot be loaded).
        """
        model = await self._find(caller, name)
        while True:
            try:
                served = await self._load(model, options)
            except FileNotFoundError as error:  # deleted in the meantime, or lost
                lost, model = model, await self._find(caller, name)
                if model == lost:
                    raise Conflict(
                        f"The artefact of model {model.id} is missing from the storage. Tune it "
                        "again.",
                        code="artifact_not_found",
                    ) from error
            except (ArtifactError, UnknownBackbone) as error:
                raise Conflict(f"Model {model.id}: {error.message}", code=error.code) from error
            else:
                return Answering(
                    self._context, self._inference, options, model, served, caller.key_id
                )

    async def _find(self, caller: Caller, name: str) -> ResolvedModel:
        model = await self._reader.query(resolve, (caller.owner, name))
        if model is None or not caller.sees(model.owner):
            raise name_not_found(name)
        return model

    async def _load(self, model: ResolvedModel, options: PredictOptions) -> tuple[Served, ...]:
        key, read = f"{model.id}/{model.sha256}", partial(_read, self._context, model.id)
        served = await self._inference.prepare(key, read)
        if not options.zero_shot:
            return (served,)
        return served, await self._inference.prepare(f"{key}/zero-shot", partial(_untuned, read))


class Deadline:
    """Async context manager that raises ServiceUnavailable if its block takes too long."""

    def __init__(self, settings: PredictionSettings) -> None:
        self._seconds = settings.deadline_seconds
        self._timeout = asyncio.timeout(self._seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        try:
            await self._timeout.__aexit__(*error)  # type: ignore[arg-type]
        except TimeoutError:
            raise ServiceUnavailable(
                f"No result within {self._seconds:g} seconds (DSPT_PREDICT_DEADLINE_SECONDS): too "
                "many requests are waiting, or a backbone is still loading. Retry after 5 s.",
                code="deadline",
                headers={"Retry-After": "5"},
            ) from None


def _read(context: Context, model_id: str) -> Artifact:
    with context.storage.local_copy(storage_keys.model(model_id)) as path:
        from dspt.model.format import read_artifact

        return read_artifact(path)


def _untuned(read: partial[Artifact]) -> Artifact:
    return read().untuned()


def prediction_of(
    name: str, result: list[Scores] | ImageError, options: PredictOptions
) -> Prediction:
    """Return the answer for an image, given its scores by each classifier, or its error."""
    if isinstance(result, ImageError):
        return Prediction(file=name, error=ImageProblem(code=result.code, message=result.message))
    top, *others = [
        [ClassScore(label=label, score=score) for label, score in scores] for scores in result
    ]
    rejected = options.reject_below is not None and top[0].score < options.reject_below
    return Prediction(
        file=name,
        label=None if rejected else top[0].label,
        score=top[0].score,
        rejected=True if rejected else None,
        top=top,
        zero_shot=others[0] if others else None,
    )
