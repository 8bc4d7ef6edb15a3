"""Record the end of a job, batch or comparison for the webhooks of its owner."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

from dspt_client.schemas.jobs import JobError
from dspt_client.schemas.webhooks import EventData, EventType, WebhookEvent
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.kit.ids import new_id
from app.tables.webhooks import Webhook, WebhookDelivery

Noun = Literal["job", "batch", "comparison"]
_PATHS: Mapping[Noun, str] = MappingProxyType(
    {"job": "jobs", "batch": "batches", "comparison": "comparisons"}
)


def record_end(
    session: Session,
    kind: Noun,
    id_: str,
    *,
    owner: str,
    name: str,
    status: str,
    error: Mapping[str, Any] | None,
    now: datetime,
) -> None:
    """Add a delivery for each webhook that receives this event, in the caller's transaction."""
    # The lock keeps a webhook that is deleted meanwhile until the deliveries refer to it.
    query = select(Webhook.id, Webhook.events).where(
        Webhook.owner == owner, Webhook.disabled_at.is_(None)
    )
    webhooks = session.execute(query.with_for_update(read=True, key_share=True)).all()
    type_ = EventType(f"{kind}.{status}")
    wanted = [webhook.id for webhook in webhooks if type_ in webhook.events]
    if not wanted:
        return
    data = EventData(
        id=id_,
        object=kind,
        name=name,
        status=status,
        error=None if error is None else JobError.model_validate(error),
        links={"self": f"/{_PATHS[kind]}/{id_}"},
    )
    body = WebhookEvent(type=type_, timestamp=now, data=data).model_dump_json()
    session.add_all(
        WebhookDelivery(
            id=new_id("msg"), webhook_id=id_, body=body, created_at=now, next_attempt_at=now
        )
        for id_ in wanted
    )
    session.flush()
