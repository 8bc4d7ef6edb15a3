"""Features on disk, found by backbone digest, image digest and view; shared between jobs.

One SQLite file: several processes may read and write it at once, a crash leaves no torn entry, and
what was used least recently goes first when the file grows over its limit.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

DEFAULT_LIMIT = 2 << 30  # bytes; about a million features of 512 float32
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
    """Features below `directory`, at most `limit` bytes. Safe across threads and processes."""

    def __init__(self, directory: Path, *, limit: int = DEFAULT_LIMIT) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "features.sqlite"
        self._limit = limit
        self._local = threading.local()
        self._connection().executescript(_SCHEMA)

    def get(self, backbone: str, image: str, views: Iterable[int]) -> dict[int, Tensor]:
        """The features there are of one image, by view: (D,) float32 each."""
        wanted = set(views)
        connection = self._connection()
        rows = connection.execute(
            "SELECT view, data FROM features WHERE backbone = ? AND image = ?", (backbone, image)
        )
        # bytearray: torch wants memory that may be written to.
        found = {
            view: torch.frombuffer(bytearray(data), dtype=torch.float32)
            for view, data in rows
            if view in wanted
        }
        if found:
            connection.execute(
                "UPDATE features SET used_at = ? WHERE backbone = ? AND image = ?",
                (time.time(), backbone, image),
            )
        return found

    def put(self, backbone: str, features: Sequence[tuple[str, int, Tensor]]) -> None:
        """Keep (image digest, view, (D,)) entries as float32; evicts the least recently used."""
        now = time.time()
        connection = self._connection()
        with connection:
            connection.executemany(
                "INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)",
                [(backbone, i, v, f.float().numpy().tobytes(), now) for i, v, f in features],
            )
        self._evict(connection)

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


def _bytes_used(connection: sqlite3.Connection) -> int:
    """Pages in use; free ones are filled again before the file grows."""
    (size,) = connection.execute(
        "SELECT (page_count - freelist_count) * page_size "
        "FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
    ).fetchone()
    return int(size)
