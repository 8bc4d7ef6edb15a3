"""The states of a job."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    #: Waits for a worker.
    QUEUED = "queued"
    #: A worker reads and checks every image.
    VALIDATING = "validating"
    #: A worker tunes.
    RUNNING = "running"
    #: Somebody asked to stop it and its worker has not yet done so.
    CANCELLING = "cancelling"
    #: There is a model.
    SUCCEEDED = "succeeded"
    #: It ended with an error that the job names.
    FAILED = "failed"
    #: It was stopped on request.
    CANCELLED = "cancelled"


#: The job has ended; only somebody's wish to try again goes on from here.
TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
