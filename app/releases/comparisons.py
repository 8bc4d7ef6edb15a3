"""Two models on the same photos."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Literal

from starlette.concurrency import run_in_threadpool

from app.access.caller import Caller
from app.datasets import service as datasets
from app.kit.context import Context
from app.kit.errors import Conflict
from app.models import artifacts
from app.models.tables import Model
from app.predictions.inference import Inference, Served
from app.releases.encoding import encode
from app.releases.evidence import Photos, named_model, photos_for
from app.releases.schemas import ComparisonRequest, ComparisonView
from dspt.errors import ArtifactError, UnknownBackbone

if TYPE_CHECKING:
    from torch import Tensor

    from dspt.data.labelled import LabelledFiles
    from dspt.data.layout import Candidate

Part = Literal["test", "val", "all"]


async def compare(
    context: Context, inference: Inference, caller: Caller, wanted: ComparisonRequest
) -> ComparisonView:
    """Hold two models of the caller against the same photos.

    Raises NotFound (no such model or data set), Conflict (no photos that tell, or a model that
    cannot be served here), ServiceUnavailable, WeightsUnavailable, and DatasetError where no image
    has a class that both know.
    """
    models, photos = await run_in_threadpool(_found, context, caller, wanted)
    served = [await _ready(context, inference, model) for model in models]
    classes = [each.matrix.classes for each in served]
    with ExitStack() as stack:
        files, part, wanted_files = await run_in_threadpool(
            _opened, stack, context, photos, wanted.all
        )
        truth, features = await encode(context, inference, served, files, wanted_files)
    said = [await run_in_threadpool(_said, each, features[each.backbone_digest]) for each in served]
    from dspt.comparison import compare as compared

    found = compared(truth, said[0], said[1], *classes).to_dict()
    for side, model, name in zip("ab", models, (wanted.a, wanted.b), strict=True):
        about = {"model": model.id, "name": model.name, "alias": name if name != model.id else None}
        found[side] |= about
    unreadable = len(wanted_files) - len(truth)
    return ComparisonView.model_validate(
        {**found, "dataset_id": photos.dataset.id, "part": part, "unreadable": unreadable}
    )


def _found(
    context: Context, caller: Caller, wanted: ComparisonRequest
) -> tuple[tuple[Model, Model], Photos]:
    with context.database.read() as session:
        models = named_model(session, caller, wanted.a), named_model(session, caller, wanted.b)
        return models, photos_for(session, caller, models, wanted.dataset_id)


async def _ready(context: Context, inference: Inference, model: Model) -> Served:
    read = partial(artifacts.read, context, model)
    try:
        return await inference.prepare(f"{model.id}/{model.sha256}", read)
    except (ArtifactError, UnknownBackbone) as error:
        raise Conflict(f"Model {model.id}: {error.message}", code=error.code) from error


def _opened(
    stack: ExitStack, context: Context, photos: Photos, everything: bool
) -> tuple[LabelledFiles, Part, list[Candidate]]:
    """The data set, open until `stack` ends, and those of its files that tell."""
    from dspt.data.labelled import labelled_files

    path = stack.enter_context(context.storage.local_copy(photos.storage_key))
    files = stack.enter_context(labelled_files(path))
    if not everything:
        held_out = files.held_out()
        if not held_out:
            raise Conflict(
                f"Data set {photos.dataset.id} has no test/ part. Name another as `dataset_id`, or "
                "say `all` if neither model was tuned on any of its photos.",
                code="no_test_part",
            )
        return files, "test" if held_out[0].split == "test" else "val", list(held_out)
    if photos.learned_from:
        raise Conflict(
            f"A model was tuned on data set {photos.dataset.id}: on those photos it would look "
            "better than it is. Leave out `all`, or name another data set.",
            code="learned_from",
        )
    corrections = datasets.corrections_of(context, photos.dataset)
    kept = (file for file in files.files if file.path not in corrections.drop)
    right = corrections.relabel
    return (
        files,
        "all",
        [dataclasses.replace(f, class_name=right.get(f.path, f.class_name)) for f in kept],
    )


def _said(served: Served, features: Sequence[Tensor]) -> list[str]:
    """The likeliest class of each image."""
    import torch

    if not features:
        return []
    rows = torch.stack([each.cpu() for each in features]).to(served.matrix.linear.matrix.device)
    return [top[0][0] for top in served.matrix.top(rows, 1)]
