"""`dspt datasets`: the photos that a service has."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.commands import _find as find
from app.commands._service import (
    AsJson,
    Limit,
    Metadata,
    Name,
    Url,
    WithMetadata,
    check_photos,
    group,
    packing,
    pairs,
    print_deleted,
    print_list,
    print_view,
    service,
)
from app.commands._tables import dataset_details, datasets_table, photos_table
from dspt.cli.health import Files, print_health
from dspt.cli.terminal import print_json, print_stderr

if TYPE_CHECKING:
    from dspt_client.schemas.datasets import DatasetDetail

datasets = group("The data sets of a service and their photos.")

DatasetId = Annotated[
    str,
    typer.Argument(
        metavar="DATASET",
        help="Id, unique beginning of an id, or file name of a data set; see `dspt datasets list`.",
        show_default=False,
    ),
]


@datasets.command()
def upload(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            exists=True,
            show_default=False,
            help="Folder (it is zipped first) or zip.",
        ),
    ],
    metadata: Metadata = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Upload labelled photos for jobs to come: `dspt jobs submit DATASET`."""
    own = pairs(metadata)
    with service(url) as client, packing() as advance:
        check_photos(data)
        found = client.datasets.create(data, metadata=own, on_progress=advance)
    _show(found, as_json)


@datasets.command()
def add(
    dataset_id: DatasetId,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            exists=True,
            show_default=False,
            help="Folder (it is zipped first) or zip, as for `upload`; one class, or a folder "
            "unlabelled/, is enough.",
        ),
    ],
    label: Annotated[
        str | None,
        typer.Option(
            help="Class of all photos in a folder, which then needs no class folders.",
            show_default=False,
        ),
    ] = None,
    unlabelled: Annotated[
        bool,
        typer.Option("--unlabelled", help="Use all photos in a folder without labels."),
    ] = False,
    metadata: Metadata = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Add photos to a data set; the result is a new version that shares its files."""
    own = pairs(metadata)
    with service(url) as client, packing() as advance:
        base = find.dataset_id(client, dataset_id)
        found = client.datasets.add(
            base,
            data,
            label=label,
            unlabelled=unlabelled,
            metadata=own,
            on_progress=advance,
        )
    _show(found, as_json)


@datasets.command("list")
def list_datasets(
    name: Name = None,
    metadata: WithMetadata = None,
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List data sets, newest first."""
    own = pairs(metadata)
    with service(url) as client:
        found = list(islice(client.datasets.list(name=name, metadata=own), limit))
    print_list(found, as_json, datasets_table, "No data sets.")


@datasets.command()
def show(dataset_id: DatasetId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a data set with its classes."""
    with service(url) as client:
        found = client.datasets.get(find.dataset_id(client, dataset_id))
    _show(found, as_json)


@datasets.command()
def health(
    dataset_id: DatasetId, files: Files = False, url: Url = None, as_json: AsJson = False
) -> None:
    """Show what may be wrong with the photos, and how to fix it; the newest job found it out."""
    with service(url) as client:
        found = client.datasets.health(find.dataset_id(client, dataset_id))
    report = found.model_dump(mode="json")
    if as_json:
        print_json(report)
    else:
        print_health(report, files=files)


@datasets.command()
def images(
    dataset_id: DatasetId,
    split: Annotated[
        Literal["train", "val", "test"] | None,
        typer.Option(help="Only this part.", show_default=False),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Only this class.", show_default=False)] = None,
    limit: Limit = 100,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the photos of a data set."""
    with service(url) as client:
        found = client.datasets.images(
            find.dataset_id(client, dataset_id), split=split, label=label
        )
        photos = list(islice(found, limit))
    print_list(photos, as_json, photos_table, "No photos.")


@datasets.command()
def delete(dataset_id: DatasetId, url: Url = None, as_json: AsJson = False) -> None:
    """Delete a data set that no job uses."""
    with service(url) as client:
        deleted = find.dataset_id(client, dataset_id)
        client.datasets.delete(deleted)
    print_deleted("dataset", deleted, as_json)


def _show(found: DatasetDetail, as_json: bool) -> None:
    for warning in found.warnings:
        print_stderr(f"warning: {warning}", "yellow")
    print_view(found, as_json, dataset_details(found))
