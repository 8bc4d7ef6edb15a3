"""Turn every error of the application into a problem document."""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match

from app.kit.db import UNAVAILABLE
from app.kit.http.errors import (
    SECURE_HEADERS,
    ApiError,
    Problem,
    ProblemItem,
    StorageFull,
    database_problem,
    error_response,
    message_of,
    problem_response,
    storage_problem,
)
from app.kit.http.openapi import amend_openapi
from app.kit.storage import StorageUnavailable
from dspt.errors import DatasetError, DsptError, WeightsUnavailable

_log = structlog.get_logger(__name__)
#: The API searches for missing weights again after this time.
_WEIGHTS_SECONDS = 30


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of `app` a problem document, and describe it in the OpenAPI document."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(DsptError, _on_dspt)
    for unavailable in UNAVAILABLE:
        app.add_exception_handler(unavailable, _on_database)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(OSError, _on_os_error)
    app.add_exception_handler(Exception, _on_unexpected)
    amend_openapi(app, _describe_problems)


def _describe_problems(document: dict[str, Any]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    template = "#/components/schemas/{model}"
    for model in (Problem, ProblemItem):
        schema = model.model_json_schema(ref_template=template)
        schema.pop("$defs", None)
        schemas[model.__name__] = schema


def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error, ApiError):
        return error_response(error)
    if _is_full(error.__cause__):  # FastAPI wraps errors that occur while the body is read
        return error_response(_storage_full())
    detail = str(error.detail)
    if error.status_code in _STANDARD_DETAILS:
        detail = _STANDARD_DETAILS[error.status_code].format(
            method=request.method, path=request.url.path
        )
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods_at(request))
    code = HTTPStatus(error.status_code).name.lower()
    return problem_response(error.status_code, detail, code, headers=headers)


def _methods_at(request: Request) -> list[str]:
    """Return all methods of this path; Starlette lists those of the first matching route only."""
    path = request.url.path
    # `/models/{model_id}` would match `/models/compare` too.
    named = [r for r in iter_route_contexts(request.app.routes) if r.path == path]
    if named:
        taken = {method for route in named for method in route.methods or ()}
        return [method for method in _METHODS if method in taken]
    return [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.router.routes
        )
    ]


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_STANDARD_DETAILS = {
    404: "Not found: {path}. See /docs.",
    405: "Method not allowed: {method} {path}. See /docs.",
}


def _on_validation(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    # A value that may be left out is of a type or None: pydantic reports both alternatives, each
    # with its name in the place.
    omittable = {tuple(item["loc"][:-1]) for item in found if item["type"] == "none_required"}
    items = [
        ProblemItem(param=_place(item["loc"], omittable), code=item["type"], message=_message(item))
        for item in found
        if item["type"] != "none_required"
    ]
    detail = "; ".join(f"{item.param}: {item.message}" for item in items)
    return problem_response(422, detail, "invalid_request", items)


def _place(loc: Sequence[int | str], omittable: Collection[Sequence[int | str]]) -> str | None:
    """Return `config.0` for `("body", "config", 0)`."""
    parts = [part for i, part in enumerate(loc) if tuple(loc[:i]) not in omittable]
    return ".".join(map(str, parts[1:])) or (str(parts[0]) if parts else None)


def _message(item: Mapping[str, Any]) -> str:
    message = message_of(item)
    if message.startswith("Expected UploadFile"):
        return "must be a file; with curl, write @ before its path"
    return message


def _on_dspt(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DsptError)
    status = 503 if isinstance(error, WeightsUnavailable) else 422
    kind = None
    if isinstance(error, DatasetError):
        kind = "invalid_corrections"  # uploaded photos are validated by the worker
        items = [
            ProblemItem(param=p.where or None, code=p.code, message=p.message)
            for p in error.problems
        ]
    else:
        items = [ProblemItem(param=error.param, code=error.code, message=error.message)]
    headers = {"Retry-After": str(_WEIGHTS_SECONDS)} if status == 503 else {}
    return problem_response(status, error.message, error.code, items, headers, kind)


def _on_disconnect(_request: Request, _error: Exception) -> Response:
    """Return a status for the log only: the client has disconnected."""
    return Response(status_code=499)


def _on_database(_request: Request, error: Exception) -> JSONResponse:
    return database_problem(error)


def _on_os_error(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, StorageUnavailable):
        return storage_problem(error)
    if _is_full(error):
        _log.error("the disk is full", exc_info=error)
        return error_response(_storage_full())
    return _on_unexpected(request, error)


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _storage_full() -> StorageFull:
    return StorageFull("The server's disk is full. Nothing was stored.")


def _on_unexpected(request: Request, error: Exception) -> JSONResponse:
    _log.error("unexpected error", exc_info=error)
    request_id = request.scope.get("request_id", "")
    return problem_response(
        500,
        f"Internal server error. Request ID: {request_id}.",
        "internal_error",
        # Starlette sends this response outside of our middleware.
        headers={**SECURE_HEADERS, "X-Request-ID": request_id},
    )
