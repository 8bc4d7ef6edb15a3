"""A least-recently-used cache bounded by count and by bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class SizedCache(Generic[Value]):
    """A thread-safe LRU cache limited by count and bytes."""

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> Value | None:
        """Return the value and mark it as most recently used; None if missing."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: str, value: Value, size: int) -> None:
        """Store `value` of `size` bytes; evict the least recently used beyond the limits.

        The newest value stays even if it alone exceeds the limit, because it is in use.
        """
        with self._lock:
            self._remove(key)
            self._entries[key] = (value, size)
            self._bytes += size
            while len(self._entries) > 1 and (
                len(self._entries) > self._max_count or self._bytes > self._max_bytes
            ):
                self._remove(next(iter(self._entries)))

    def values(self) -> dict[str, Value]:
        """Return a copy of the cache, the least recently used first."""
        with self._lock:
            return {key: value for key, (value, _) in self._entries.items()}

    @property
    def bytes(self) -> int:
        """Total size of the values."""
        with self._lock:
            return self._bytes

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry[1]
