"""Cache of features on disk, by backbone digest, image digest and view; shared between jobs.

One SQLite file: several processes may use it at once, a crash leaves no incomplete entry, and the
least recently used entries are deleted when the file exceeds its limit. If it fails (disk full,
file damaged, folder not writable), the job continues without it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Feature = NDArray[np.float32]
"""(F,)."""
DEFAULT_LIMIT = 2 << 30  # bytes; about 300,000 features of 1,792 float32
FORMAT = "3"
"""Version of the features. Entries of other versions have other keys: they are not found, and
evicted in time. Version 1: embeddings alone; version 2: of JPEGs decoded at their full size."""
_BUSY_SECONDS = 30

_SCHEMA = """
CREATE TABLE IF NOT EXISTS features (
    backbone TEXT NOT NULL, image TEXT NOT NULL, view INTEGER NOT NULL,
    data BLOB NOT NULL, used_at REAL NOT NULL,
    PRIMARY KEY (backbone, image, view)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS features_used_at ON features (used_at);
"""


class FeatureStore:
    """Cache of features in `directory`, at most `limit` bytes. Safe across threads and processes.

    on_failure: called once with the reason if the store cannot be used. It is then always empty.
    """

    def __init__(
        self,
        directory: Path,
        *,
        limit: int = DEFAULT_LIMIT,
        on_failure: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._path = directory / "features.sqlite"
        self._limit = limit
        self._on_failure = on_failure
        self._failed = threading.Event()
        self._lock = threading.Lock()
        self._local = threading.local()
        with self._disable_on_failure():
            directory.mkdir(parents=True, exist_ok=True)
            self._connection().executescript(_SCHEMA)

    def get(self, backbone: str, image: str, views: Iterable[int]) -> dict[int, Feature]:
        """Return the cached features of one image by view."""
        backbone, wanted = _key(backbone), set(views)
        found: dict[int, Feature] = {}
        if self._failed.is_set():
            return found
        with self._disable_on_failure():
            connection = self._connection()
            rows = connection.execute(
                "SELECT view, data FROM features WHERE backbone = ? AND image = ?",
                (backbone, image),
            )
            for view, data in rows:
                if view in wanted:
                    found[view] = np.frombuffer(bytearray(data), np.float32)  # writable
            if found:
                connection.execute(
                    "UPDATE features SET used_at = ? WHERE backbone = ? AND image = ?",
                    (time.time(), backbone, image),
                )
        return found

    def put(self, backbone: str, features: Sequence[tuple[str, int, NDArray[Any]]]) -> None:
        """Add (image digest, view, (F,)) entries as float32; evict the least recently used."""
        if self._failed.is_set():
            return
        backbone, now = _key(backbone), time.time()
        rows = [
            (backbone, image, view, np.asarray(feature, np.float32).tobytes(), now)
            for image, view, feature in features
        ]
        with self._disable_on_failure():
            connection = self._connection()
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(
                    "INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)", rows
                )
            self._evict(connection)

    def expire(self, seconds: float, *, dry_run: bool = False) -> int:
        """Delete features not used for `seconds`; return their number. dry_run: only count them."""
        count = 0
        with self._disable_on_failure():
            connection, before = self._connection(), time.time() - seconds
            if dry_run:
                query = "SELECT count(*) FROM features WHERE used_at < ?"
                (count,) = connection.execute(query, (before,)).fetchone()
            else:
                with connection:
                    query = "DELETE FROM features WHERE used_at < ?"
                    count = connection.execute(query, (before,)).rowcount
        return count

    @contextmanager
    def _disable_on_failure(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            with self._lock:
                first = not self._failed.is_set()
                self._failed.set()
            if first:
                self._on_failure(
                    f"image features are not cached: {self._path}: {error}. Check that the folder "
                    "is writable and has space, or delete the file if it is damaged"
                )

    def _evict(self, connection: sqlite3.Connection) -> None:
        if _bytes_used(connection) <= self._limit:
            return
        with connection:
            connection.execute(
                "DELETE FROM features WHERE used_at <= (SELECT used_at FROM features "
                "ORDER BY used_at LIMIT 1 OFFSET (SELECT count(*) / 4 FROM features))"
            )

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            self._local.connection = connection
        return connection


def _key(backbone: str) -> str:
    return f"{FORMAT}/{backbone}"


def _bytes_used(connection: sqlite3.Connection) -> int:
    """Return the size of the used pages; free pages are reused before the file grows."""
    (size,) = connection.execute(
        "SELECT (page_count - freelist_count) * page_size "
        "FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
    ).fetchone()
    return int(size)
