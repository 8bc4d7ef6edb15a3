"""Create comparisons."""

from __future__ import annotations

import hashlib

import structlog
from dspt_client.schemas.comparisons import ComparisonJobView
from dspt_client.schemas.status import Status
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.backbones.allowed import pool_for
from app.comparisons.photos import photos_for
from app.comparisons.repository import COMPARISONS
from app.comparisons.schemas import ComparisonJobRequest
from app.comparisons.views import view
from app.datasets import service as datasets
from app.kit.context import Context
from app.kit.db import database_now
from app.kit.ids import new_id, owner_digest
from app.kit.settings import Settings
from app.kit.tracing import request_origin
from app.leased import service as leased
from app.models.service import find_by_name
from app.quotas import service as quotas
from app.tables.comparisons import Comparison

_log = structlog.get_logger(__name__)


def create(
    context: Context, caller: Caller, wanted: ComparisonJobRequest, idempotency_key: str | None
) -> leased.Created[ComparisonJobView]:
    """Create a comparison of two models, on the photos of both or on a data set.

    Raises NotFound, Conflict, Unprocessable, and TooManyRequests or ServiceUnavailable if a quota
    is exceeded.
    """
    request_sha256 = hashlib.sha256(wanted.model_dump_json().encode()).hexdigest()
    if found := _replayed(context, caller, idempotency_key, request_sha256):
        return leased.Created(found, replayed=True)
    try:
        with context.database.write() as session:
            comparison = _row(session, context.settings, caller, wanted)
            comparison.request_sha256 = request_sha256
            if idempotency_key is not None:
                comparison.idempotency_digest = owner_digest(caller.owner, idempotency_key)
            session.add(comparison)
            quotas.check_job(session, context.settings, comparison.owner)
            made = view(comparison)
    except IntegrityError:  # a concurrent request with the same key created a comparison
        if found := _replayed(context, caller, idempotency_key, request_sha256):
            return leased.Created(found, replayed=True)
        raise
    _log.info("comparison queued", comparison_id=made.id)
    return leased.Created(made, replayed=False)


def _row(
    session: Session, settings: Settings, caller: Caller, wanted: ComparisonJobRequest
) -> Comparison:
    a, b = (find_by_name(session, caller, name) for name in (wanted.a, wanted.b))
    chosen = datasets.find(session, caller, wanted.dataset_id) if wanted.dataset_id else None
    photos = photos_for(session, (a, b), chosen)
    now = database_now(session)
    return Comparison(
        id=new_id("cmp"),
        # An admin may compare models of two owners.
        owner=a.owner if a.owner == b.owner else caller.owner,
        name=(wanted.name or f"{a.name} and {b.name}")[:200],
        pool=pool_for(settings.pools, a.backbone, b.backbone),
        status=Status.QUEUED,
        created_at=now,
        queued_at=now,
        attempt=0,
        a_model_id=a.id,
        b_model_id=b.id,
        a_alias=None if wanted.a == a.id else wanted.a,
        b_alias=None if wanted.b == b.id else wanted.b,
        dataset_id=photos.dataset.id,
        all_photos=wanted.all,
        done=0,
        **request_origin(),
    )


def _replayed(
    context: Context, caller: Caller, key: str | None, request_sha256: str
) -> ComparisonJobView | None:
    with context.database.read() as session:
        comparison = leased.replayed(COMPARISONS, session, caller, key, request_sha256)
        return None if comparison is None else view(comparison)
