"""From a model's id or alias and uploaded images to predictions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from app.access.caller import Caller
from app.kit.context import Context
from app.kit.errors import Conflict, NotFound
from app.kit.lookups import Lookups
from app.models.naming import Named, named
from app.models.tables import artifact_key
from app.predictions.inference import Inference, Scores, Served
from app.predictions.schemas import ClassScore, ImageProblem, Prediction, PredictResponse
from dspt.errors import ArtifactError, ImageError, UnknownBackbone

if TYPE_CHECKING:
    from dspt.artifact import TunedModel


async def predict(
    context: Context,
    lookups: Lookups,
    caller: Caller,
    inference: Inference,
    name: str,
    images: Sequence[tuple[str, bytes]],
    top_k: int,
) -> PredictResponse:
    """Classify `images` (name, encoded bytes) with the tuned model that has this id or alias.

    What the alias points to now answers the whole request, wherever it is moved meanwhile. Raises
    NotFound (no such model), Conflict (it cannot be served here), ServiceUnavailable (too much is
    waiting) and WeightsUnavailable (its backbone cannot be loaded now).
    """
    model, served = await _ready(context, lookups, caller, inference, name)
    results = await inference.predict(served, [data for _, data in images], top_k)
    return PredictResponse.model_validate(
        {
            "model": model.id,
            "alias": model.alias,
            "served": served.served,
            "predictions": [
                _prediction(name, result) for (name, _), result in zip(images, results, strict=True)
            ],
        }
    )


async def _ready(
    context: Context, lookups: Lookups, caller: Caller, inference: Inference, name: str
) -> tuple[Named, Served]:
    """The model, loaded."""
    model = await _find(lookups, caller, name)
    while True:
        try:
            return model, await inference.prepare(
                f"{model.id}/{model.sha256}", partial(_read, context, model.id)
            )
        except FileNotFoundError as error:  # deleted since we looked, or lost
            lost, model = model, await _find(lookups, caller, name)
            if model == lost:
                raise Conflict(
                    f"The artefact of model {model.id} is no longer in the storage. Tune it again.",
                    code="artifact_not_found",
                ) from error
        except (ArtifactError, UnknownBackbone) as error:
            raise Conflict(f"Model {model.id}: {error.message}", code=error.code) from error


async def _find(lookups: Lookups, caller: Caller, name: str) -> Named:
    model = await lookups.ask(named, (caller.owner, name))
    if model is None or not caller.sees(model.owner):
        raise NotFound(
            f"There is no model {name!r}. GET /models lists what there is, and its aliases.",
            code="model_not_found",
        )
    return model


def _read(context: Context, model_id: str) -> TunedModel:
    from dspt.artifact import load_model

    with context.storage.local_copy(artifact_key(model_id)) as path:
        return load_model(path)


def _prediction(name: str, result: Scores | ImageError) -> Prediction:
    if isinstance(result, ImageError):
        return Prediction(file=name, error=ImageProblem(code=result.code, message=result.message))
    top = [ClassScore(label=label, score=score) for label, score in result]
    return Prediction(file=name, label=top[0].label, score=top[0].score, top=top)
