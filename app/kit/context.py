"""What an endpoint needs of the outside: settings, database, storage. FastAPI dependencies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

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


def get_context(request: Request) -> Context:
    """The application's context (`app.state.context`)."""
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


def _reading(context: Annotated[Context, Depends(get_context)]) -> Iterator[Session]:
    with context.database.read() as session:
        yield session


ContextDep = Annotated[Context, Depends(get_context)]
#: A session for reading, closed before the answer is sent: a stream of events lasts for hours.
ReadSession = Annotated[Session, Depends(_reading, scope="function")]
