"""The states of a job and the transitions between them. The database enforces the same table.

queued ──> validating ──> running ──> succeeded
  │  ^       │  │  │       │ │ │
  │  └───────┘──│──│───────┘ │ └────> failed
  │             │  └─────────│──────> failed
  │             └─> cancelling <─┘
  └──────────────────> cancelled <── cancelling

failed and cancelled ──> queued, on a retry request
"""

from __future__ import annotations

from types import MappingProxyType

from dspt_client.schemas.status import Status

#: States in which a worker holds a lease on the job.
LEASED = frozenset({Status.VALIDATING, Status.RUNNING, Status.CANCELLING})

#: All allowed transitions. Back to `queued`: the worker died or is shutting down, or the job is
#: retried on request.
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
    """Return the states from which `target` can be entered."""
    return frozenset(source for source, targets in STEPS.items() if target in targets)
