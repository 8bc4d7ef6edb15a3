"""Changes to the OpenAPI document that FastAPI makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI


def amend_openapi(app: FastAPI, amend: Callable[[dict[str, Any]], None]) -> None:
    """Let `amend` change the OpenAPI document of `app`, in place."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        amend(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
