"""`dspt predict`: classify images with a tuned classifier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track

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
from dspt.cli.options import AsJson, BackboneName, TunedFile
from dspt.cli.terminal import check_writable, err, errors_shown
from dspt.errors import ImageError
from dspt.kit.cpus import set_thread_defaults

if TYPE_CHECKING:
    from dspt.model.predict import ImageClassifier

BATCH = 32

DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


def predict(
    model: TunedFile,
    images: Images,
    top_k: TopK = 3,
    reject_below: RejectBelow = None,
    csv_file: CsvFile = None,
    backbone: BackboneName = None,
    device: DeviceOption = "auto",
    as_json: AsJson = False,
) -> None:
    """Classify images with a tuned classifier.

    An unreadable image is listed and does not affect the others; the exit status is then 1.
    """
    with errors_shown():
        files = image_files(images)
        if csv_file is not None:
            check_writable(csv_file)
        set_thread_defaults()
        from dspt.kit.device import resolve_device
        from dspt.model.artifact import load_model

        tuned = load_model(model)
        where = resolve_device(device)
        # Imported here because they take seconds to import.
        from dspt.kit.light_torch import import_light

        import_light()
        from dspt.backbones import load_backbone
        from dspt.model.predict import ImageClassifier

        name = backbone or tuned.manifest.config.backbone
        classifier = ImageClassifier(tuned, load_backbone(name, device=where))
        batches = [files[i : i + BATCH] for i in range(0, len(files), BATCH)]
        shown = track(batches, "classifying", console=err, disable=len(batches) < 2)
        answers = [answer for batch in shown for answer in _classify(classifier, batch, top_k)]
        for answer in answers:
            if answer.get("score", 1.0) < (reject_below or 0.0):
                del answer["label"]
                answer["rejected"] = True
        about = {"model": str(model), "served": tuned.manifest.served}
        print_answers(answers, csv_file, about if as_json else None)


def _classify(classifier: ImageClassifier, paths: list[Path], top_k: int) -> list[Answer]:
    from dspt.data import decode_image

    answers: list[Answer] = []
    images = []
    for path in paths:
        answer: Answer = {"file": str(path)}
        try:
            images.append(decode_image(path.read_bytes(), side=classifier.read_side))
        except OSError as error:
            answer |= read_error(error)
        except ImageError as error:
            answer["error"] = {"code": error.code, "message": error.message}
        answers.append(answer)
    found = iter(classifier.predict(images, top_k))
    for answer in answers:
        if "error" not in answer:
            top = [{"label": label, "score": score} for label, score in next(found)]
            answer |= {**top[0], "top": top}
    return answers
