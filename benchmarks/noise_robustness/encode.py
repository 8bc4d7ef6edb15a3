"""Encodes a data set once, into a file for the processes that run the cells."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress as Bar
from safetensors.torch import save_file

from benchmarks.noise_robustness.classes import draw_classes
from benchmarks.noise_robustness.datasets import Listing, Progress, open_set
from benchmarks.noise_robustness.settings import Settings
from dspt.backbones import Backbone
from dspt.data import dataset_digest, few_shot
from dspt.features.encode import encode_images
from dspt.features.store import FeatureStore


@dataclass(frozen=True)
class EncodedSet:
    """One data set; its features are in `file`."""

    listing: Listing
    """Its source is closed."""
    sha256: str
    """Of the list of files and classes, and the content of the test images."""
    test_sha256: str
    n_test: int
    files: tuple[str, ...]
    """Training images that at least one cell draws, or all."""
    hashes: tuple[str, ...]
    """SHA-256 of each of `files`."""
    labels: NDArray[np.int64]
    """True class of each of `files`."""
    samples: dict[tuple[int, int], NDArray[np.int64]]
    """(shots, seed) -> positions in `files`."""
    file: Path


def encode_all(
    paths: Mapping[str, Path],
    class_counts: Sequence[int],
    settings: Settings,
    backbone: Backbone,
    folder: Path,
    store: FeatureStore,
    bar: Bar,
) -> dict[str, EncodedSet]:
    """Return the data sets by name, their features in `folder`. Raises DatasetError.

    class_counts: instead of the data sets, so many classes of all of them (see `classes`).
    """
    task = bar.add_task("", total=None)

    def advance(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)

    found: dict[str, EncodedSet] = {}
    with ExitStack() as cleanup:
        listings = []
        for name, path in paths.items():
            bar.update(task, description=f"{name}: reading", completed=0, total=None)
            listings.append(open_set(path, advance))
            cleanup.callback(listings[-1].source.close)
        for listing in [draw_classes(listings, count) for count in class_counts] or listings:
            bar.update(task, description=f"{listing.name}: encoding", completed=0)
            file = folder / f"{listing.name}.safetensors"
            found[listing.name] = encode_set(listing, settings, backbone, file, store, advance)
    bar.remove_task(task)
    return found


def encode_set(
    listing: Listing,
    settings: Settings,
    backbone: Backbone,
    file: Path,
    store: FeatureStore | None = None,
    progress: Progress = lambda done, total: None,
) -> EncodedSet:
    """Encode the test images and the training images that any cell needs, into `file`.

    `file` has train: (N, V, D); test: (T, D), unit length, float32; test_labels: (T,) int64. Raises
    DatasetError for unreadable images.
    """
    train, test = listing.rows("train"), listing.rows("test")
    labels = listing.labels(train)
    keys = product(settings.shots, settings.seeds)
    drawn = {(n, seed): train[few_shot(labels, n, seed)] for n, seed in keys}
    wanted = train if settings.unlabelled else np.unique(np.concatenate(list(drawn.values())))
    total = len(wanted) + len(test)
    train_part, test_part = listing.read(wanted), listing.read(test)
    train_features = encode_images(
        backbone,
        train_part,
        augment_views=settings.train_views,
        store=store,
        progress=lambda done, _: progress(done, total),
    )
    test_features = encode_images(
        backbone,
        test_part,
        store=store,
        progress=lambda done, _: progress(len(wanted) + done, total),
    )
    test_labels = torch.from_numpy(listing.labels(test))
    save_file(
        {
            "train": train_features.contiguous(),
            "test": test_features[:, 0].contiguous(),
            "test_labels": test_labels,
        },
        file,
    )
    return EncodedSet(
        listing=listing,
        sha256=_digest(listing, test_part.sha256),
        test_sha256=test_part.sha256,
        n_test=len(test),
        files=tuple(item.path for item in train_part.items),
        hashes=train_part.hashes,
        labels=listing.labels(wanted),
        samples={key: np.searchsorted(wanted, rows) for key, rows in drawn.items()},
        file=file,
    )


def _digest(listing: Listing, test_sha256: str) -> str:
    # Only training images that the grid draws are read; their content is in the key of each cell.
    names = dataset_digest((i.path, listing.classes[i.label], i.split, "") for i in listing.items)
    whole = json.dumps([names, test_sha256, listing.class_words])
    return hashlib.sha256(whole.encode()).hexdigest()
