"""`dspt batches`: thousands of images, classified by a worker of a service."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.commands import _find as find
from app.commands._service import (
    FAILED,
    AsJson,
    Limit,
    ModelId,
    Url,
    end,
    group,
    packing,
    print_deleted,
    print_list,
    print_view,
    service,
)
from app.commands._tables import batch_details, batches_table
from dspt.cli.answers import RejectBelow, TopK
from dspt.cli.terminal import check_writable
from dspt.kit.files import atomic_write

if TYPE_CHECKING:
    from dspt_client import Client
    from dspt_client.schemas.batches import BatchView

batches = group("Thousands of images, classified in the background by a service.")

BatchId = Annotated[
    str,
    typer.Argument(
        metavar="BATCH",
        help="Id, unique beginning of an id, or name of a batch; see `dspt batches list`.",
        show_default=False,
    ),
]


@batches.command()
def submit(
    model: ModelId,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            show_default=False,
            help="Folder (it is zipped first), zip, or id of a data set of the service (ds_...).",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the batch.", show_default=False)] = None,
    top_k: TopK = 5,
    reject_below: RejectBelow = None,
    watch: Annotated[bool, typer.Option("--watch", help="Wait until it has ended.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Classify all images of a folder, a zip or a data set."""
    with service(url) as client:
        with packing() as advance:
            made = client.batches.create(
                find.model_or_alias(client, model),
                data,
                name=name,
                top_k=top_k,
                reject_below=reject_below,
                on_progress=advance,
            )
        found = _watch(client, made.id) if watch else made
    _show(found, as_json)
    if watch and found.status != "succeeded":
        why = "" if found.error is None else f": {found.error.message}"
        raise end(f"{found.id} is {found.status}{why}", FAILED)


@batches.command("list")
def list_batches(
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List batches, newest first."""
    with service(url) as client:
        found = list(islice(client.batches.list(), limit))
    print_list(found, as_json, batches_table, "No batches.")


@batches.command()
def show(batch_id: BatchId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a batch and how far it is."""
    with service(url) as client:
        found = client.batches.get(find.batch_id(client, batch_id))
    _show(found, as_json)


@batches.command()
def results(
    batch_id: BatchId,
    format: Annotated[
        Literal["ndjson", "csv"], typer.Option(help="One JSON object per line, or a table.")
    ] = "ndjson",
    file: Annotated[
        Path | None,
        typer.Option("--out", help="File to write. Default: standard output.", show_default=False),
    ] = None,
    url: Url = None,
) -> None:
    """Print or save the results so far, one line per image."""
    if file is not None:
        check_writable(file)
    with service(url) as client:
        data = client.batches.download(find.batch_id(client, batch_id), format=format)
    if file is None:
        typer.echo(data.decode(), nl=False)
    else:
        atomic_write(file, data)


@batches.command()
def cancel(batch_id: BatchId, url: Url = None, as_json: AsJson = False) -> None:
    """Cancel a batch; its results so far stay."""
    with service(url) as client:
        found = client.batches.cancel(find.batch_id(client, batch_id))
    _show(found, as_json)


@batches.command()
def retry(batch_id: BatchId, url: Url = None, as_json: AsJson = False) -> None:
    """Continue a failed or cancelled batch after its last result."""
    with service(url) as client:
        found = client.batches.retry(find.batch_id(client, batch_id))
    _show(found, as_json)


@batches.command()
def delete(batch_id: BatchId, url: Url = None, as_json: AsJson = False) -> None:
    """Delete an ended batch with its results."""
    with service(url) as client:
        deleted = find.batch_id(client, batch_id)
        client.batches.delete(deleted)
    print_deleted("batch", deleted, as_json)


def _watch(client: Client, batch_id: str) -> BatchView:
    from dspt_client._bar import Bar

    with Bar("classifying") as bar:
        return client.batches.wait(batch_id, on_progress=bar.advance)


def _show(batch: BatchView, as_json: bool) -> None:
    print_view(batch, as_json, batch_details(batch))
