"""Encode images to features; images are decoded in threads, features cached by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dspt.backbones.base import Backbone
from dspt.data import Dataset, read_image
from dspt.data.copies import THUMBNAIL, empty_thumbnails, thumbnail_of
from dspt.errors import Cancelled
from dspt.features.store import FeatureStore

BATCH = 32  # views per batch; at least one image
DECODERS = 4  # threads; decoding releases the GIL


@dataclass(frozen=True)
class _Prepared:
    """One image: features of the views in the store, and pixels of the other views."""

    row: int
    features: dict[int, Tensor]
    pixels: dict[int, Tensor]
    new_thumbnail: bool = False


def encode_images(
    backbone: Backbone,
    dataset: Dataset,
    *,
    augment_views: int = 0,
    store: FeatureStore | None = None,
    thumbnails: NDArray[np.uint8] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    encoded: Callable[[int, int], None] = lambda new, known: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Return the features of all items in order: (N, 1 + augment_views, F), float32, on the CPU.

    Features are those of `Backbone.encode_image`. View 0 is the centre crop. The others are random
    resized crops and flips of training items; for other items they repeat view 0. The views are
    seeded with the digest of the image, so an image has the same views in every job and is found in
    `store`.

    thumbnails: an array from `dspt.data.copies.empty_thumbnails` to fill, or None.

    encoded(new, known): called for each batch with the number of views that were encoded and that
    were found in `store`.

    Raises Cancelled if should_stop() returns True.
    """
    views = 1 + augment_views
    features = torch.empty(len(dataset.items), views, backbone.feature_dim)

    def prepare(row: int) -> _Prepared:
        item, sha256 = dataset.items[row], dataset.hashes[row]
        wanted = range(views if item.split == "train" else 1)
        kept = store.get(backbone.digest, sha256, wanted) if store else {}
        known = {view: torch.from_numpy(feature) for view, feature in kept.items()}
        missing = [view for view in wanted if view not in known]
        small = store.get(THUMBNAIL, sha256, (0,)) if store and thumbnails is not None else {}
        if thumbnails is not None and small:
            thumbnails[row] = small[0].reshape(thumbnails.shape[1:])
        if not missing and (thumbnails is None or small):
            return _Prepared(row, known, {})
        image = read_image(dataset, item)
        if thumbnails is not None and not small:
            thumbnails[row] = thumbnail_of(image)
        pixels = {
            view: backbone.augment(image, _generator(sha256, view))
            if view
            else backbone.preprocess(image)
            for view in missing
        }
        return _Prepared(row, known, pixels, new_thumbnail=thumbnails is not None and not small)

    done = 0
    for batch in _prefetched(prepare, range(len(dataset.items)), max(1, BATCH // views)):
        if should_stop():
            raise Cancelled("cancelled while encoding images")
        known = sum(len(image.features) for image in batch)
        _encode(backbone, dataset, batch, store)
        if store is not None and thumbnails is not None:
            new = [(image.row, dataset.hashes[image.row]) for image in batch if image.new_thumbnail]
            store.put(
                THUMBNAIL,
                [(sha, 0, thumbnails[row].reshape(-1)) for row, sha in new],
            )
        encoded(sum(len(image.pixels) for image in batch), known)
        for image in batch:
            for view in range(views):
                # Test images have no augmented views; use their centre crop.
                features[image.row, view] = image.features.get(view, image.features[0])
        done += len(batch)
        progress(done, len(dataset.items))
    return features


def read_thumbnails(
    dataset: Dataset, progress: Callable[[int, int], None] = lambda done, total: None
) -> NDArray[np.uint8]:
    """Return the thumbnails of all items, in order: (N, 32, 32)."""
    thumbnails = empty_thumbnails(len(dataset.items))

    def shrink(row: int) -> None:
        thumbnails[row] = thumbnail_of(read_image(dataset, dataset.items[row]))

    with ThreadPoolExecutor(DECODERS, thread_name_prefix="decode") as pool:
        for done, _ in enumerate(pool.map(shrink, range(len(thumbnails))), 1):
            progress(done, len(thumbnails))
    return thumbnails


def _encode(
    backbone: Backbone, dataset: Dataset, batch: list[_Prepared], store: FeatureStore | None
) -> None:
    """Encode the pixels in `batch`; add the features to each image and to `store`."""
    todo = [(image, view, pixels) for image in batch for view, pixels in image.pixels.items()]
    if not todo:
        return
    pixels = torch.stack([pixels for _, _, pixels in todo]).to(backbone.device)
    new = []
    for (image, view, _), feature in zip(todo, backbone.encode_image(pixels).cpu(), strict=True):
        image.features[view] = feature
        new.append((dataset.hashes[image.row], view, feature.numpy()))
    if store is not None:
        store.put(backbone.digest, new)


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
