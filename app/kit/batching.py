"""Micro-batching: items that wait for a thread are processed together, owners in turn."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from app.kit.http.stopping import stopping_error

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")

#: Runs that may follow one another at once despite a pace, so that a single item does not wait.
_BURST = 4


@dataclass(eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    size: int
    future: Future[Result] = field(default_factory=Future)


class Batcher(Generic[Key, Item, Result]):
    """Micro-batching without added latency: a thread that starts takes a batch of what waits.

    On an idle thread an item runs at once, alone; while the threads are busy, items wait. A batch
    holds items of one key, of up to `max_size` in total (or one larger item). Owners take turns,
    item by item, so that a long queue of one delays another by a batch; each owner's items of one
    key run in order. Items whose callers were cancelled are not run.

    `run` returns a result for each item; an Exception is raised for this item only.

    `threads`: of the executor, if each runs a batch as fast beside the others. They share what
    there is: one that starts leaves the others their part, so that no item waits for a large batch
    while a thread is idle.

    `max_wait`: seconds that an idle thread waits for a batch to fill; useful if a large batch takes
    hardly longer than a single item. `pace`: minimum average seconds between batches under load;
    useful if a run costs far more than an item.
    """

    def __init__(
        self,
        executor: Executor,
        run: Callable[[Key, list[Item]], Sequence[Result | Exception]],
        max_size: int,
        *,
        threads: int = 1,
        max_wait: float = 0.0,
        pace: float = 0.0,
    ) -> None:
        self._executor = executor
        self._run_items = run
        self._max_size = max_size
        # What was waited for is not shared: each thread would wait anew for its part.
        self._threads = 1 if max_wait else threads
        self._running = 0
        """Size of the batches that run."""
        self._max_wait = max_wait
        self._pace = pace
        self._due = 0.0
        self._lock = threading.RLock()
        self._arrived = threading.Condition(self._lock)
        #: Owner -> key -> items. The owner whose turn it is comes first. No part is empty.
        self._queues: dict[Hashable, dict[Key, deque[_Waiting[Item, Result]]]] = {}
        self._scheduled = False

    async def submit(self, key: Key, item: Item, size: int, owner: Hashable = None) -> Result:
        """Return the result of `item`.

        Raises its own error, that of the run of its batch, and ServiceUnavailable if the executor
        is shut down first.
        """
        waiting: _Waiting[Item, Result] = _Waiting(item, size)
        with self._lock:
            self._queues.setdefault(owner, {}).setdefault(key, deque()).append(waiting)
            self._schedule()
            self._arrived.notify_all()
        try:
            return await asyncio.wrap_future(waiting.future)
        except asyncio.CancelledError:
            with self._lock:
                queue = self._queues.get(owner, {}).get(key, ())
                if waiting in queue:
                    self._remove(owner, key, waiting)
            raise

    # The methods below are called with the lock held.

    def _schedule(self) -> None:
        """Have a run follow if none is scheduled. A run that starts schedules the next one."""
        if not self._queues or self._scheduled:
            return
        self._scheduled = True
        try:
            self._executor.submit(self._run).add_done_callback(self._refuse_if_cancelled)
        except RuntimeError:  # the executor was shut down
            self._refuse_all()

    def _refuse_all(self) -> None:
        self._scheduled = False
        while self._queues:
            _, batch = self._take()
            for each in batch:
                if each.future.set_running_or_notify_cancel():
                    each.future.set_exception(stopping_error())

    def _take(self) -> tuple[Key, list[_Waiting[Item, Result]]]:
        """Remove and return a batch of the next owner's oldest key."""
        key = next(iter(next(iter(self._queues.values()))))
        batch: list[_Waiting[Item, Result]] = []
        size = 0
        most = self._max_size
        if self._threads > 1:
            share = math.ceil((self._waiting(key) + self._running) / self._threads)
            most = min(most, share)
        turns = deque(owner for owner, queues in self._queues.items() if key in queues)
        while turns and size < most:
            owner = turns.popleft()
            first = self._queues[owner][key][0]
            if batch and size + first.size > most:
                continue  # the others may have smaller ones
            batch.append(first)
            size += first.size
            self._remove(owner, key, first)
            if owner in self._queues:
                self._queues[owner] = self._queues.pop(owner)  # the others come first now
                if key in self._queues[owner]:
                    turns.append(owner)
        return key, batch

    def _remove(self, owner: Hashable, key: Key, waiting: _Waiting[Item, Result]) -> None:
        queues = self._queues[owner]
        queues[key].remove(waiting)
        if not queues[key]:
            del queues[key]
        if not queues:
            del self._queues[owner]

    def _waiting(self, key: Key) -> int:
        """Return the size of all that waits for this key."""
        return sum(each.size for queues in self._queues.values() for each in queues.get(key, ()))

    def _is_full(self) -> bool:
        """Return whether the next batch is full, or nothing waits."""
        if not self._queues:
            return True
        return self._waiting(next(iter(next(iter(self._queues.values()))))) >= self._max_size

    # The methods below run on the threads.

    def _run(self) -> None:
        self._keep_pace()
        with self._lock:
            if self._max_wait:
                self._arrived.wait_for(self._is_full, self._max_wait)
            self._scheduled = False
            if not self._queues:  # all were cancelled
                return
            key, batch = self._take()
            size = sum(each.size for each in batch)
            self._running += size
            self._schedule()
        try:
            self._run_batch(key, batch)
        finally:
            with self._lock:
                self._running -= size

    def _run_batch(self, key: Key, batch: list[_Waiting[Item, Result]]) -> None:
        batch = [each for each in batch if each.future.set_running_or_notify_cancel()]
        if not batch:
            return
        found: list[tuple[_Waiting[Item, Result], Result | Exception]]
        try:
            results = self._run_items(key, [each.item for each in batch])
            found = list(zip(batch, results, strict=True))
        except Exception as error:  # noqa: BLE001 - raised for the callers
            found = [(each, error) for each in batch]
        for each, result in found:
            if isinstance(result, Exception):
                each.future.set_exception(result)
            else:
                each.future.set_result(result)

    def _refuse_if_cancelled(self, run: Future[None]) -> None:
        """Refuse what waits if the executor was shut down before this run."""
        if run.cancelled():
            with self._lock:
                self._refuse_all()

    def _keep_pace(self) -> None:
        """Wait for the next slot, unless fewer than a burst of runs came recently."""
        now = time.monotonic()
        self._due = max(self._due, now - _BURST * self._pace) + self._pace
        if self._due > now:
            time.sleep(self._due - now)
