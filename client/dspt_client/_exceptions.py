"""What goes wrong between a program and the service.

ClientError
├── Unreachable              no answer: nothing listens there, or the connection broke
├── NotSent                  nothing was sent: the photos cannot be those of two classes
├── UnexpectedAnswer         an answer, but not one of this service
├── Refused                  the service said no: `status`, `code`, `detail`, `errors`
│   ├── BadRequest           400
│   ├── Unauthorized         401  no key, or none that is valid
│   ├── Forbidden            403  the key's scopes do not reach that far
│   ├── NotFound             404
│   ├── Conflict             409  the state forbids it
│   ├── PayloadTooLarge      413
│   ├── Unprocessable        422  understood, but a value is wrong
│   ├── TooManyRequests      429  more than the caller's share
│   └── ServerError          5xx
├── JobFailed                a job that was waited for: `code`, `message`, `problems`
├── JobCancelled             a job that was waited for
└── WaitTimeout              it has not ended in the time given; it goes on

`code` is stable and for programs; `detail` is for people and says how to fix it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dspt_client.schemas.jobs import JobError, JobView


class ClientError(Exception):
    """Base of the tree."""


class Unreachable(ClientError):
    pass


class NotSent(ClientError, ValueError):
    pass


class UnexpectedAnswer(ClientError):
    pass


@dataclass(frozen=True)
class Item:
    """One of several things that are wrong: the field, setting or file at fault, if it is one."""

    param: str | None
    code: str
    message: str


class Refused(ClientError):
    """The service's problem document (RFC 9457)."""

    def __init__(self, status: int, code: str, detail: str, errors: Sequence[Item] = ()) -> None:
        super().__init__(f"{detail} ({status} {code})")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)


class BadRequest(Refused):
    pass


class Unauthorized(Refused):
    pass


class Forbidden(Refused):
    pass


class NotFound(Refused):
    pass


class Conflict(Refused):
    pass


class PayloadTooLarge(Refused):
    pass


class Unprocessable(Refused):
    pass


class TooManyRequests(Refused):
    pass


class ServerError(Refused):
    pass


class JobFailed(ClientError):
    """`problems` are those of the data set, all at once; `job` is the job as it was last seen."""

    def __init__(self, job: JobView) -> None:
        error = job.error or JobError(code="unknown", message="the job failed")
        named = "".join(
            f"\n  {p.where or job.dataset.filename}: {p.message}" for p in error.problems
        )
        super().__init__(f"{job.id} failed: {error.message}{named}")
        self.job = job
        self.code = error.code
        self.message = error.message
        self.problems = tuple(error.problems)


class JobCancelled(ClientError):
    def __init__(self, job: JobView) -> None:
        super().__init__(f"{job.id} was cancelled")
        self.job = job


class WaitTimeout(ClientError, TimeoutError):
    def __init__(self, job: JobView, seconds: float) -> None:
        super().__init__(f"{job.id} is still {job.status} after {seconds:g} s; it goes on")
        self.job = job


_BY_STATUS: dict[int, type[Refused]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: PayloadTooLarge,
    422: Unprocessable,
    429: TooManyRequests,
}


def refused(status: int) -> type[Refused]:
    """The class for an answer of this status."""
    return _BY_STATUS.get(status, ServerError if status >= 500 else Refused)
