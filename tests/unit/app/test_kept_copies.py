"""Copies of data sets in a bucket on a worker's disk."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any, cast

import pytest
from obstore.store import MemoryStore

from app.datasets.copies import kept_copies
from app.kit.context import Context
from app.kit.settings import Settings
from app.kit.storage.objects import ObjectStorage
from app.tables.datasets import Dataset


def context(folder: Path, limit: int) -> Context:
    settings = Settings(data_dir=folder, worker_photo_cache_bytes=limit)
    return Context(settings, cast("Any", None), ObjectStorage(MemoryStore(), "memory://"))


def stored(context: Context, content: bytes) -> Dataset:
    digest = hashlib.sha256(content).hexdigest()
    dataset = Dataset(id=f"ds_{digest[:26]}", sha256=digest)
    context.storage.put_bytes(dataset.storage_key, content)
    return dataset


def read(context: Context, *datasets: Dataset) -> list[bytes]:
    with kept_copies(context, datasets) as paths:
        return [path.read_bytes() for path in paths]


def test_a_zip_is_fetched_once_and_the_least_recently_used_goes(tmp_path: Path) -> None:
    opened = context(tmp_path, 10)
    one, two, three = (stored(opened, letter * 4) for letter in (b"a", b"b", b"c"))
    assert read(opened, one, two) == [b"aaaa", b"bbbb"]
    for each, age in ((one, 60), (two, 120)):
        used = time.time() - age
        os.utime(opened.settings.photo_dir / f"{each.sha256}.zip", (used, used))
    assert read(opened, three) == [b"cccc"]
    for each in (one, two, three):
        opened.storage.delete(each.storage_key)
    assert read(opened, one, three) == [b"aaaa", b"cccc"]
    with pytest.raises(FileNotFoundError):
        read(opened, two)


def test_unused_copies_go_and_large_ones_never_stay(tmp_path: Path) -> None:
    opened = context(tmp_path, 10)
    old, large = stored(opened, b"old"), stored(opened, b"large" * 10)
    assert read(opened, old) == [b"old"]
    [kept] = opened.settings.photo_dir.iterdir()
    os.utime(kept, (0, 0))
    with kept_copies(opened, [large]) as [path]:
        assert path.name == Path(large.storage_key).name
        assert path.read_bytes() == b"large" * 10
    assert not path.exists()
    assert list(opened.settings.photo_dir.iterdir()) == []


def test_without_a_limit_nothing_is_kept(tmp_path: Path) -> None:
    opened = context(tmp_path, 0)
    assert read(opened, stored(opened, b"one")) == [b"one"]
    assert not opened.settings.photo_dir.exists()
