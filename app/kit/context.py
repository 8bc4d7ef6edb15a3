"""Settings, database and storage of a process, and the FastAPI dependency for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.kit.db import Database
from app.kit.settings import Settings
from app.kit.storage import Storage


@dataclass(frozen=True)
class Context:
    """One per process; opened at start, closed at the end."""

    settings: Settings
    database: Database
    storage: Storage

    @classmethod
    def open(cls, settings: Settings) -> Context:
        database = Database(
            settings.database_url,
            pool_size=settings.database_pool_size,
            seconds=settings.database_timeout_seconds,
        )
        storage = Storage(settings.storage_url, settings.storage_timeout_seconds)
        return cls(settings, database, storage)

    def close(self) -> None:
        self.database.close()


# `async`, because a thread switch would cost more than the function.
async def get_context(request: Request) -> Context:
    """Return the application's context (`app.state.context`)."""
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


ContextDep = Annotated[Context, Depends(get_context)]
