"""Encode labelled files to features, reusing those cached on this machine.

Features computed here are cached apart from those of the workers: the engine may differ, and jobs
must be bit-identical when repeated.
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
    import numpy as np
    from numpy.typing import NDArray

    from dspt.data.labelled import LabelledFile, LabelledFiles
    from dspt.data.layout import Candidate
    from dspt.features.store import FeatureStore

    Feature = NDArray[np.float32]

_BATCH_FILES = 32
_SERVED_KEY = "{}/served"


async def encode(
    context: Context,
    inference: Inference,
    served: Sequence[Served],
    files: LabelledFiles,
    wanted: Sequence[Candidate],
    key_id: str | None,
) -> tuple[list[str], dict[str, list[Feature]]]:
    """Return the classes of the readable files, and their (F,) features by backbone digest.

    Raises ServiceUnavailable if too many images are waiting already, and TooManyRequests if too
    many are those of the API key.
    """
    backbones = {each.backbone_digest: each.backbone for each in served}
    store = await run_in_threadpool(feature_store, context)
    truth: list[str] = []
    features: dict[str, list[Feature]] = {digest: [] for digest in backbones}
    for start in range(0, len(wanted), _BATCH_FILES):
        batch = wanted[start : start + _BATCH_FILES]
        read = [file for file in await run_in_threadpool(_read, files, batch) if file is not None]
        by_backbone = [
            await _features(inference, name, digest, store, read, key_id)
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
    key_id: str | None,
) -> list[Feature | ImageError]:
    kept = await run_in_threadpool(kept_features, store, digest, files)
    missing = [file for file, feature in zip(files, kept, strict=True) if feature is None]
    if not missing:
        return [feature for feature in kept if feature is not None]
    try:
        with inference.room(len(missing), key_id):
            made = await inference.features(
                backbone, digest, [file.data for file in missing], key_id
            )
    except BackboneMismatch as error:
        raise Conflict(error.message, code=error.code) from error
    await run_in_threadpool(keep_features, store, digest, missing, made)
    new = iter(made)
    return [next(new) if feature is None else feature for feature in kept]


def feature_store(context: Context) -> FeatureStore:
    from dspt.features.store import FeatureStore

    return FeatureStore(context.settings.feature_dir)


def _read(files: LabelledFiles, wanted: Sequence[Candidate]) -> list[LabelledFile | None]:
    return [files.read(file) for file in wanted]


def kept_features(
    store: FeatureStore, digest: str, files: Sequence[LabelledFile]
) -> list[Feature | None]:
    """Return cached features of view 0, the centre crop that predictions use."""
    places = (digest, _SERVED_KEY.format(digest))
    return [
        next(
            (view for place in places for view in store.get(place, file.sha256, [0]).values()), None
        )
        for file in files
    ]


def keep_features(
    store: FeatureStore,
    digest: str,
    files: Sequence[LabelledFile],
    made: Sequence[Feature | ImageError],
) -> None:
    """Cache new features, so that a comparison that is interrupted resumes there."""
    found = [
        (file.sha256, 0, feature)
        for file, feature in zip(files, made, strict=True)
        if not isinstance(feature, ImageError)
    ]
    store.put(_SERVED_KEY.format(digest), found)
