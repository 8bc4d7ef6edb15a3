"""`dspt feedback`: correct classes of photos that a service has classified and kept."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer
from dspt_client.schemas.feedback import Order

from app.commands import _find as find
from app.commands._follow import Watch, follow
from app.commands._service import (
    AsJson,
    Limit,
    ModelId,
    Url,
    group,
    print_deleted,
    print_list,
    print_view,
    service,
)
from app.commands._tables import captured_table

feedback = group("Correct classes of photos that a service has classified with --capture.")

PredictionId = Annotated[
    str,
    typer.Argument(
        metavar="PREDICTION",
        help="Id of a captured prediction (prd_...); see `dspt models predictions`.",
        show_default=False,
    ),
]


@feedback.command()
def give(
    prediction: PredictionId,
    label: Annotated[
        str, typer.Argument(help="The correct class; it may be a new one.", show_default=False)
    ],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Give the correct class of a photo; the newest feedback counts."""
    with service(url) as client:
        found = client.feedback.give(prediction, label)
    print_view(found, as_json, f"{found.id}: {found.label} (predicted: {found.predicted})")


@feedback.command()
def delete(prediction: PredictionId, url: Url = None, as_json: AsJson = False) -> None:
    """Delete a captured prediction, its photo and the feedback on it."""
    with service(url) as client:
        client.feedback.delete(prediction)
    print_deleted("prediction", prediction, as_json)


@feedback.command()
def retrain(
    model: ModelId,
    name: Annotated[
        str | None, typer.Option(help="Name of the job. Default: the name of the model.")
    ] = None,
    watch: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Tune again with all photos of a classifier that have feedback.

    They are added to the photos that it was tuned on, and their labels count as confirmed. The
    new job shows the difference.
    """
    with service(url) as client:
        job = client.jobs.retrain(find.model_or_alias(client, model), name=name)
        follow(job, watch, as_json)


def predictions(
    model: ModelId,
    order: Annotated[
        Order,
        typer.Option(
            help="`uncertain`: the least certain first. `instructive`: photos without feedback "
            "whose labels would teach the model the most."
        ),
    ] = "newest",
    labelled: Annotated[
        bool | None,
        typer.Option(
            "--labelled/--unlabelled",
            help="Only those with feedback, or without.",
            show_default=False,
        ),
    ] = None,
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the predictions of a classifier whose photos were kept (--capture)."""
    with service(url) as client:
        name = find.model_or_alias(client, model)
        listed = client.feedback.list(name, order=order, labelled=labelled)
        found = list(islice(listed, limit))
    print_list(found, as_json, captured_table, "No captured predictions.")
