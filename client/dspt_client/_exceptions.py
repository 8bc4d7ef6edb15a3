"""The exceptions of the client.

ClientError
├── Unreachable              no response: nothing listens there, or the connection broke
├── NotSent                  nothing was sent: the photos cannot be those of two classes
├── UnexpectedAnswer         a response that this service would not give
├── Refused                  an error response: `status`, `code`, `detail`, `errors`
│   ├── BadRequest           400
│   ├── Unauthorized         401  the key is missing or invalid
│   ├── Forbidden            403  the key's scopes do not allow it
│   ├── NotFound             404
│   ├── Conflict             409  not possible in the current state
│   ├── PreconditionFailed   412  it has changed since the given version
│   ├── PayloadTooLarge      413
│   ├── Unprocessable        422  a value is invalid
│   ├── TooManyRequests      429  a limit of the caller is exceeded
│   └── ServerError          5xx
├── JobFailed                the job has failed: `code`, `message`, `problems`
├── JobCancelled             the job was cancelled
└── WaitTimeout              the job has not ended in time; it continues

`code` is stable and machine-readable; `detail` is for people and says how to fix the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dspt_client.schemas.jobs import JobError, JobView


class ClientError(Exception):
    """Base class."""


class Unreachable(ClientError):
    pass


class NotSent(ClientError, ValueError):
    pass


class UnexpectedAnswer(ClientError):
    pass


@dataclass(frozen=True)
class Item:
    """One of several errors, with the field, setting or file at fault, if there is one."""

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


class PreconditionFailed(Refused):
    pass


class PayloadTooLarge(Refused):
    pass


class Unprocessable(Refused):
    pass


class TooManyRequests(Refused):
    pass


class ServerError(Refused):
    pass


def named_problems(job: JobView) -> list[str]:
    """Return a line for each problem of a failed job that its message does not say already."""
    if job.error is None:
        return []
    return [
        f"  {problem.where or job.dataset.filename}: {problem.message}"
        for problem in job.error.problems
        if job.error.message not in (problem.message, f"{problem.where}: {problem.message}")
    ]


class JobFailed(ClientError):
    """`problems`: all problems of the data set; `job`: the last known state of the job."""

    def __init__(self, job: JobView) -> None:
        error = job.error or JobError(code="unknown", message="the job failed")
        super().__init__("\n".join([f"{job.id} failed: {error.message}", *named_problems(job)]))
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
        super().__init__(f"{job.id} is still {job.status} after {seconds:g} s; it continues")
        self.job = job


_BY_STATUS: dict[int, type[Refused]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    413: PayloadTooLarge,
    422: Unprocessable,
    429: TooManyRequests,
}


def refused(status: int) -> type[Refused]:
    """Return the exception class for this status."""
    return _BY_STATUS.get(status, ServerError if status >= 500 else Refused)
