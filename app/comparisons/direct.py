"""Compare two models on the same images, while the caller waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from dspt_client.schemas.comparisons import ComparisonView
from starlette.concurrency import run_in_threadpool

from app.access.caller import Caller
from app.comparisons.encoding import encode
from app.comparisons.photos import Photos, open_photos, photos_for
from app.comparisons.result import result_of
from app.comparisons.schemas import ComparisonRequest
from app.datasets import service as datasets
from app.kit.context import Context
from app.kit.http.errors import Conflict
from app.models import artifacts
from app.models.service import find_by_name
from app.predictions.inference import Inference, Served
from app.tables.models import Model
from dspt.errors import ArtifactError, UnknownBackbone

if TYPE_CHECKING:
    from app.predictions.tower import Features


async def compare(
    context: Context, inference: Inference, caller: Caller, wanted: ComparisonRequest
) -> ComparisonView:
    """Compare two models of the caller on the same images.

    Raises NotFound (no such model or data set), Conflict (no suitable images, or a model that
    cannot be served here), ServiceUnavailable, WeightsUnavailable, and DatasetError if no image
    has a class that both models have.
    """
    models, photos = await run_in_threadpool(_found, context, caller, wanted)
    served = [await _ready(context, inference, model) for model in models]
    with ExitStack() as stack:
        opened = await run_in_threadpool(open_photos, stack, context, photos, wanted.all)
        truth, features = await encode(
            context, inference, served, opened.files, opened.wanted, caller.key_id
        )
    found = await run_in_threadpool(_compared, served, truth, features)
    names = zip(models, (wanted.a, wanted.b), strict=True)
    aliases = [None if name == model.id else name for model, name in names]
    return result_of(found, models, aliases, photos.dataset.id, opened, len(truth))


def _found(
    context: Context, caller: Caller, wanted: ComparisonRequest
) -> tuple[tuple[Model, Model], Photos]:
    with context.database.read() as session:
        models = find_by_name(session, caller, wanted.a), find_by_name(session, caller, wanted.b)
        chosen = datasets.find(session, caller, wanted.dataset_id) if wanted.dataset_id else None
        return models, photos_for(session, models, chosen)


async def _ready(context: Context, inference: Inference, model: Model) -> Served:
    read = partial(artifacts.read, context, model)
    try:
        return await inference.prepare(f"{model.id}/{model.sha256}", read)
    except (ArtifactError, UnknownBackbone) as error:
        raise Conflict(f"Model {model.id}: {error.message}", code=error.code) from error


def _compared(
    served: Sequence[Served], truth: Sequence[str], features: Mapping[str, Sequence[Features]]
) -> dict[str, Any]:
    from dspt.report.comparison import compare as compared

    a, b = (
        (each.matrix.classes, _predicted(each, features[each.backbone_digest])) for each in served
    )
    return compared(truth, a[1], b[1], a[0], b[0]).to_dict()


def _predicted(served: Served, features: Sequence[Features]) -> list[str]:
    """Return the most likely class of each image."""
    import numpy as np

    if not features:
        return []
    return [top[0][0] for top in served.matrix.top(np.stack(features), 1)]
