"""HTTP errors as RFC 9457 problem documents.

ApiError (an HTTPException, so that middleware and body parsing let it through)
├── BadRequest            400
├── Unauthorized          401  no key, or an invalid one
├── Forbidden             403  the key lacks the scope
├── NotFound              404
├── RequestTimeout        408  the body came too slowly
├── Conflict              409  the current state forbids it
├── PreconditionFailed    412  If-Match is not the current version
├── PayloadTooLarge       413
├── Unprocessable         422  well-formed, but a value is wrong
├── TooManyRequests       429  over the caller's rate limit or quota
├── ServiceUnavailable    503  a dependency does not answer, or too many requests wait
└── StorageFull           507  the disk is full

`code` is stable and for programs; `detail` is for people and says how to fix the problem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from app.kit.http.error_types import type_of
from dspt.kit.text import without_prefix

MEDIA_TYPE = "application/problem+json"

#: For every response: it is data, not a page that runs or shows something, and must not be cached.
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
    """One of several problems."""

    param: str | None = Field(default=None, description="Field, setting or file at fault.")
    code: str
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details with a stable `code`."""

    type: str = Field(description="Address of a page about this kind of problem: `/errors/CODE`.")
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
        param: str | None = None,
        errors: Sequence[ProblemItem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """param: the field at fault, if it is only one; `errors` then has one item."""
        super().__init__(int(self.status), detail, headers)
        self.code = code or self.default_code
        self.errors = list(errors)
        if param is not None:
            self.errors.append(ProblemItem(param=param, code=self.code, message=detail))


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


class RequestTimeout(ApiError):
    status = HTTPStatus.REQUEST_TIMEOUT
    default_code = "body_too_slow"


class Conflict(ApiError):
    status = HTTPStatus.CONFLICT
    default_code = "conflict"


class PreconditionFailed(ApiError):
    status = HTTPStatus.PRECONDITION_FAILED
    default_code = "precondition_failed"


class PayloadTooLarge(ApiError):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_code = "payload_too_large"


class Unprocessable(ApiError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    default_code = "invalid_request"


def missing(param: str, message: str) -> Unprocessable:
    """Return the error for a field that is not there, or for one too many."""
    return Unprocessable(
        message, errors=[ProblemItem(param=param, code="missing", message=message)]
    )


def invalid_field(param: str, code: str, message: str) -> Unprocessable:
    """Return the error for a field whose value is at fault; `message` goes on after its name."""
    item = ProblemItem(param=param, code=code, message=message)
    return Unprocessable(f"{param}: {message}", code=code, errors=[item])


class TooManyRequests(ApiError):
    status = HTTPStatus.TOO_MANY_REQUESTS
    default_code = "rate_limited"


class ServiceUnavailable(ApiError):
    status = HTTPStatus.SERVICE_UNAVAILABLE
    default_code = "service_unavailable"


class GatewayTimeout(ApiError):
    status = HTTPStatus.GATEWAY_TIMEOUT
    default_code = "outcome_unknown"


class StorageFull(ApiError):
    status = HTTPStatus.INSUFFICIENT_STORAGE
    default_code = "storage_full"


#: Of calls whose body may be large or malformed, and of those that store it.
BODY_ERRORS = (BadRequest, PayloadTooLarge, RequestTimeout, Unprocessable)
UPLOAD_ERRORS = (*BODY_ERRORS, StorageFull)


def problems(*errors: type[ApiError]) -> dict[int | str, dict[str, Any]]:
    """Return `responses=` of an endpoint that may answer with these errors."""
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


_RETRY_AFTER = ("Retry-After", "integer", "Seconds to wait before a retry.")
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
    kind: str | None = None,
) -> JSONResponse:
    """Return a problem document as a response.

    kind: the error type if several codes belong to it. Default: the code.
    """
    problem = Problem(
        type=type_of(kind or code),
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
    """Return the response for an error that middleware found."""
    return problem_response(
        error.status_code, str(error.detail), error.code, error.errors, error.headers
    )


def database_problem(error: Exception) -> JSONResponse:
    """Return the response for a database that does not answer."""
    return _no_answer("database", error)


def storage_problem(error: Exception) -> JSONResponse:
    """Return the response for a bucket that does not answer."""
    return _no_answer("storage", error)


def _no_answer(part: str, error: Exception) -> JSONResponse:
    _log.error(f"the {part} does not answer", error=str(error))
    return problem_response(
        503,
        f"The {part} does not answer. Retry after 5 s.",
        f"{part}_unavailable",
        headers={"Retry-After": "5"},
    )


def message_of(item: Mapping[str, Any]) -> str:
    """Return the message of one of pydantic's errors, without its prefix."""
    return without_prefix(str(item["msg"]))
