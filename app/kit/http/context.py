"""The FastAPI dependency for settings, database and storage."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from app.kit.context import Context


# `async`, because a thread switch would cost more than the function.
async def get_context(request: Request) -> Context:
    """Return the application's context (`app.state.context`)."""
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


ContextDep = Annotated[Context, Depends(get_context)]


async def _body(request: Request) -> bytes:
    return await request.body()


BodyDep = Annotated[bytes, Depends(_body)]
