"""Reads data sets: class folders with a test part, or the layout of CoOp's authors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.noise_robustness.coop import is_coop_set, read_coop_set
from benchmarks.skeleton.data_sets import is_class_folders, no_test_part, set_name
from dspt.data import Dataset, Item, Limits, load_dataset
from dspt.data.folder import FolderSource
from dspt.data.reading import read_all
from dspt.data.source import Source
from dspt.data.split_names import Split
from dspt.errors import DatasetError, Problem

LIMITS = Limits(max_files=2_000_000, max_total_bytes=1 << 40)
"""Large enough for research data sets; they are on the user's own disk."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Listing:
    """The files of a data set and their true classes; images are read when needed."""

    name: str
    classes: tuple[str, ...]
    class_words: tuple[str, ...]
    items: tuple[Item, ...]
    """Of the splits `train` and `test` only."""
    source: Source[Any]
    hashes: Mapping[str, str]
    """Path -> SHA-256 (hex) of the files that have been read."""

    def rows(self, split: str) -> NDArray[np.int64]:
        """(N,) positions in `items`."""
        found = [row for row, item in enumerate(self.items) if item.split == split]
        return np.array(found, dtype=np.int64)

    def labels(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,) true classes."""
        return np.array([self.items[row].label for row in rows], dtype=np.int64)

    def read(self, rows: NDArray[np.int64], progress: Progress | None = None) -> Dataset:
        """Return the items at `rows` as a data set; reads files that have not been read.

        Raises DatasetError naming each unusable image.
        """
        items = tuple(self.items[row] for row in rows)
        new = [item.path for item in items if item.path not in self.hashes]
        seen = dict(zip(new, read_all(self.source, new, progress, None), strict=True))
        problems = [
            Problem(f"{self.name}: {path}", "unreadable", f"{found.reason}; repair or remove it")
            for path, found in seen.items()
            if found.reason is not None
        ]
        if problems:
            raise DatasetError(problems)
        known = {**self.hashes, **{path: found.sha256 for path, found in seen.items()}}
        hashes = tuple(known[item.path] for item in items)
        data = Dataset(self.classes, self.class_words, items, hashes, (), (), "", self.source)
        return replace(data, sha256=data.digest())


def is_set(path: Path) -> bool:
    """Return whether `path` is a data set in one of the two layouts."""
    return is_coop_set(path) or is_class_folders(path)


def open_set(path: Path, progress: Progress | None = None) -> Listing:
    """List the data set at `path`; the caller closes its `source`.

    path: a folder or zip for dspt.data.load_dataset with `train/` and `test/` (or `val/`), or a
    folder prepared as CoOp's authors say (see `coop`). `progress(done, total)` is called for each
    file read. Raises DatasetError.
    """
    if is_coop_set(path):
        words, items, files = read_coop_set(path)
        return Listing(set_name(path), words, words, items, FolderSource(files, (), LIMITS), {})
    data = load_dataset(path, limits=LIMITS, progress=progress)
    held_out: Split = "test" if data.of_split("test") else "val"
    if not data.of_split(held_out):
        data.close()
        raise no_test_part(path)
    test = (replace(item, split="test") for item in data.of_split(held_out))
    items = (*data.of_split("train"), *test)
    hashes = {item.path: sha for item, sha in zip(data.items, data.hashes, strict=True)}
    return Listing(set_name(path), data.classes, data.class_words, items, data.source, hashes)
