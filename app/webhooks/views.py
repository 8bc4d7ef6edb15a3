"""What callers see of webhooks and their deliveries."""

from __future__ import annotations

from dspt_client.schemas.webhooks import DeliveryView, NewWebhookView, WebhookEvent, WebhookView

from app.tables.webhooks import Webhook, WebhookDelivery

_COLUMNS = frozenset(WebhookView.model_fields) - {"object", "links"}
_DELIVERY_COLUMNS = frozenset(DeliveryView.model_fields) - {"object", "event", "links"}


def view(webhook: Webhook) -> WebhookView:
    """Return the view of a webhook."""
    base = f"/webhooks/{webhook.id}"
    links = {"self": base, "deliveries": f"{base}/deliveries"}
    columns = {name: getattr(webhook, name) for name in _COLUMNS}
    return WebhookView.model_validate({**columns, "links": links})


def new_view(webhook: Webhook, secret: str) -> NewWebhookView:
    """Return the view of a webhook with its secret."""
    return NewWebhookView.model_validate({**view(webhook).model_dump(), "secret": secret})


def delivery_view(delivery: WebhookDelivery) -> DeliveryView:
    """Return the view of a delivery."""
    event = WebhookEvent.model_validate_json(delivery.body)
    columns = {name: getattr(delivery, name) for name in _DELIVERY_COLUMNS}
    replay = f"/webhooks/{delivery.webhook_id}/deliveries/{delivery.id}/replay"
    links = {"replay": replay, event.data.object: event.data.links["self"]}
    return DeliveryView.model_validate({**columns, "event": event, "links": links})
