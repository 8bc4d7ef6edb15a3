"""Python client of the DSPT service: `Client`, and `AsyncClient` with the same calls as coroutines.

    from dspt_client import Client

    with Client() as client:  # DSPT_URL and DSPT_API_KEY, or arguments
        job = client.jobs.create("photos/", config={"epochs": 100})
        job.wait(progress=True)
        print(job.audit().to_check)
        print(client.predict(job.model_id, ["new1.jpg", "new2.jpg"]))

Every call is written once, as a coroutine (`_jobs`, `_models`, `_predict`). `Client` runs the same
coroutines without an event loop (`_blocking`).

The names are imported when they are first used: the command line imports `dspt_client.schemas` at
its start, and httpx only when it needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dspt_client._audit import Audit
    from dspt_client._client import AsyncClient, Client
    from dspt_client._exceptions import (
        BadRequest,
        ClientError,
        Conflict,
        Forbidden,
        JobCancelled,
        JobFailed,
        NotFound,
        NotSent,
        PayloadTooLarge,
        PreconditionFailed,
        Refused,
        ServerError,
        TooManyRequests,
        Unauthorized,
        UnexpectedAnswer,
        Unprocessable,
        Unreachable,
        WaitTimeout,
    )
    from dspt_client._job import AsyncJob, Job

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "Audit",
    "BadRequest",
    "Client",
    "ClientError",
    "Conflict",
    "Forbidden",
    "Job",
    "JobCancelled",
    "JobFailed",
    "NotFound",
    "NotSent",
    "PayloadTooLarge",
    "PreconditionFailed",
    "Refused",
    "ServerError",
    "TooManyRequests",
    "Unauthorized",
    "UnexpectedAnswer",
    "Unprocessable",
    "Unreachable",
    "WaitTimeout",
]

_MODULES = {
    "AsyncClient": "_client",
    "AsyncJob": "_job",
    "Audit": "_audit",
    "Client": "_client",
    "Job": "_job",
}


if not TYPE_CHECKING:  # a type checker reports a name that does not exist

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES.get(name, '_exceptions')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
