"""The states of jobs, and of batches and comparisons."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    #: Waiting for a worker.
    QUEUED = "queued"
    #: A worker is checking every image.
    VALIDATING = "validating"
    #: A worker is running the job.
    RUNNING = "running"
    #: Cancellation was requested; the worker has not stopped yet.
    CANCELLING = "cancelling"
    #: Finished with a model.
    SUCCEEDED = "succeeded"
    #: Ended with an error, which the job contains.
    FAILED = "failed"
    #: Stopped on request.
    CANCELLED = "cancelled"


class RunStatus(StrEnum):
    """The states of a batch or a comparison."""

    #: Waiting for a worker.
    QUEUED = "queued"
    #: A worker works on it.
    RUNNING = "running"
    #: Cancellation was requested; the worker has not stopped yet.
    CANCELLING = "cancelling"
    #: All images are done.
    SUCCEEDED = "succeeded"
    #: Ended with an error, see `error`.
    FAILED = "failed"
    #: Stopped on request.
    CANCELLED = "cancelled"


#: States in which it has ended; only a retry request leads on from here.
TERMINAL: frozenset[str] = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
