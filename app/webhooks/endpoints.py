"""The HTTP calls about webhooks."""

from __future__ import annotations

from typing import Annotated

from dspt_client.schemas.webhooks import (
    DeliveryStatus,
    DeliveryView,
    EventType,
    NewWebhookView,
    WebhookView,
)
from fastapi import Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.access.dependencies import CallerDep, caller_router
from app.kit.http.context import ContextDep
from app.kit.http.errors import Conflict, NotFound, Unprocessable, problems
from app.kit.http.paging import After, Limit, Page, page_of
from app.kit.http.rules import Scope, rules
from app.kit.http.schema_types import Omittable
from app.webhooks import service, views

router = caller_router("/webhooks", tags=["webhooks"])


class NewWebhook(BaseModel):
    """The address, and the events that it receives."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        min_length=1,
        max_length=2000,
        description="An https address in the public internet.",
        examples=["https://example.com/dspt"],
    )
    events: list[EventType] = Field(
        default=list(EventType), min_length=1, description="Default: all."
    )


@router.post("", status_code=201, responses=problems(Unprocessable))
@rules(Scope.SUBMIT)
def create_webhook(
    wanted: NewWebhook, response: Response, context: ContextDep, caller: CallerDep
) -> NewWebhookView:
    """Have the ends of your jobs and batches sent to an address.

    Requests follow Standard Webhooks: the headers `webhook-id`, `webhook-timestamp` and
    `webhook-signature`, which the `secret` in this answer verifies. It is not shown again.
    """
    webhook, secret = service.create(context, caller, wanted.url, wanted.events)
    created = views.new_view(webhook, secret)
    response.headers["Location"] = created.links["self"]
    return created


@router.get("", responses=problems(Unprocessable))
@rules(Scope.READ)
def list_webhooks(
    context: ContextDep, caller: CallerDep, after: After = None, limit: Limit = 20
) -> Page[WebhookView]:
    """Webhooks, newest first."""
    with context.database.read() as session:
        found = service.page(session, owner=caller.only_owner, after=after, limit=limit + 1)
    return page_of([views.view(each) for each in found], limit)


@router.get("/{webhook_id}", responses=problems(NotFound))
@rules(Scope.READ)
def get_webhook(webhook_id: str, context: ContextDep, caller: CallerDep) -> WebhookView:
    """One webhook, and why it is disabled."""
    with context.database.read() as session:
        return views.view(service.find(session, caller, webhook_id))


@router.delete("/{webhook_id}", status_code=204, responses=problems(NotFound))
@rules(Scope.SUBMIT)
def delete_webhook(webhook_id: str, context: ContextDep, caller: CallerDep) -> None:
    """Delete a webhook with its deliveries."""
    service.remove(context, caller, webhook_id)


@router.post("/{webhook_id}/enable", responses=problems(NotFound, Conflict))
@rules(Scope.SUBMIT)
def enable_webhook(
    webhook_id: str, request: Request, context: ContextDep, caller: CallerDep
) -> WebhookView:
    """Send events to a disabled webhook again, first those that wait."""
    webhook = service.enable(context, caller, webhook_id)
    request.app.state.webhook_sender.loop.wake()
    return views.view(webhook)


@router.get("/{webhook_id}/deliveries", responses=problems(NotFound, Unprocessable))
@rules(Scope.READ)
def list_deliveries(
    webhook_id: str,
    context: ContextDep,
    caller: CallerDep,
    status: Annotated[DeliveryStatus | Omittable, Query()] = None,
    after: After = None,
    limit: Limit = 20,
) -> Page[DeliveryView]:
    """Events for a webhook, newest first, each with the result of its last attempt."""
    with context.database.read() as session:
        webhook = service.find(session, caller, webhook_id)
        found = service.deliveries(session, webhook.id, status=status, after=after, limit=limit + 1)
    return page_of([views.delivery_view(each) for each in found], limit)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/replay",
    status_code=202,
    responses=problems(NotFound, Conflict),
)
@rules(Scope.SUBMIT)
def replay_delivery(
    webhook_id: str,
    delivery_id: str,
    request: Request,
    context: ContextDep,
    caller: CallerDep,
) -> DeliveryView:
    """Send an ended delivery again, with the same `webhook-id`."""
    delivery = service.replay(context, caller, webhook_id, delivery_id)
    request.app.state.webhook_sender.loop.wake()
    return views.delivery_view(delivery)
