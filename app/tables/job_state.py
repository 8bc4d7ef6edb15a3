"""The states of a job and the steps between them. The database enforces the same table.

queued ──> validating ──> running ──> succeeded
  │  ^       │  │  │       │ │ │
  │  └───────┘──│──│───────┘ │ └────> failed
  │             │  └─────────│──────> failed
  │             └─> cancelling <─┘
  └──────────────────> cancelled <── cancelling

failed and cancelled ──> queued, when somebody asks to try again
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType


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

#: A worker holds a lease on the job in these.
LEASED = frozenset({Status.VALIDATING, Status.RUNNING, Status.CANCELLING})

#: Every step that may be taken. Back to `queued`: the job was taken from a worker that died or
#: that is being shut down, or it is tried again on request.
STEPS = MappingProxyType(
    {
        Status.QUEUED: frozenset({Status.VALIDATING, Status.CANCELLED}),
        Status.VALIDATING: frozenset(
            {Status.RUNNING, Status.FAILED, Status.CANCELLING, Status.QUEUED}
        ),
        Status.RUNNING: frozenset(
            {Status.SUCCEEDED, Status.FAILED, Status.CANCELLING, Status.QUEUED}
        ),
        Status.CANCELLING: frozenset({Status.CANCELLED}),
        Status.SUCCEEDED: frozenset(),
        Status.FAILED: frozenset({Status.QUEUED}),
        Status.CANCELLED: frozenset({Status.QUEUED}),
    }
)


def sources(target: Status) -> frozenset[Status]:
    """The states from which `target` may be entered."""
    return frozenset(source for source, targets in STEPS.items() if target in targets)
