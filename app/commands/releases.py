"""`dspt models add-class` and `compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.commands import _find as find
from app.commands._service import AsJson, ModelId, Url, service
from app.commands._tables import model_details
from dspt.cli.compare import comparison_tables
from dspt.cli.terminal import out, print_json

_PARTS = {
    "test": "all of test/",
    "val": "all of val/",
    "held_out": "those that the jobs of both held out; their recorded labels may be wrong",
    "all": "all",
}


def add_class(
    model_id: ModelId,
    name: Annotated[
        str,
        typer.Argument(
            metavar="CLASS",
            help="Name of the class in predictions.",
            show_default=False,
        ),
    ],
    words: Annotated[
        str | None,
        typer.Option(help="Words for the prompt. Default: the name.", show_default=False),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Create a classifier with one more class, added by its name without photos.

    The old classifier is kept. Its figures do not apply to the new one; compare the two.
    """
    with service(url) as client:
        model = client.models.add_classes(find.model_id(client, model_id), {name: words})
    if as_json:
        print_json(model.model_dump(mode="json"))
    else:
        out.print(model_details(model))


def compare(
    a: ModelId,
    b: ModelId,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="Id of a data set; see `dspt jobs show`. Default: the one that both were tuned "
            "on. Without test photos: the photos that the jobs of both held out.",
            show_default=False,
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Use all photos, if neither model was tuned on any of them."),
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Compare two classifiers on the same test photos, class by class.

    Reports which one is right more often, and whether the difference is significant (McNemar).
    """
    with service(url) as client:
        sides = [find.model_or_alias(client, name) for name in (a, b)]
        found = client.models.compare(*sides, dataset_id=data, all=everything)
    document = found.model_dump(mode="json")
    if as_json:
        print_json(document)
        return
    names = {side: f"{document[side]['name']} ({document[side]['model']})" for side in ("a", "b")}
    out.print(f"Images of data set {found.dataset_id}: {_PARTS[found.part]}")
    out.print(comparison_tables({**document, "models": names}))
    if found.unreadable:
        out.print(f"{found.unreadable} files cannot be read.")
