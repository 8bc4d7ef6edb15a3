"""Batch concurrent small database reads into one query.

Clients that wait for a job poll it. A thread and a query for each request would cost many times as
much as the value itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from sqlalchemy import exc
from sqlalchemy.orm import Session

from app.kit.batching import Batcher
from app.kit.db import Database

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
Query = Callable[[Session, Sequence[Key]], Sequence[Value]]
"""Returns the values in the order of the keys; keys may repeat."""
_Request = tuple[Query[Any, Any], Any]

#: Most keys per batch; far below the maximum number of query parameters.
_MAX_KEYS = 256
#: Seconds between batches under load. A query takes about a third of it.
_PACE = 0.01


class BatchedReader:
    """Batches reads of concurrent requests. One per process; close it at the end.

    seconds: longest wait of a query, whatever the queries of others do.
    """

    def __init__(self, database: Database, seconds: float = 5.0) -> None:
        self._database = database
        self._seconds = seconds
        # One thread: while it queries, the next batch fills.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batched reader")
        self._batcher: Batcher[None, _Request, Any] = Batcher(
            self._thread, self._read, _MAX_KEYS, pace=_PACE
        )
        #: Number of waiting requests.
        self.waiting = 0

    async def query(self, query: Query[Key, Value], key: Key) -> Value:
        """Return the value of a key, read after this call.

        Raises what `query` raises, and sqlalchemy.exc.TimeoutError.
        """
        self.waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                return cast(Value, await self._batcher.submit(None, (query, key), 1))
        except TimeoutError as error:
            raise exc.TimeoutError(f"no answer within {self._seconds:g} s") from error
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Wait for all running queries."""
        self._thread.shutdown()

    def _read(self, _batch: None, requests: list[_Request]) -> list[Any]:
        """Use one session for all, and call each query once."""
        places: dict[Query[Any, Any], list[int]] = {}
        for place, (query, _) in enumerate(requests):
            places.setdefault(query, []).append(place)
        values: list[Any] = [None] * len(requests)
        with self._database.read() as session:
            for query, mine in places.items():
                found = query(session, [requests[place][1] for place in mine])
                for place, value in zip(mine, found, strict=True):
                    values[place] = value
        return values
