"""`dspt models add-class`, `compare` and `merge`: what is made of finished classifiers."""

from __future__ import annotations

from typing import Annotated

import typer

from app.commands._service import AsJson, ModelId, Url, service
from app.commands._tables import model_details
from dspt.cli.terminal import out, print_json


def add_class(
    model_id: ModelId,
    name: Annotated[
        str,
        typer.Argument(
            metavar="CLASS",
            help="Name of the class, as it is to stand in predictions.",
            show_default=False,
        ),
    ],
    words: Annotated[
        str | None,
        typer.Option(help="Words for it in the prompt. Left out: the name.", show_default=False),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a new classifier that knows one more class by its name, without a photo of it.

    The old one stays. What was measured for it does not hold for the new one: compare them.
    """
    with service(url) as client:
        model = client.models.add_classes(model_id, {name: words})
    if as_json:
        print_json(model.model_dump(mode="json"))
    else:
        out.print(model_details(model))
