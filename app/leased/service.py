"""Find, cancel, retry and delete leased rows of any kind, and replay what created them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from dspt_client.schemas.status import Status
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.kit.http.errors import Conflict, NotFound
from app.kit.ids import owner_digest
from app.kit.settings import Settings
from app.kit.tracing import request_origin
from app.leased.kind import Kind, R
from app.quotas import service as quotas

_ENDED = {
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed",
    Status.CANCELLED: "been cancelled",
}


class _View(Protocol):
    links: dict[str, str]


V = TypeVar("V", bound=_View)


@dataclass(frozen=True)
class Created(Generic[V]):
    """What a call has created, as callers see it."""

    view: V
    replayed: bool
    """True if an earlier request with this Idempotency-Key created it."""


def find(kind: Kind[R], session: Session, caller: Caller, row_id: str, *, lock: bool = False) -> R:
    """Return the row. Raises NotFound, also if it belongs to another owner."""
    row = kind.get(session, row_id, lock=lock)
    if row is None or not caller.sees(row.owner):
        raise not_found(kind, row_id)
    return row


def not_found(kind: Kind[Any], row_id: str) -> NotFound:
    return NotFound(f"There is no {kind.noun} {row_id!r}.", code=f"{kind.noun}_not_found")


def cancel(kind: Kind[R], session: Session, caller: Caller, row_id: str) -> R:
    """Cancel a row: at once if queued, else through its worker. Raises NotFound, Conflict."""
    find(kind, session, caller, row_id, lock=True)
    moved = kind.move(session, row_id, Status.CANCELLED, when=[Status.QUEUED]) or kind.move(
        session, row_id, Status.CANCELLING
    )
    row = find(kind, session, caller, row_id)
    if not moved and row.status != Status.CANCELLING:
        raise Conflict(
            f"The {kind.noun} has already {_ENDED[Status(row.status)]} and cannot be cancelled.",
            code=f"{kind.noun}_finished",
        )
    return row


def retry(
    kind: Kind[R],
    session: Session,
    settings: Settings,
    caller: Caller,
    row_id: str,
    values: Mapping[str, Any],
) -> R:
    """Queue a failed or cancelled row again, with its attempts reset and `values` set.

    Raises NotFound, Conflict, and TooManyRequests or ServiceUnavailable if a quota is exceeded.
    """
    find(kind, session, caller, row_id, lock=True)
    moved = kind.move(
        session,
        row_id,
        Status.QUEUED,
        when=[Status.FAILED, Status.CANCELLED],
        values={**kind.fresh, **values, "attempt": 0, **request_origin()},
    )
    row = find(kind, session, caller, row_id)
    if not moved:
        raise Conflict(
            f"The {kind.noun} is {row.status}; only a failed or cancelled {kind.noun} can be "
            "retried.",
            code=kind.not_retriable(row.status),
        )
    quotas.check_job(session, settings, row.owner)
    return row


def delete(kind: Kind[R], session: Session, caller: Caller, row_id: str) -> R:
    """Delete an ended row; return it as it was. Raises NotFound, Conflict."""
    row = find(kind, session, caller, row_id, lock=True)
    session.expunge(row)
    if not kind.remove(session, row_id):
        raise Conflict(
            f"The {kind.noun} is {row.status}. Cancel it first, or wait until it has ended.",
            code=f"{kind.noun}_not_finished",
        )
    return row


def replayed(
    kind: Kind[R], session: Session, caller: Caller, key: str | None, request_sha256: str
) -> R | None:
    """Return the row that an earlier request with this Idempotency-Key created, or None.

    Raises Conflict if that request was a different one.
    """
    if key is None:
        return None
    row = kind.by_idempotency_digest(session, owner_digest(caller.owner, key))
    if row is None:
        return None
    find(kind, session, caller, row.id)  # an admin may have created it for another owner
    if row.request_sha256 != request_sha256:
        raise Conflict(
            f"The Idempotency-Key {key!r} was used for a different request ({kind.noun} "
            f"{row.id}). Use a new key for a new {kind.noun}.",
            code="idempotency_key_reused",
        )
    return row
