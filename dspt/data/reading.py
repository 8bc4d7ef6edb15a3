"""Read every file of a data set once, in several threads: hash it and check that it decodes."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from dspt.data.hostile.limits import Limits
from dspt.data.images import check_image
from dspt.data.source import Source
from dspt.errors import Cancelled, DatasetError, ImageError, Problem

MAX_THREADS = 8
_PIXELS_MATTER = 1_000_000_000


@dataclass(frozen=True)
class Seen:
    """SHA-256 and size of a file, and why it is not a usable image (None if it is)."""

    sha256: str
    size: int
    reason: str | None
    remarks: tuple[str, ...] = ()
    """What `check_image` remarks about the photo."""


class _PixelBudget:
    """Limits the total number of decoded pixels. Thread-safe."""

    def __init__(self, stored_bytes: int, limits: Limits) -> None:
        self._left = max(_PIXELS_MATTER, limits.max_pixels_per_byte * stored_bytes)
        self._lock = threading.Lock()

    def spend(self, pixels: int) -> None:
        """Count pixels. Raises DatasetError if there are too many."""
        with self._lock:
            self._left -= pixels
            if self._left >= 0:
                return
        message = (
            "the images have far more pixels than their size on disk suggests, like a zip bomb; "
            "remove images of a single colour"
        )
        raise DatasetError([Problem("", "suspicious_ratio", message)])


def read_all(
    source: Source[Any],
    paths: Sequence[str],
    progress: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool] | None,
) -> list[Seen]:
    """Return one `Seen` per path, in the same order.

    `progress(done, total)` and `should_stop()` are called in this thread after every file.
    Raises Cancelled if should_stop() returns True, and DatasetError if the files exceed
    `limits.max_total_bytes` or their pixels `limits.max_pixels_per_byte`.
    """
    budget = _PixelBudget(source.stored_bytes, source.limits)

    def inspect(path: str) -> Seen:
        try:
            data = source.read(path)
        except ImageError as error:
            return Seen("", 0, error.message)
        digest = hashlib.sha256(data).hexdigest()
        try:
            remarks = check_image(data, max_pixels=source.limits.max_pixels, spend=budget.spend)
        except ImageError as error:
            return Seen(digest, len(data), error.message)
        return Seen(digest, len(data), None, remarks)

    seen: list[Seen] = []
    total_bytes = 0
    # No `with`: on cancellation the remaining files must not be read first.
    pool = ThreadPoolExecutor(_threads(), thread_name_prefix="dspt-read")
    try:
        for result in pool.map(inspect, paths):
            seen.append(result)
            total_bytes += result.size
            if total_bytes > source.limits.max_total_bytes:
                allowed = source.limits.max_total_bytes
                message = f"the files have more than {allowed:,} bytes in total"
                raise DatasetError([Problem("", "too_large", message)])
            if progress is not None:
                progress(len(seen), len(paths))
            if should_stop is not None and should_stop():
                raise Cancelled("cancelled while reading the data set")
    finally:
        pool.shutdown(cancel_futures=True)
    return seen


def _threads() -> int:
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    return min(MAX_THREADS, max(2, cores))
