"""Routers whose calls are complete, so that `app.routes` joins them without building them again.

FastAPI builds a call at its decorator, and once more where its router is included.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute

from app.kit.http.errors import COMMON_PROBLEMS


def public_router(
    prefix: str = "", *, responses: dict[int | str, dict[str, Any]] | None = None, **options: Any
) -> APIRouter:
    """Return a router for calls that need no caller. options: those of APIRouter."""
    return APIRouter(
        prefix=prefix,
        responses=COMMON_PROBLEMS | (responses or {}),
        generate_unique_id_function=_name,
        **options,
    )


def _name(route: APIRoute) -> str:
    """The name of a client's method: `create_job`."""
    return route.name
