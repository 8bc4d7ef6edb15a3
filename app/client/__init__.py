"""The service from Python: `Client`, and `AsyncClient` with the same calls to await.

    from app.client import Client

    with Client() as client:  # DSPT_URL and DSPT_API_KEY, or arguments
        job = client.jobs.create("photos/", config={"epochs": 100})
        job.wait(progress=True)
        print(job.audit().suspects)
        print(client.predict(job.model_id, ["new1.jpg", "new2.jpg"]))

Every call is written once, as a coroutine (`_jobs`, `_models`, `_predict`); `Client` runs the same
coroutines to their end without an event loop (`_blocking`).
"""

from app.client._audit import Audit
from app.client._client import AsyncClient, Client
from app.client._exceptions import (
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
from app.client._job import AsyncJob, Job

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
