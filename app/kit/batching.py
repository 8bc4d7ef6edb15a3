"""What waits for a thread at the same moment is done together."""

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

#: Runs that a pace lets follow one another: one who comes alone does not wait.
_AT_ONCE = 4
#: In the place of an item whose caller has gone away.
_LEFT: Any = object()


@dataclass
class _Batch(Generic[Item, Result]):
    items: list[Item] = field(default_factory=list)
    size: int = 0
    future: Future[list[Result]] | None = None


class Batcher(Generic[Key, Item, Result]):
    """Micro-batching without a waiting time: a batch is open until the thread takes it up.

    On an idle thread an item runs at once, alone; while the thread is busy, items of one key
    gather in one batch. A batch takes items up to `max_size` in all (or one larger item), then
    the next one opens. What nobody waits for any more when its turn comes is not run.

    With `max_wait` an idle thread waits for so many seconds for a batch to fill: where a run of
    many takes hardly longer than a run of one. With a `pace` the thread takes up one batch in so
    many seconds where more would come, so that more gathers in each: where a run costs far more
    than an item does.
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
        """The result of `item`; raises what the batch's run raises."""
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
        try:
            # Shielded: a client that goes away must not cancel the batch of all the others.
            return (await asyncio.shield(asyncio.wrap_future(batch.future)))[index]
        except asyncio.CancelledError:
            with self._lock:
                batch.items[index] = _LEFT
                batch.size -= size
            raise

    def _run(self, key: Key, batch: _Batch[Item, Result]) -> list[Result]:
        self._keep_pace()
        with self._lock:
            if self._max_wait:
                self._filled.wait_for(lambda: batch.size >= self._max_size, self._max_wait)
            if self._open.get(key) is batch:  # from here on nobody adds to it
                del self._open[key]
            places = [place for place, item in enumerate(batch.items) if item is not _LEFT]
            items = [batch.items[place] for place in places]
        results: list[Any] = [None] * len(batch.items)
        if items:
            for place, result in zip(places, self._run_items(key, items), strict=True):
                results[place] = result
        return results

    def _keep_pace(self) -> None:
        """A few runs may follow one another at once; beyond that, wait for the next one's turn."""
        now = time.monotonic()
        self._due = max(self._due, now - _AT_ONCE * self._pace) + self._pace
        if self._due > now:
            time.sleep(self._due - now)
