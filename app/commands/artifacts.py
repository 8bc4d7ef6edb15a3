"""`dspt models card` and `dspt models export`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from app.commands import _find as find
from app.commands._service import AsJson, ModelId, Url, service
from dspt.cli.card import OutFile, show_card
from dspt.cli.export import Images, print_export, write_onnx
from dspt.cli.options import BackboneName
from dspt.cli.terminal import out, print_json


def card(model_id: ModelId, to: OutFile = None, url: Url = None, as_json: AsJson = False) -> None:
    """Show the model card of a classifier: training data, accuracy, settings, limits."""
    from dspt.report.card.schema import ModelCard

    with service(url) as client:
        show_card(
            ModelCard.model_validate(client.models.card(find.model_id(client, model_id))),
            to,
            as_json,
        )


def export(
    model_id: ModelId,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out", help="File or folder for the classifier.", show_default="MODEL.safetensors"
        ),
    ] = None,
    onnx: Annotated[
        Path | None,
        typer.Option(
            help="Write one ONNX file from photos to probabilities instead. It is built on this "
            "machine, with the backbone.",
            dir_okay=False,
        ),
    ] = None,
    check: Images = None,
    backbone: BackboneName = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Write a classifier to a file, for `dspt predict`, another service or ONNX Runtime."""
    with service(url) as client:
        model_id = find.model_id(client, model_id)
        if onnx is not None:
            with tempfile.TemporaryDirectory(prefix="dspt-") as folder:
                artifact = client.models.download(model_id, folder)
                comparison = write_onnx(artifact, onnx, backbone, check or ())
            print_export(comparison, onnx, as_json)
            return
        path = client.models.download(model_id, to or Path.cwd())
    if as_json:
        print_json({"model": model_id, "file": str(path), "bytes": path.stat().st_size})
    else:
        out.print(f"Saved {path} ({path.stat().st_size / 1024:.0f} KiB).", markup=False)
