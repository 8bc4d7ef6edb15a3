"""What an endpoint needs of the outside: settings, database, storage. FastAPI dependencies."""

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
        return cls(settings, Database(settings.database_url), Storage(settings.storage_url))

    def close(self) -> None:
        self.database.close()


# Not `def`: then it would run on a thread, and to get there costs more than it does.
async def get_context(request: Request) -> Context:
    """The application's context (`app.state.context`)."""
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


ContextDep = Annotated[Context, Depends(get_context)]
