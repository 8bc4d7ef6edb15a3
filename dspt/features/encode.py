"""Encode images to features; images are decoded in threads, features cached by content."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dspt.backbones.base import Backbone
from dspt.data import Dataset, Item, read_image
from dspt.data.copies import THUMBNAIL, empty_thumbnails, thumbnail_of
from dspt.errors import Cancelled
from dspt.features.shared import SharedFeatures
from dspt.features.store import FORMAT, Feature, FeatureStore
from dspt.kit.cpus import available_cpus

BATCH = 32
"""Views that are read, encoded and stored together on a CPU; at least one image."""
GPU_BATCH = 256
"""The same on a GPU. On an H200, ViT-B-16 encodes 8 % more images a second than with 64."""
DECODERS = max(4, available_cpus())  # threads; decoding releases the GIL
CHECKED_SIDE = 448
"""Pixels of the shorter side for thumbnails without features: as a tower of 224 x 224 pixels."""


@dataclass(frozen=True)
class _Prepared:
    """One image: features that are known, and crops (H, W, 3) of the other views."""

    row: int
    features: dict[int, Tensor]
    shared: dict[int, Feature]
    """Those of `features` that were not in the store of this machine."""
    crops: dict[int, Tensor]
    new_thumbnail: bool = False


def encode_images(
    backbone: Backbone,
    dataset: Dataset,
    *,
    augment_views: int = 0,
    store: FeatureStore | None = None,
    shared: SharedFeatures | None = None,
    thumbnails: NDArray[np.uint8] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    encoded: Callable[[int, int, int], None] = lambda new, known, shared: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Return the features of all items in order: (N, 1 + augment_views, F), float32, on the CPU.

    Features are those of `Backbone.encode_image`. View 0 is the centre crop. The others are random
    resized crops and flips of labelled training items; for others they repeat view 0. The views are
    seeded with the digest of the image, so an image has the same views in every job and is found in
    `store`.

    thumbnails: an array from `dspt.data.copies.empty_thumbnails` to fill, or None.

    shared: searched for what is not in `store`, and completed at the end if there are `thumbnails`.

    encoded(new, known, shared): called for each batch with the number of views that were encoded,
    that were found in `store`, and that were found in `shared`.

    Raises Cancelled if should_stop() returns True.
    """
    views, side = 1 + augment_views, backbone.read_side
    features_key, thumbnail_key = _keys(backbone)
    features = torch.empty(len(dataset.items), views, backbone.feature_dim)

    def prepare(row: int) -> _Prepared:
        item, sha256 = dataset.items[row], dataset.hashes[row]
        wanted = _wanted(item, views)
        here = store.get(features_key, sha256, wanted) if store else {}
        missing = [view for view in wanted if view not in here]
        others = shared.get(sha256, missing) if shared and missing else {}
        known = {view: torch.from_numpy(each) for view, each in (here | others).items()}
        missing = [view for view in missing if view not in others]
        small: NDArray[Any] | None = None
        new_thumbnail = False
        if thumbnails is not None:
            small = store.get(thumbnail_key, sha256, (0,)).get(0) if store else None
            new_thumbnail = small is None
            if small is None and shared:
                small = shared.thumbnail(sha256)
            if small is not None:
                thumbnails[row] = small.reshape(thumbnails.shape[1:])
        if not missing and (thumbnails is None or small is not None):
            return _Prepared(row, known, others, {}, new_thumbnail)
        image = read_image(dataset, item, side)
        if thumbnails is not None and small is None:
            thumbnails[row] = thumbnail_of(image)
        crops = {0: backbone.preprocess.crop(image)} if 0 in missing else {}
        if any(missing):  # a random crop may be small, so it needs the full size
            image = read_image(dataset, item)
            for view in filter(None, missing):
                crops[view] = backbone.augment(image, _generator(sha256, view))
        return _Prepared(row, known, others, crops, new_thumbnail)

    done = 0
    size = max(1, (BATCH if backbone.on_cpu else GPU_BATCH) // views)
    rows = range(len(dataset.items))
    for batch, new_features in _encoded(backbone, prepare, rows, size, should_stop):
        others = [
            (dataset.hashes[image.row], view, feature)
            for image in batch
            for view, feature in image.shared.items()
        ]
        known = sum(len(image.features) for image in batch) - len(others)
        encoded_now = _keep(dataset, batch, new_features)
        if store is not None:
            store.put(features_key, encoded_now + others)
        if store is not None and thumbnails is not None:
            new = [(image.row, dataset.hashes[image.row]) for image in batch if image.new_thumbnail]
            store.put(
                thumbnail_key,
                [(sha, 0, thumbnails[row].reshape(-1)) for row, sha in new],
            )
        encoded(len(encoded_now), known, len(others))
        for image in batch:
            for view in range(views):
                # Test images have no augmented views; use their centre crop.
                features[image.row, view] = image.features.get(view, image.features[0])
        done += len(batch)
        progress(done, len(dataset.items))
    if shared is not None and thumbnails is not None:
        wanted = [_wanted(item, views) for item in dataset.items]
        shared.add(dataset.hashes, wanted, features.numpy(), thumbnails)
    return features


def pack_name(backbone: Backbone, augment_views: int) -> str:
    """Return the name under which machines share the features of `encode_images`: 64 hex digits."""
    parts = [FORMAT, *_keys(backbone), str(augment_views)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def read_thumbnails(
    dataset: Dataset, progress: Callable[[int, int], None] = lambda done, total: None
) -> NDArray[np.uint8]:
    """Return the thumbnails of all items, in order: (N, 32, 32)."""
    thumbnails = empty_thumbnails(len(dataset.items))

    def shrink(row: int) -> None:
        thumbnails[row] = thumbnail_of(read_image(dataset, dataset.items[row], CHECKED_SIDE))

    with ThreadPoolExecutor(DECODERS, thread_name_prefix="decode") as pool:
        for done, _ in enumerate(pool.map(shrink, range(len(thumbnails))), 1):
            progress(done, len(thumbnails))
    return thumbnails


def _encoded(
    backbone: Backbone,
    prepare: Callable[[int], _Prepared],
    rows: Iterable[int],
    size: int,
    should_stop: Callable[[], bool],
) -> Iterator[tuple[list[_Prepared], Tensor]]:
    """Yield batches of prepared rows with the features of their crops, (B, F) on the CPU.

    A GPU computes the next batch while the caller uses this one. Raises Cancelled.
    """
    running: deque[tuple[list[_Prepared], Tensor]] = deque()
    for batch in _prefetched(prepare, rows, size):
        if should_stop():
            raise Cancelled("cancelled while encoding images")
        crops = [crop for image in batch for crop in image.crops.values()]
        found = backbone.encode_crops(torch.stack(crops)) if crops else torch.empty(0)
        running.append((batch, found))
        if backbone.on_cpu or len(running) > 1:
            batch, found = running.popleft()
            yield batch, found.cpu()
    for batch, found in running:
        yield batch, found.cpu()


def _keep(
    dataset: Dataset, batch: list[_Prepared], features: Tensor
) -> list[tuple[str, int, NDArray[np.float32]]]:
    """Add the features of the crops, (B, F), to each image; return them for the store."""
    todo = [(image, view) for image in batch for view in image.crops]
    new = []
    for (image, view), feature in zip(todo, features, strict=True):
        image.features[view] = feature
        new.append((dataset.hashes[image.row], view, feature.numpy()))
    return new


def _wanted(item: Item, views: int) -> range:
    """Return the views of an item: labelled training items have all."""
    return range(views if item.split == "train" and item.label >= 0 else 1)


def _keys(backbone: Backbone) -> tuple[str, str]:
    """Return the keys of features and of thumbnails in the store."""
    features = backbone.digest
    if backbone.precision != "float32":
        features += f"/{backbone.precision}"
    # The size at which a JPEG is decoded changes its thumbnail a little.
    return features, f"{backbone.read_side}/{THUMBNAIL}"


def _generator(sha256: str, view: int) -> torch.Generator:
    seed = int(hashlib.sha256(f"{sha256}/{view}".encode()).hexdigest()[:15], 16)
    return torch.Generator().manual_seed(seed)


def _prefetched(
    prepare: Callable[[int], _Prepared], rows: Iterable[int], size: int
) -> Iterator[list[_Prepared]]:
    """Yield batches of `size` prepared images; the next batch is decoded meanwhile."""
    waiting = iter(rows)
    with ThreadPoolExecutor(DECODERS, thread_name_prefix="decode") as pool:

        def submit() -> list[Future[_Prepared]]:
            return [pool.submit(prepare, row) for row in islice(waiting, size)]

        following = submit()
        try:
            while following:
                current, following = following, submit()
                yield [future.result() for future in current]
        finally:
            pool.shutdown(cancel_futures=True)
