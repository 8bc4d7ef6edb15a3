"""`dspt models add-class` and `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import _find as find
from app.commands._service import (
    FAILED,
    AsJson,
    ModelA,
    ModelB,
    ModelId,
    Url,
    end,
    in_command_words,
    print_view,
    service,
)
from app.commands._tables import model_details
from dspt.cli.compare import comparison_tables
from dspt.cli.terminal import out, print_json
from dspt.kit.text import counted

if TYPE_CHECKING:
    from dspt_client import Client
    from dspt_client.schemas.comparisons import ComparisonView

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
    print_view(model, as_json, model_details(model))


def compare(
    a: ModelA,
    b: ModelB,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Id of a data set (see `dspt datasets list`), or a folder or zip, which is "
            "uploaded. Default: the one that both were tuned on. Without test photos: the photos "
            "that the jobs of both held out.",
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
    """Compare two classifiers on the same test photos, class by class, by a worker.

    Reports which one is right more often, and whether the difference is significant (McNemar).
    """
    with service(url) as client:
        sides = [find.model_or_alias(client, name) for name in (a, b)]
        found = _compared(client, sides, data, everything)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        print_comparison(found)


def print_comparison(found: ComparisonView) -> None:
    """Print the result of a comparison."""
    document = found.model_dump(mode="json")
    names = {side: f"{document[side]['name']} ({document[side]['model']})" for side in ("a", "b")}
    out.print(f"Images of data set {found.dataset_id}: {_PARTS[found.part]}")
    out.print(comparison_tables({**document, "models": names}))
    if found.unreadable:
        out.print(f"Cannot be read: {counted(found.unreadable, 'file')}.")


def _compared(
    client: Client, sides: Sequence[str], data: str | None, everything: bool
) -> ComparisonView:
    """Return the result of a comparison. Exits if it fails."""
    from dspt_client._bar import Bar

    with Bar("comparing") as bar:
        a, b = sides
        made = client.comparisons.create(a, b, data, all=everything, on_progress=bar.advance)
        found = client.comparisons.wait(made.id, on_progress=bar.advance)
    if found.result is not None:
        return found.result
    if found.error is not None:
        raise end(in_command_words(found.error.message), FAILED)
    raise end(f"{found.id} was {found.status}", FAILED)
