"""The calls about webhooks: addresses that receive the ends of jobs and batches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from dspt_client._blocking import blocking, blocking_iterator
from dspt_client._calls import Call, as_a, delete, get, path
from dspt_client._connection import Connection
from dspt_client._pages import items
from dspt_client.schemas.webhooks import DeliveryView, NewWebhookView, WebhookView


class WebhookCalls:
    """`client.webhooks`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self, url: str, events: Sequence[str] | None = None) -> NewWebhookView:
        """Have events sent to an https address. The result's `secret` is not shown again.

        events: such as `job.succeeded` and `batch.failed`. Default: all.
        """
        body = {"url": url} if events is None else {"url": url, "events": list(events)}
        options = {"json": body}
        call = Call("POST", "/webhooks", as_a(NewWebhookView), repeatable=False, options=options)
        return await self._connection.call(call)

    def list(self) -> AsyncIterator[WebhookView]:
        """Iterate over webhooks, newest first. Pages are fetched on demand."""
        return items(self._connection, "/webhooks", WebhookView, {})

    async def get(self, webhook_id: str) -> WebhookView:
        """Return one webhook."""
        return await self._connection.call(get(path("webhooks", webhook_id), as_a(WebhookView)))

    async def enable(self, webhook_id: str) -> WebhookView:
        """Send events to a disabled webhook again."""
        where = path("webhooks", webhook_id, "enable")
        return await self._connection.call(Call("POST", where, as_a(WebhookView), repeatable=True))

    async def delete(self, webhook_id: str) -> None:
        """Delete a webhook with its deliveries."""
        await self._connection.call(delete(path("webhooks", webhook_id)))

    def deliveries(
        self, webhook_id: str, *, status: str | None = None
    ) -> AsyncIterator[DeliveryView]:
        """Iterate over the events for a webhook, newest first.

        status: only those that are `pending`, `succeeded` or `failed`.
        """
        where = path("webhooks", webhook_id, "deliveries")
        return items(self._connection, where, DeliveryView, {"status": status})

    async def replay(self, webhook_id: str, delivery_id: str) -> DeliveryView:
        """Send an ended delivery again, with the same `webhook-id`."""
        where = path("webhooks", webhook_id, "deliveries", delivery_id, "replay")
        return await self._connection.call(
            Call("POST", where, as_a(DeliveryView), repeatable=False)
        )


class Webhooks:
    """`client.webhooks`."""

    def __init__(self, connection: Connection) -> None:
        self._core = WebhookCalls(connection)

    create = blocking(WebhookCalls.create)
    list = blocking_iterator(WebhookCalls.list)
    get = blocking(WebhookCalls.get)
    enable = blocking(WebhookCalls.enable)
    delete = blocking(WebhookCalls.delete)
    deliveries = blocking_iterator(WebhookCalls.deliveries)
    replay = blocking(WebhookCalls.replay)
