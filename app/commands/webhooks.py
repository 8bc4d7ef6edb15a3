"""`dspt webhooks`: addresses that receive the ends of jobs and batches."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from app.commands._service import (
    AsJson,
    Limit,
    Url,
    group,
    print_deleted,
    print_list,
    print_view,
    service,
)
from dspt.cli.tables import plain_table
from dspt.cli.terminal import out, print_json

if TYPE_CHECKING:
    from dspt_client.schemas.webhooks import DeliveryView, WebhookView

webhooks = group("Addresses that receive the ends of jobs and batches.")

WebhookId = Annotated[
    str,
    typer.Argument(
        metavar="WEBHOOK",
        help="Id of a webhook; see `dspt webhooks list`.",
        show_default=False,
    ),
]


@webhooks.command()
def add(
    address: Annotated[
        str,
        typer.Argument(metavar="ADDRESS", help="An https address.", show_default=False),
    ],
    event: Annotated[
        list[str] | None,
        typer.Option(
            help="Event to send, such as job.succeeded; repeat it for more. Default: all.",
            show_default=False,
        ),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Have the ends of your jobs and batches sent to an address; print its secret once."""
    with service(url) as client:
        made = client.webhooks.create(address, event)
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    out.print(f"Created {made.id}. Its secret, which is not shown again:", markup=False)
    typer.echo(made.secret)  # one line, to copy or pipe


@webhooks.command("list")
def list_webhooks(limit: Limit = 20, url: Url = None, as_json: AsJson = False) -> None:
    """List webhooks, newest first."""
    with service(url) as client:
        found = list(islice(client.webhooks.list(), limit))
    print_list(found, as_json, _webhooks_table, "No webhooks.")


@webhooks.command()
def enable(webhook_id: WebhookId, url: Url = None, as_json: AsJson = False) -> None:
    """Send events to a disabled webhook again."""
    with service(url) as client:
        found = client.webhooks.enable(webhook_id)
    print_view(found, as_json, f"{found.id} is enabled.")


@webhooks.command()
def delete(webhook_id: WebhookId, url: Url = None, as_json: AsJson = False) -> None:
    """Delete a webhook with its deliveries."""
    with service(url) as client:
        client.webhooks.delete(webhook_id)
    print_deleted("webhook", webhook_id, as_json)


@webhooks.command()
def deliveries(
    webhook_id: WebhookId,
    status: Annotated[
        str | None,
        typer.Option(help="Only pending, succeeded or failed ones.", show_default=False),
    ] = None,
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the events for a webhook, newest first, with the result of the last attempt."""
    with service(url) as client:
        found = list(islice(client.webhooks.deliveries(webhook_id, status=status), limit))
    print_list(found, as_json, _deliveries_table, "No deliveries.")


@webhooks.command()
def replay(
    webhook_id: WebhookId,
    delivery_id: Annotated[
        str,
        typer.Argument(
            metavar="DELIVERY", help="Id; see `dspt webhooks deliveries`.", show_default=False
        ),
    ],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Send an ended delivery again, with the same webhook-id."""
    with service(url) as client:
        found = client.webhooks.replay(webhook_id, delivery_id)
    print_view(found, as_json, f"{found.id} is sent again.")


def _webhooks_table(webhooks: Iterable[WebhookView]) -> RenderableType:
    table = plain_table("id", "address", "events", "disabled", folding=("address", "disabled"))
    for each in webhooks:
        events = ", ".join(each.events)
        table.add_row(each.id, Text(each.url), events, Text(each.disabled_reason or ""))
    return table


def _deliveries_table(deliveries: Iterable[DeliveryView]) -> RenderableType:
    table = plain_table("id", "event", "of", "status", "attempts", "error", folding=("error",))
    for each in deliveries:
        of, error = each.event.data.id, Text(each.error or "")
        table.add_row(each.id, each.event.type, of, each.status, str(each.attempts), error)
    return table
