"""`dspt predict`, extended to the models of a service."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import _find as find
from app.commands._service import AsJson, Url, service
from dspt.cli.answers import (
    Answer,
    CsvFile,
    Images,
    RejectBelow,
    TopK,
    image_files,
    print_answers,
    read_error,
)
from dspt.cli.options import BackboneName
from dspt.cli.predict import DeviceOption
from dspt.cli.predict import predict as predict_here
from dspt.cli.terminal import check_writable

if TYPE_CHECKING:
    from dspt_client import Client


def predict(
    model: Annotated[
        str,
        typer.Argument(
            help="A tuned classifier: a file (.safetensors), or a model of the service by its id, "
            "a unique beginning of it, its name or an alias.",
            show_default=False,
        ),
    ],
    images: Images,
    top_k: TopK = 3,
    reject_below: RejectBelow = None,
    csv_file: CsvFile = None,
    backbone: BackboneName = None,
    device: DeviceOption = "auto",
    capture: Annotated[
        bool,
        typer.Option(
            "--capture", help="Let the service keep the photos and answers, for dspt feedback."
        ),
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Classify images with a classifier from a file or from a service.

    A file is used on this machine, without a service; --backbone and --device apply to that only.
    An unreadable image is listed and does not affect the others; the exit status is then 1.
    """
    if _is_file(model):
        if not Path(model).is_file():
            why = "is a folder, not a classifier" if Path(model).is_dir() else "does not exist"
            raise typer.BadParameter(f"{model!r} {why}.", param_hint="'MODEL'")
        if capture:
            raise typer.BadParameter("--capture needs a model of a service, not a file.")
        predict_here(Path(model), images, top_k, reject_below, csv_file, backbone, device, as_json)
        return
    if backbone is not None or device != "auto":
        raise typer.BadParameter(
            f"--backbone and --device apply to a classifier in a file only; {model!r} is not a "
            "file. A service has its own backbone and device."
        )
    with service(url) as client:
        files = image_files(images)
        if csv_file is not None:
            check_writable(csv_file)
        name = find.model_or_alias(client, model)
        about, answers = _ask(client, name, files, top_k, reject_below, capture)
        print_answers(answers, csv_file, about if as_json else None)


def _is_file(model: str) -> bool:
    """Return whether `model` names a file, existing or not, instead of a model of a service."""
    return Path(model).exists() or len(Path(model).parts) > 1 or model.endswith(".safetensors")


def _ask(
    client: Client,
    model: str,
    files: Sequence[Path],
    top_k: int,
    reject_below: float | None,
    capture: bool,
) -> tuple[Answer, list[Answer]]:
    """Return the service's answer about itself, and an answer for each file."""
    from dspt_client._bar import Bar

    answers: list[Answer] = [{"file": str(file)} for file in files]
    readable = _readable(answers)
    first = next(readable, None)
    if first is None:
        return {"model": model}, answers
    with Bar("classifying") as bar:
        response = client.predict(
            model,
            chain([first], readable),
            top_k=top_k,
            reject_below=reject_below,
            capture=capture,
            on_progress=lambda stage, done, _: bar.advance(stage, done, len(files)),
        )
    found = iter(response.predictions)
    for answer in answers:
        if "error" not in answer:
            answer |= next(found).model_dump(mode="json", exclude_none=True, exclude={"file"})
    return response.model_dump(mode="json", exclude_none=True, exclude={"predictions"}), answers


def _readable(answers: Sequence[Answer]) -> Iterator[io.BytesIO]:
    """Yield the contents of the files; an unreadable file gets an error in its answer."""
    for answer in answers:
        try:
            image = io.BytesIO(Path(answer["file"]).read_bytes())
        except OSError as error:
            answer |= read_error(error)
            continue
        image.name = Path(answer["file"]).name
        yield image
