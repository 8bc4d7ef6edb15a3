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

from types import MappingProxyType

from dspt_client.schemas.status import Status

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
