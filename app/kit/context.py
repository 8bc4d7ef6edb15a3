"""Settings, database and storage of a process."""

from __future__ import annotations

from dataclasses import dataclass

from app.kit.db import Database
from app.kit.settings import Settings
from app.kit.storage import Storage, open_storage


@dataclass(frozen=True)
class Context:
    """One per process; opened at start, closed at the end."""

    settings: Settings
    database: Database
    storage: Storage

    @classmethod
    def open(cls, settings: Settings, *, most_connections: int | None = None) -> Context:
        """Open database and storage; `most_connections`: at most as many to PostgreSQL."""
        size = settings.database_pool_size
        database = Database(
            settings.database_url,
            pool_size=size if most_connections is None else min(size, most_connections),
            seconds=settings.database_timeout_seconds,
        )
        return cls(settings, database, open_storage(settings))

    def close(self) -> None:
        self.database.close()
