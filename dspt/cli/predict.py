"""`dspt predict`: classify images with a tuned classifier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import track

from dspt.cli.options import AsJson
from dspt.cli.terminal import err, errors_shown, out, print_json, say
from dspt.cpus import set_thread_defaults
from dspt.errors import ImageError

if TYPE_CHECKING:
    from dspt.predict import Classifier

BATCH = 32


def predict(
    model: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="A tuned classifier (.safetensors) of dspt tune."
        ),
    ],
    images: Annotated[
        list[Path], typer.Argument(metavar="image", help="Image files.", show_default=False)
    ],
    top_k: Annotated[int, typer.Option(min=1, help="Classes to show for each image.")] = 3,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Where to load the backbone from, if not from where it was tuned.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Classify images with a tuned classifier.

    An image that cannot be read is named, the others are still classified; the exit status is
    then 1.
    """
    with errors_shown():
        set_thread_defaults()
        from dspt.artifact import load_model
        from dspt.device import resolve_device

        tuned = load_model(model)
        where = resolve_device(device)
        # Not earlier: they take seconds to import.
        from dspt.backbones import load_backbone
        from dspt.predict import Classifier

        name = backbone or tuned.manifest.config.backbone
        classifier = Classifier(tuned, load_backbone(name, device=where))
    batches = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    shown = track(batches, "classifying", console=err, disable=len(batches) < 2)
    predictions = [entry for batch in shown for entry in _classify(classifier, batch, top_k)]
    if as_json:
        print_json(
            {
                "model": str(model),
                "served": tuned.manifest.served,
                "predictions": predictions,
            }
        )
    else:
        for entry in predictions:
            _print(entry)
    if any("error" in entry for entry in predictions):
        raise typer.Exit(1)


def _classify(classifier: Classifier, paths: list[Path], top_k: int) -> list[dict[str, Any]]:
    from dspt.data import decode_image

    entries: list[dict[str, Any]] = []
    images = []
    for path in paths:
        entry: dict[str, Any] = {"file": str(path)}
        try:
            images.append(decode_image(path.read_bytes()))
        except OSError as error:
            entry["error"] = f"cannot be read: {error.strerror}"
        except ImageError as error:
            entry["error"] = error.message
        entries.append(entry)
    answers = iter(classifier.predict(images, top_k))
    for entry in entries:
        if "error" not in entry:
            top = [{"label": label, "score": score} for label, score in next(answers)]
            entry |= {**top[0], "top": top}
    return entries


def _print(entry: dict[str, Any]) -> None:
    if "error" in entry:
        say(f"{entry['file']}: {entry['error']}", "red")
        return
    top = ", ".join(f"{item['label']} {item['score']:.1%}" for item in entry["top"])
    out.print(f"{entry['file']}: {top}", markup=False, soft_wrap=True)
