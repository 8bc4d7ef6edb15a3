"""From a model's id and uploaded images to predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from app.access.caller import Caller
from app.kit.context import Context
from app.kit.errors import Conflict, NotFound
from app.models import repository
from app.models.tables import Model
from app.predictions.inference import Inference, Scores
from app.predictions.schemas import ClassScore, ImageProblem, Prediction, PredictResponse
from dspt.errors import ArtifactError, ImageError, UnknownBackbone

if TYPE_CHECKING:
    from dspt.artifact import TunedModel


async def predict(
    context: Context,
    caller: Caller,
    inference: Inference,
    model_id: str,
    images: Sequence[tuple[str, bytes]],
    top_k: int,
) -> PredictResponse:
    """Classify `images` (name, encoded bytes) with a tuned model.

    Raises NotFound (no such model), Conflict (it cannot be served here), ServiceUnavailable (too
    much is waiting) and WeightsUnavailable (its backbone cannot be loaded now).
    """
    model = await run_in_threadpool(_find, context, caller, model_id)
    try:
        served = await inference.prepare(
            f"{model.id}/{model.sha256}", lambda: _read(context, model)
        )
    except FileNotFoundError as error:  # deleted since we looked, or lost
        await run_in_threadpool(_find, context, caller, model_id)
        raise Conflict(
            f"The artefact of model {model.id} is no longer in the storage. Tune it again.",
            code="artifact_not_found",
        ) from error
    except (ArtifactError, UnknownBackbone) as error:
        raise Conflict(f"Model {model.id}: {error.message}", code=error.code) from error
    results = await inference.predict(served, [data for _, data in images], top_k)
    return PredictResponse.model_validate(
        {
            "model": model.id,
            "served": served.served,
            "predictions": [
                _prediction(name, result) for (name, _), result in zip(images, results, strict=True)
            ],
        }
    )


def _find(context: Context, caller: Caller, model_id: str) -> Model:
    with context.database.read() as session:
        model = repository.get(session, model_id)
    if model is None or not caller.sees(model.owner):
        raise NotFound(
            f"There is no model {model_id!r}. GET /models lists what there is.",
            code="model_not_found",
        )
    return model


def _read(context: Context, model: Model) -> TunedModel:
    from dspt.artifact import load_model

    with context.storage.local_copy(model.storage_key) as path:
        return load_model(path)


def _prediction(name: str, result: Scores | ImageError) -> Prediction:
    if isinstance(result, ImageError):
        return Prediction(file=name, error=ImageProblem(code=result.code, message=result.message))
    top = [ClassScore(label=label, score=score) for label, score in result]
    return Prediction(file=name, label=top[0].label, score=top[0].score, top=top)
