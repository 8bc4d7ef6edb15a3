"""A least-recently-used cache bounded by count and by bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class SizedCache(Generic[Value]):
    """Safe to use from several threads."""

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> Value | None:
        """The value, now the most recently used; None if it is not there."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: str, value: Value, size: int) -> None:
        """Keep `value` of `size` bytes and drop what is too much, the least recently used first.

        The newest value stays even when it alone is over the limit: it is in use anyway.
        """
        with self._lock:
            self._forget(key)
            self._entries[key] = (value, size)
            self._bytes += size
            while len(self._entries) > 1 and (
                len(self._entries) > self._max_count or self._bytes > self._max_bytes
            ):
                self._forget(next(iter(self._entries)))

    def values(self) -> dict[str, Value]:
        """All that is kept, the least recently used first."""
        with self._lock:
            return {key: value for key, (value, _) in self._entries.items()}

    @property
    def bytes(self) -> int:
        """What all of it takes."""
        with self._lock:
            return self._bytes

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def _forget(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry[1]
