"""Compare two models on the same images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dspt_client.schemas.comparisons import ComparisonView
from starlette.concurrency import run_in_threadpool

from app.access.caller import Caller
from app.datasets import service as datasets
from app.jobs.review import audit
from app.kit.context import Context
from app.kit.http.errors import Conflict, NotFound
from app.models import artifacts
from app.models.service import find_by_name
from app.predictions.inference import Inference, Served
from app.releases.comparison_photos import Photos, photos_for
from app.releases.encoding import encode
from app.releases.schemas import ComparisonRequest
from app.tables.models import Model
from dspt.errors import ArtifactError, UnknownBackbone

if TYPE_CHECKING:
    from app.predictions.tower import Features
    from dspt.data.labelled import LabelledFiles
    from dspt.data.layout import Candidate


@dataclass(frozen=True)
class _Opened:
    """An open data set, and those of its files to compare on."""

    files: LabelledFiles
    part: str
    wanted: Sequence[Candidate]


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
        opened = await run_in_threadpool(_opened, stack, context, photos, wanted.all)
        truth, features = await encode(
            context, inference, served, opened.files, opened.wanted, caller.key_id
        )
    found = await run_in_threadpool(_compared, served, truth, features)
    for side, model, name in zip("ab", models, (wanted.a, wanted.b), strict=True):
        alias = None if name == model.id else name
        found[side] |= {"model": model.id, "name": model.name, "alias": alias}
    unreadable = len(opened.wanted) - len(truth)
    about = {"dataset_id": photos.dataset.id, "part": opened.part, "unreadable": unreadable}
    return ComparisonView.model_validate({**found, **about})


def _found(
    context: Context, caller: Caller, wanted: ComparisonRequest
) -> tuple[tuple[Model, Model], Photos]:
    with context.database.read() as session:
        models = find_by_name(session, caller, wanted.a), find_by_name(session, caller, wanted.b)
        return models, photos_for(session, caller, models, wanted.dataset_id)


async def _ready(context: Context, inference: Inference, model: Model) -> Served:
    read = partial(artifacts.read, context, model)
    try:
        return await inference.prepare(f"{model.id}/{model.sha256}", read)
    except (ArtifactError, UnknownBackbone) as error:
        raise Conflict(f"Model {model.id}: {error.message}", code=error.code) from error


def _opened(stack: ExitStack, context: Context, photos: Photos, everything: bool) -> _Opened:
    """Open the data set until `stack` ends."""
    from dspt.data.labelled import labelled_files

    try:
        first, *added = stack.enter_context(datasets.local_copies(context, photos.zips))
        corrections = datasets.corrections_of(context, photos.dataset)
    except FileNotFoundError as error:  # deleted in the meantime, or lost
        raise NotFound("The data set was deleted.", code="dataset_not_found") from error
    files = stack.enter_context(labelled_files(first, added=added))
    test = files.held_out()
    if everything:
        if photos.used_for_tuning:
            raise Conflict(
                f"A model was tuned on data set {photos.dataset.id}, so its accuracy on those "
                "photos would be too high. Omit `all`, or set `dataset_id` to another data set.",
                code="learned_from",
            )
        part, wanted = "all", files.files
    elif test:
        part, wanted = test[0].split, test
    else:
        part, wanted = "held_out", _held_out_by_both(context, photos, files)
    right = corrections.relabel
    kept = [file for file in wanted if file.path not in corrections.drop]
    labelled = [dataclasses.replace(f, class_name=right.get(f.path, f.class_name)) for f in kept]
    return _Opened(files, part, labelled)


def _held_out_by_both(
    context: Context, photos: Photos, files: LabelledFiles
) -> tuple[Candidate, ...]:
    """Return the files that the jobs of both models held out. Raises Conflict if there are none."""
    held_out = [audit.held_out(context, key) for key in photos.audit_keys]
    shared = frozenset.intersection(*held_out) if held_out else frozenset()
    if not shared and photos.used_for_tuning:
        raise Conflict(
            f"Data set {photos.dataset.id} has no test/ part, and no photo is known to have been "
            "held out by the jobs of both models: their settings differ (`seed`, `shots`, "
            "`validation_fraction`), or an earlier version ran them. Set `dataset_id` to a data "
            "set with test photos for both.",
            code="no_test_part",
        )
    if not shared:
        raise Conflict(
            f"Data set {photos.dataset.id} has no test/ part. Set `dataset_id` to another one, "
            "or set `all` if neither model was tuned on any of its photos.",
            code="no_test_part",
        )
    return tuple(file for file in files.files if file.path in shared)


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
