"""The states of a job."""

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


#: States of an ended job; only a retry request leads on from here.
TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
