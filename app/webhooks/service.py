"""Create, list, enable and delete webhooks; list and replay their deliveries."""

from __future__ import annotations

from collections.abc import Sequence

from dspt_client.schemas.webhooks import DeliveryStatus, EventType
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.kit.context import Context
from app.kit.db import database_now, lock_until_commit
from app.kit.http.errors import Conflict, NotFound, TooManyRequests, invalid_field
from app.kit.ids import is_id, new_id
from app.kit.newest_first import newest_first
from app.kit.outgoing import OutgoingError, check_url
from app.kit.signing_key import ensure_signing_key
from app.tables.webhooks import Webhook, WebhookDelivery
from app.webhooks.secrets import secret_of, sha256_of

#: Advisory lock number; arbitrary, but unique within the database.
_LOCK = 0x64737071
MOST_WEBHOOKS = 10


def create(
    context: Context, caller: Caller, url: str, events: Sequence[EventType]
) -> tuple[Webhook, str]:
    """Return the new webhook and its secret. Raises Unprocessable and TooManyRequests."""
    try:
        check_url(url, context.settings.private_hosts)
    except OutgoingError as error:
        raise invalid_field("url", "url_not_allowed", str(error)) from error
    webhook_id = new_id("whk")
    secret = secret_of(ensure_signing_key(context), webhook_id)
    with context.database.write() as session:
        webhook = Webhook(
            id=webhook_id,
            owner=caller.owner,
            url=url,
            events=sorted(set(events)),
            secret_sha256=sha256_of(secret),
            created_at=database_now(session),
            failures=0,
        )
        session.add(webhook)
        session.flush()
        lock_until_commit(session, _LOCK)
        count = select(func.count()).where(Webhook.owner == caller.owner)
        if (session.scalar(count) or 0) > MOST_WEBHOOKS:
            raise TooManyRequests(
                f"You have {MOST_WEBHOOKS} webhooks, the maximum. Delete one.",
                code="quota_webhooks",
                headers={"Retry-After": "60"},
            )
    return webhook, secret


def page(
    session: Session, *, owner: str | None, after: str | None, limit: int
) -> Sequence[Webhook]:
    """Return webhooks of one owner, or of all (None), newest first, older than `after`."""
    query = newest_first(select(Webhook), Webhook, owner=owner, after=after, limit=limit)
    return session.scalars(query).all()


def find(session: Session, caller: Caller, webhook_id: str, *, lock: bool = False) -> Webhook:
    """Return the webhook. Raises NotFound, also if it belongs to another owner."""
    found = session.get(Webhook, webhook_id, with_for_update=lock) if is_id(webhook_id) else None
    if found is None or not caller.sees(found.owner):
        raise NotFound(f"There is no webhook {webhook_id!r}.", code="webhook_not_found")
    return found


def enable(context: Context, caller: Caller, webhook_id: str) -> Webhook:
    """Send events to a disabled webhook again. Raises NotFound and Conflict."""
    key = ensure_signing_key(context)
    with context.database.write() as session:
        webhook = find(session, caller, webhook_id, lock=True)
        if sha256_of(secret_of(key, webhook.id)) != webhook.secret_sha256:
            raise Conflict(
                "The service has another signing key than when the webhook was created, so its "
                "signatures would not fit. Delete the webhook and create it again.",
                code="webhook_key_changed",
            )
        webhook.disabled_at = webhook.disabled_reason = None
        webhook.failures = 0
    return webhook


def remove(context: Context, caller: Caller, webhook_id: str) -> None:
    """Delete a webhook with its deliveries. Raises NotFound."""
    with context.database.write() as session:
        webhook = find(session, caller, webhook_id, lock=True)
        session.execute(delete(Webhook).where(Webhook.id == webhook.id))


def deliveries(
    session: Session,
    webhook_id: str,
    *,
    status: DeliveryStatus | None,
    after: str | None,
    limit: int,
) -> Sequence[WebhookDelivery]:
    """Return deliveries of a webhook, newest first, older than `after`."""
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    if status is not None:
        query = query.where(WebhookDelivery.status == status)
    query = newest_first(query, WebhookDelivery, owner=None, after=after, limit=limit)
    return session.scalars(query).all()


def replay(context: Context, caller: Caller, webhook_id: str, delivery_id: str) -> WebhookDelivery:
    """Send an ended delivery again, under the same id. Raises NotFound and Conflict."""
    with context.database.write() as session:
        webhook = find(session, caller, webhook_id)
        found = session.get(WebhookDelivery, delivery_id) if is_id(delivery_id) else None
        if found is None or found.webhook_id != webhook.id:
            raise NotFound(f"There is no delivery {delivery_id!r}.", code="delivery_not_found")
        if webhook.disabled_at is not None:
            raise Conflict(
                f"The webhook is disabled: {webhook.disabled_reason} Enable it first.",
                code="webhook_disabled",
            )
        query = (
            update(WebhookDelivery)
            .where(
                WebhookDelivery.id == found.id,
                WebhookDelivery.status != DeliveryStatus.PENDING,
            )
            .values(
                status=DeliveryStatus.PENDING, attempts=0, next_attempt_at=database_now(session)
            )
        )
        if session.execute(query.returning(WebhookDelivery.id)).one_or_none() is None:
            raise Conflict(
                "The delivery is pending; only an ended delivery can be replayed.",
                code="delivery_pending",
            )
        session.refresh(found)
    return found
