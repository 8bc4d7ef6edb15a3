"""Labelled files to features: those that are kept on this machine, the others made anew.

What is made here is kept apart from the workers' features. It may come from another engine than
theirs, whose jobs are the same to the bit when they are run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from app.kit.context import Context
from app.kit.http.errors import Conflict
from app.predictions.inference import Inference, Served
from dspt.errors import BackboneMismatch, ImageError

if TYPE_CHECKING:
    from torch import Tensor

    from dspt.data.labelled import LabelledFile, LabelledFiles
    from dspt.data.layout import Candidate
    from dspt.features.store import FeatureStore

_AT_ONCE = 32
_APART = "{}/served"


async def encode(
    context: Context,
    inference: Inference,
    served: Sequence[Served],
    files: LabelledFiles,
    wanted: Sequence[Candidate],
) -> tuple[list[str], dict[str, list[Tensor]]]:
    """Classes of those files that are images, and by backbone digest their features (D,).

    Raises ServiceUnavailable when too many images are waiting already.
    """
    backbones = {each.backbone_digest: each.backbone for each in served}
    store = await run_in_threadpool(_store, context)
    truth: list[str] = []
    features: dict[str, list[Tensor]] = {digest: [] for digest in backbones}
    for start in range(0, len(wanted), _AT_ONCE):
        batch = wanted[start : start + _AT_ONCE]
        read = [file for file in await run_in_threadpool(_read, files, batch) if file is not None]
        by_backbone = [
            await _features(inference, name, digest, store, read)
            for digest, name in backbones.items()
        ]
        for file, *found in zip(read, *by_backbone, strict=True):
            images = [each for each in found if not isinstance(each, ImageError)]
            if len(images) < len(found):
                continue
            truth.append(file.class_name)
            for digest, image in zip(backbones, images, strict=True):
                features[digest].append(image)
    return truth, features


async def _features(
    inference: Inference,
    backbone: str,
    digest: str,
    store: FeatureStore,
    files: Sequence[LabelledFile],
) -> list[Tensor | ImageError]:
    kept = await run_in_threadpool(_kept, store, digest, files)
    missing = [file for file, feature in zip(files, kept, strict=True) if feature is None]
    if not missing:
        return [feature for feature in kept if feature is not None]
    try:
        with inference.room(len(missing)):
            made = await inference.features(backbone, digest, [file.data for file in missing])
    except BackboneMismatch as error:
        raise Conflict(error.message, code=error.code) from error
    await run_in_threadpool(_keep, store, digest, missing, made)
    new = iter(made)
    return [next(new) if feature is None else feature for feature in kept]


def _store(context: Context) -> FeatureStore:
    from dspt.features.store import FeatureStore

    return FeatureStore(context.settings.feature_dir)


def _read(files: LabelledFiles, wanted: Sequence[Candidate]) -> list[LabelledFile | None]:
    return [files.read(file) for file in wanted]


def _kept(store: FeatureStore, digest: str, files: Sequence[LabelledFile]) -> list[Tensor | None]:
    """View 0 is the centre crop, as it is when somebody asks what an image shows."""
    places = (digest, _APART.format(digest))
    return [
        next(
            (view for place in places for view in store.get(place, file.sha256, [0]).values()), None
        )
        for file in files
    ]


def _keep(
    store: FeatureStore,
    digest: str,
    files: Sequence[LabelledFile],
    made: Sequence[Tensor | ImageError],
) -> None:
    """So that a comparison that is cut off by its deadline goes on where it was."""
    found = [
        (file.sha256, 0, feature.cpu())
        for file, feature in zip(files, made, strict=True)
        if not isinstance(feature, ImageError)
    ]
    store.put(_APART.format(digest), found)
