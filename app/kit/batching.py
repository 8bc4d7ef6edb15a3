"""Micro-batching: items that wait for a thread are processed together."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")

#: Runs that may follow one another at once despite a pace, so that a single item does not wait.
_BURST = 4
#: Replaces an item whose caller was cancelled.
_CANCELLED: Any = object()


@dataclass
class _Batch(Generic[Item, Result]):
    items: list[Item] = field(default_factory=list)
    size: int = 0
    future: Future[list[Result]] | None = None


class Batcher(Generic[Key, Item, Result]):
    """Micro-batching without added latency: a batch accepts items until a thread starts it.

    On an idle thread an item runs at once, alone; while the thread is busy, items of one key fill a
    batch. A batch holds items of up to `max_size` in total (or one larger item). Items whose
    callers were cancelled are not run.

    `max_wait`: seconds that an idle thread waits for a batch to fill; useful if a large batch takes
    hardly longer than a single item. `pace`: minimum average seconds between batches under load;
    useful if a run costs far more than an item.
    """

    def __init__(
        self,
        executor: Executor,
        run: Callable[[Key, list[Item]], list[Result]],
        max_size: int,
        *,
        max_wait: float = 0.0,
        pace: float = 0.0,
    ) -> None:
        self._executor = executor
        self._run_items = run
        self._max_size = max_size
        self._max_wait = max_wait
        self._pace = pace
        self._due = 0.0
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._open: dict[Key, _Batch[Item, Result]] = {}

    async def submit(self, key: Key, item: Item, size: int) -> Result:
        """Return the result of `item`. Raises what the run of its batch raises."""
        with self._lock:
            batch = self._open.get(key)
            if batch is None or batch.size + size > self._max_size:
                batch = self._open[key] = _Batch()
                batch.future = self._executor.submit(self._run, key, batch)
            index = len(batch.items)
            batch.items.append(item)
            batch.size += size
            if batch.size >= self._max_size:
                self._filled.notify_all()
        assert batch.future is not None
        results = asyncio.wrap_future(batch.future)
        # The error of a batch whose caller was cancelled is not awaited; asyncio would log it.
        results.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            # Shielded: a cancelled caller must not cancel the batch of the others.
            return (await asyncio.shield(results))[index]
        except asyncio.CancelledError:
            with self._lock:
                batch.items[index] = _CANCELLED
                batch.size -= size
            raise

    def _run(self, key: Key, batch: _Batch[Item, Result]) -> list[Result]:
        self._keep_pace()
        with self._lock:
            if self._max_wait:
                self._filled.wait_for(lambda: batch.size >= self._max_size, self._max_wait)
            if self._open.get(key) is batch:  # closed to new items from here on
                del self._open[key]
            places = [place for place, item in enumerate(batch.items) if item is not _CANCELLED]
            items = [batch.items[place] for place in places]
        results: list[Any] = [None] * len(batch.items)
        if items:
            for place, result in zip(places, self._run_items(key, items), strict=True):
                results[place] = result
        return results

    def _keep_pace(self) -> None:
        """Wait for the next slot, unless fewer than a burst of runs came recently."""
        now = time.monotonic()
        self._due = max(self._due, now - _BURST * self._pace) + self._pace
        if self._due > now:
            time.sleep(self._due - now)
