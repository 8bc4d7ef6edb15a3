"""Copies of data sets in a bucket, kept on a worker's disk for the next job on the same photos."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.datasets.service import local_copies
from app.kit.context import Context
from app.kit.disk_cache import drop, kept_in
from app.tables.datasets import Dataset

#: Deleted data sets must not stay on workers.
_UNUSED_SECONDS = 24 * 3600.0


@contextmanager
def kept_copies(context: Context, zips: Iterable[Dataset]) -> Iterator[list[Path]]:
    """Yield local paths of the zips of a data set, in order. Raises FileNotFoundError.

    A zip in a bucket is fetched once: the most recently used ones stay, up to
    DSPT_WORKER_PHOTO_CACHE_BYTES.
    """
    if context.storage.is_local or not context.settings.worker_photo_cache_bytes:
        with local_copies(context, zips) as paths:
            yield paths
        return
    with tempfile.TemporaryDirectory(prefix="dspt-") as own:
        yield [_copy(context, each, Path(own)) for each in zips]


def _copy(context: Context, zip_file: Dataset, own: Path) -> Path:
    """Return a path in `own`, which stays valid when another worker deletes the kept copy."""
    folder, limit = context.settings.photo_dir, context.settings.worker_photo_cache_bytes
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{zip_file.sha256}.zip"
    path = own / Path(zip_file.storage_key).name
    _drop(folder, limit)
    try:
        os.utime(kept)
        path.hardlink_to(kept)
    except FileNotFoundError:
        with context.storage.local_copy(zip_file.storage_key) as fetched:
            shutil.move(fetched, path)
        _drop(folder, limit - path.stat().st_size)
        if path.stat().st_size <= limit:
            with suppress(FileExistsError):  # another worker fetched it, too
                kept.hardlink_to(path)
    return path


def _drop(folder: Path, limit: int) -> None:
    """Delete unused copies, and the least recently used ones until `limit` bytes are left."""
    zips = (each for each in kept_in(folder) if each.path.suffix == ".zip")
    drop(zips, limit, unused_since=time.time() - _UNUSED_SECONDS)
