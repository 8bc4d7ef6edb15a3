"""Refuse an upload that exceeds a quota before it is read."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Scope

from app.access.caller import Caller
from app.jobs import repository
from app.kit.context import Context
from app.kit.ids import owner_digest
from app.quotas import service as quotas
from app.quotas.early import declared_bytes


def check_quota_early(scope: Scope) -> None:
    """Raise if the declared body would exceed the caller's quota, or if the queue is full.

    Storing the upload checks the same again, exactly.
    """
    context: Context = scope["app"].state.context
    caller: Caller = scope["state"]["caller"]
    key = Headers(scope=scope).get("idempotency-key")
    with context.database.read() as session:
        if key and repository.by_idempotency_digest(session, owner_digest(caller.owner, key)):
            return  # this key's job exists and is the answer
        quotas.check_early(session, context.settings, caller.owner, declared_bytes(scope))
