"""What goes wrong over HTTP, as RFC 9457 problem documents.

ApiError (an HTTPException, so that middleware and body parsing let it through)
├── BadRequest            400
├── Unauthorized          401  no key, or none that is valid
├── Forbidden             403  the key's scopes do not reach that far
├── NotFound              404
├── Conflict              409  the state forbids it
├── PayloadTooLarge       413
├── Unprocessable         422  understood, but a value is wrong
├── TooManyRequests       429  more than the caller's share
└── ServiceUnavailable    503  something behind the API does not answer, or too much is waiting

`code` is stable and for programs; `detail` is for people and says how to mend it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from dspt.errors import DatasetError, DsptError, WeightsUnavailable

MEDIA_TYPE = "application/problem+json"

#: For every answer: it is data, never a page that runs or shows something, and stays with whoever
#: asked for it.
SECURE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_log = structlog.get_logger(__name__)


class ProblemItem(BaseModel):
    """One of several things that are wrong."""

    param: str | None = Field(default=None, description="The field, setting or file at fault.")
    code: str
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details, with a stable `code` beside them."""

    type: str = Field(default="about:blank", description="`code` tells problems apart.")
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemItem] = Field(default_factory=list)


class ApiError(HTTPException):
    """Base of the tree. Subclasses fix the status; the code may be more precise."""

    status: ClassVar[HTTPStatus]
    default_code: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[ProblemItem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(int(self.status), detail, headers)
        self.code = code or self.default_code
        self.errors = list(errors)


class BadRequest(ApiError):
    status = HTTPStatus.BAD_REQUEST
    default_code = "bad_request"


class Unauthorized(ApiError):
    status = HTTPStatus.UNAUTHORIZED
    default_code = "key_missing"


class Forbidden(ApiError):
    status = HTTPStatus.FORBIDDEN
    default_code = "forbidden"


class NotFound(ApiError):
    status = HTTPStatus.NOT_FOUND
    default_code = "not_found"


class Conflict(ApiError):
    status = HTTPStatus.CONFLICT
    default_code = "conflict"


class PayloadTooLarge(ApiError):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_code = "payload_too_large"


class Unprocessable(ApiError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    default_code = "invalid_request"


class TooManyRequests(ApiError):
    status = HTTPStatus.TOO_MANY_REQUESTS
    default_code = "rate_limited"


class ServiceUnavailable(ApiError):
    status = HTTPStatus.SERVICE_UNAVAILABLE
    default_code = "service_unavailable"


def problems(*errors: type[ApiError]) -> dict[int | str, dict[str, Any]]:
    """`responses=` of an endpoint that may answer with these errors."""
    return {int(error.status): _declared(error.status) for error in errors}


def _declared(status: HTTPStatus) -> dict[str, Any]:
    declared: dict[str, Any] = {
        "description": status.phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in _HEADERS:
        name, schema, description = _HEADERS[status]
        declared["headers"] = {name: {"schema": {"type": schema}, "description": description}}
    return declared


_RETRY_AFTER = ("Retry-After", "integer", "Seconds to wait before the next try.")
_HEADERS = {
    HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate", "string", "How to send a key."),
    HTTPStatus.TOO_MANY_REQUESTS: _RETRY_AFTER,
    HTTPStatus.SERVICE_UNAVAILABLE: _RETRY_AFTER,
}


#: Declared for every endpoint.
COMMON_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status.value: _declared(status)
    for status in (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
}


def problem_response(
    status: int,
    detail: str,
    code: str,
    errors: Sequence[ProblemItem] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem document as a response."""
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        errors=list(errors),
    )
    return JSONResponse(
        problem.model_dump(), status_code=status, headers=headers, media_type=MEDIA_TYPE
    )


def error_response(error: ApiError) -> JSONResponse:
    """The answer to an error that is found before a request reaches its endpoint."""
    return problem_response(
        error.status_code, str(error.detail), error.code, error.errors, error.headers
    )


def database_problem(error: OperationalError) -> JSONResponse:
    """The answer where the database does not give one."""
    _log.error("the database does not answer", error=str(error))
    return problem_response(
        503,
        "The database does not answer. Nothing was changed; try again in a moment.",
        "database_unavailable",
        headers={"Retry-After": "5"},
    )


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of `app`, foreseen or not, a problem document, also in its OpenAPI."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(DsptError, _on_dspt)
    app.add_exception_handler(OperationalError, _on_database)
    app.add_exception_handler(Exception, _on_unforeseen)
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        template = "#/components/schemas/{model}"
        for model in (Problem, ProblemItem):
            schema = model.model_json_schema(ref_template=template)
            schema.pop("$defs", None)
            schemas[model.__name__] = schema
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error, ApiError):
        return error_response(error)
    detail = _STANDARD_DETAILS.get(error.status_code, str(error.detail)).format(
        method=request.method, path=request.url.path
    )
    code = HTTPStatus(error.status_code).name.lower()
    return problem_response(error.status_code, detail, code, headers=error.headers)


_STANDARD_DETAILS = {
    404: "There is nothing at {path}; /docs lists what there is.",
    405: "{path} does not take {method}; /docs lists what it takes.",
}


def _on_validation(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    items = [
        ProblemItem(param=_place(item["loc"]), code=item["type"], message=item["msg"])
        for item in error.errors()
    ]
    detail = "; ".join(f"{item.param}: {item.message}" for item in items)
    return problem_response(422, detail, "invalid_request", items)


def _place(loc: Sequence[int | str]) -> str | None:
    """`("body", "config", 0)` -> `config.0`: where in the request it was is plain from the name."""
    return ".".join(str(part) for part in loc[1:]) or (str(loc[0]) if loc else None)


def _on_dspt(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DsptError)
    status = 503 if isinstance(error, WeightsUnavailable) else 422
    if isinstance(error, DatasetError):
        items = [
            ProblemItem(param=p.where or None, code=p.code, message=p.message)
            for p in error.problems
        ]
    else:
        items = [ProblemItem(param=error.param, code=error.code, message=error.message)]
    return problem_response(status, error.message, error.code, items)


def _on_database(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OperationalError)
    return database_problem(error)


def _on_unforeseen(request: Request, error: Exception) -> JSONResponse:
    _log.error("unforeseen error", exc_info=error)
    request_id = request.scope.get("request_id", "")
    return problem_response(
        500,
        "Something went wrong here that was not foreseen. The log has it under this request id: "
        f"{request_id}.",
        "internal_error",
        # It is sent from outside of our middleware.
        headers={**SECURE_HEADERS, "X-Request-ID": request_id},
    )
