"""Print the demo's results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dspt_client import Audit
from dspt_client.schemas.predictions import Prediction
from rich.console import Console
from rich.table import Table

from app.datasets.demo_photos import PHOTOGRAPHS, TEST_CROPS, TRAIN_CROPS, DemoData

_SUSPECTS_SHOWN = 12


def print_data(console: Console, data: DemoData) -> None:
    """Print what the data set holds."""
    licences = Counter(photograph.licence for photograph in PHOTOGRAPHS)
    train, test = (len(PHOTOGRAPHS) * crops for crops in (TRAIN_CROPS, TEST_CROPS))
    console.print(
        f"Data: crops of {len(PHOTOGRAPHS)} photographs that come with scikit-image (licences: "
        f"{', '.join(f'{n} {licence}' for licence, n in licences.most_common())}).\n"
        f"{train} training images, {len(data.planted)} of them with a wrong label on purpose; "
        f"{test} test images, all labelled correctly.\n"
    )


def print_accuracy(console: Console, metrics: Mapping[str, Any]) -> None:
    """Print the accuracy of each classifier on the test images, and which one is served."""
    images = metrics["tuned"]["images"]
    console.print(f"Accuracy on the {images} test images:")
    table = Table("classifier", "accuracy")
    names = {"zero_shot": "zero-shot", "prompt": "tuned prompt alone", "tuned": "tuned"}
    for key, name in names.items():
        served = " (served)" if metrics["served"] == key else ""
        table.add_row(name + served, f"{metrics[key]['accuracy']:.1%}")
    console.print(table)
    console.print(f"{metrics['why']}\n")


def print_audit(console: Console, audit: Audit, planted: Mapping[str, str]) -> None:
    """Print the suspected labels with their true classes."""
    suspects = audit.to_check
    if not audit.can_tell:
        console.print(f"The audit cannot tell: {audit.why}\n")
        return
    console.print("Labels to check, most suspicious first:")
    table = Table("file", "label", "suggested", "truth")
    for entry in suspects[:_SUSPECTS_SHOWN]:
        truth = planted.get(entry.file, entry.given)
        colour = "green" if truth == entry.suggested else "red"
        table.add_row(entry.file, entry.given, f"[{colour}]{entry.suggested}[/]", truth)
    console.print(table)
    if len(suspects) > _SUSPECTS_SHOWN:
        console.print(f"... and {len(suspects) - _SUSPECTS_SHOWN} more")
    found = sum(entry.file in planted for entry in suspects)
    corrected = sum(planted.get(entry.file) == entry.suggested for entry in suspects)
    console.print(
        f"{len(suspects)} suspected labels; {found} of the {len(planted)} wrong labels are among "
        f"them: precision {found / max(1, len(suspects)):.0%}, recall {found / len(planted):.0%}. "
        f"The suggested class is correct for {corrected}.\n"
    )


def print_predictions(console: Console, predictions: Sequence[Prediction], data: DemoData) -> None:
    """Print the predictions for the images that were not in the zip."""
    console.print("New images, sent to /predict:")
    table = Table("file", "prediction", "score", "truth")
    correct = 0
    for image, prediction in zip(data.unseen, predictions, strict=True):
        is_correct = prediction.label == image.truth
        correct += is_correct
        colour = "green" if is_correct else "red"
        table.add_row(
            image.name,
            f"[{colour}]{prediction.label}[/]",
            "" if prediction.score is None else f"{prediction.score:.2f}",
            image.truth,
        )
    console.print(table)
    console.print(f"{correct} of {len(data.unseen)} correct.\n")
