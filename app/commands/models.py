"""`dspt models`: the tuned classifiers of a service."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from app.commands import _find as find
from app.commands import aliases, artifacts, feedback, releases
from app.commands._service import (
    AsJson,
    Limit,
    ModelId,
    Name,
    Url,
    WithMetadata,
    group,
    pairs,
    print_deleted,
    print_list,
    print_view,
    service,
)
from app.commands._tables import model_details, models_table

models = group("The tuned classifiers of a service.")


@models.command("list")
def list_models(
    name: Name = None,
    metadata: WithMetadata = None,
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List tuned classifiers, newest first."""
    own = pairs(metadata)
    with service(url) as client:
        found = list(islice(client.models.list(name=name, metadata=own), limit))
    print_list(found, as_json, models_table, "No models.")


@models.command()
def show(model_id: ModelId, url: Url = None, as_json: AsJson = False) -> None:
    """Show a classifier."""
    with service(url) as client:
        model = client.models.get(find.model_id(client, model_id))
    print_view(model, as_json, model_details(model))


@models.command("import")
def import_model(
    artifact: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="A tuned classifier (.safetensors).",
            show_default=False,
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Default: the name of the file.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Upload a classifier that was tuned elsewhere."""
    with service(url) as client:
        model = client.models.upload(artifact, name=name)
    print_view(model, as_json, model_details(model))


@models.command()
def delete(model_id: ModelId, url: Url = None, as_json: AsJson = False) -> None:
    """Delete a classifier and its file. The job that created it is kept."""
    with service(url) as client:
        deleted = find.model_id(client, model_id)
        client.models.delete(deleted)
    print_deleted("model", deleted, as_json)


for command in (aliases.promote, aliases.rollback, aliases.aliases, aliases.unalias):
    models.command()(command)
models.command("add-class")(releases.add_class)
models.command()(releases.compare)
models.command()(feedback.predictions)
models.command()(artifacts.card)
models.command()(artifacts.export)
