"""`dspt predict` where there is a service: it can be asked, too."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands._service import AsJson, Url, service
from dspt.cli.answers import (
    Answer,
    CsvFile,
    Images,
    RejectBelow,
    TopK,
    image_files,
    tell,
    unreadable,
)
from dspt.cli.predict import BackboneOption, DeviceOption
from dspt.cli.predict import predict as predict_here
from dspt.cli.terminal import check_writable

if TYPE_CHECKING:
    from dspt_client import Client


def predict(
    model: Annotated[
        str,
        typer.Argument(
            help="A tuned classifier: a file (.safetensors), or the id or an alias of one that a "
            "service has.",
            show_default=False,
        ),
    ],
    images: Images,
    top_k: TopK = 3,
    reject_below: RejectBelow = None,
    csv_file: CsvFile = None,
    backbone: BackboneOption = None,
    device: DeviceOption = "auto",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Classify images, with a classifier in a file or with one of a service.

    A file is used on this machine, without a service; --backbone and --device are for that. An
    image that cannot be read is named, the others are still classified; the exit status is then 1.
    """
    if _is_file(model):
        if not Path(model).is_file():
            raise typer.BadParameter(f"File {model!r} does not exist.", param_hint="'MODEL'")
        predict_here(Path(model), images, top_k, reject_below, csv_file, backbone, device, as_json)
        return
    if backbone is not None or device != "auto":
        raise typer.BadParameter(
            f"--backbone and --device are for a classifier in a file, and {model!r} is none: a "
            "service has a backbone and a device of its own."
        )
    with service(url) as client:
        files = image_files(images)
        if csv_file is not None:
            check_writable(csv_file)
        about, answers = _ask(client, model, files, top_k, reject_below)
        tell(answers, csv_file, about if as_json else None)


def _is_file(model: str) -> bool:
    """Whether it names a file, be it there or not; else it is what a service goes by."""
    return Path(model).exists() or len(Path(model).parts) > 1 or model.endswith(".safetensors")


def _ask(
    client: Client, model: str, files: Sequence[Path], top_k: int, reject_below: float | None
) -> tuple[Answer, list[Answer]]:
    """What the service answers: of itself, and to each file that can be read."""
    from dspt_client._bar import Bar

    answers: list[Answer] = [{"file": str(file)} for file in files]
    readable = _readable(answers)
    first = next(readable, None)
    if first is None:
        return {"model": model}, answers
    with Bar("classifying") as bar:
        said = client.predict(
            model,
            chain([first], readable),
            top_k=top_k,
            reject_below=reject_below,
            on_progress=lambda stage, done, _: bar.advance(stage, done, len(files)),
        )
    found = iter(said.predictions)
    for answer in answers:
        if "error" not in answer:
            answer |= next(found).model_dump(mode="json", exclude_none=True, exclude={"file"})
    return said.model_dump(mode="json", exclude_none=True, exclude={"predictions"}), answers


def _readable(answers: Sequence[Answer]) -> Iterator[io.BytesIO]:
    """The files' contents one by one; what cannot be read is told in its answer."""
    for answer in answers:
        try:
            image = io.BytesIO(Path(answer["file"]).read_bytes())
        except OSError as error:
            answer |= unreadable(error)
            continue
        image.name = Path(answer["file"]).name
        yield image
