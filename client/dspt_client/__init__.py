"""Python client of the DSPT service: `Client`, and `AsyncClient` with the same calls as coroutines.

    from dspt_client import Client

    with Client() as client:  # DSPT_URL and DSPT_API_KEY, or arguments
        job = client.jobs.create("photos/", config={"epochs": 100})
        job.wait(progress=True)
        print(job.audit().to_check)
        print(client.predict(job.model_id, ["new1.jpg", "new2.jpg"]))

Every call is written once, as a coroutine (`_jobs`, `_models`, `_predict`). `Client` runs the same
coroutines without an event loop (`_blocking`).
"""

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
    PayloadTooLarge,
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
    "PayloadTooLarge",
    "Refused",
    "ServerError",
    "TooManyRequests",
    "Unauthorized",
    "UnexpectedAnswer",
    "Unprocessable",
    "Unreachable",
    "WaitTimeout",
]
