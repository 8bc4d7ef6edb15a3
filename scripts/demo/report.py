"""What the demo prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from app.client import Audit
from app.predictions.schemas import Prediction
from scripts.demo.data import PHOTOGRAPHS, TEST_CROPS, TRAIN_CROPS, DemoData

_SUSPECTS_SHOWN = 12


def print_data(console: Console, data: DemoData) -> None:
    """What is about to be sent."""
    licences = Counter(photograph.licence for photograph in PHOTOGRAPHS)
    train, test = (len(PHOTOGRAPHS) * crops for crops in (TRAIN_CROPS, TEST_CROPS))
    console.print(
        f"Data: crops of {len(PHOTOGRAPHS)} photographs that come with scikit-image (licences: "
        f"{', '.join(f'{n} {licence}' for licence, n in licences.most_common())}).\n"
        f"{train} to train on, {len(data.planted)} of them filed under a wrong class on purpose; "
        f"{test} to test on, all filed right.\n"
    )


def print_accuracy(console: Console, metrics: Mapping[str, Any]) -> None:
    """The classifiers on the test part, and which of them is served."""
    images = metrics["tuned"]["images"]
    console.print(f"Accuracy on the {images} test images:")
    table = Table("classifier", "accuracy")
    names = {"zero_shot": "zero-shot", "prompt": "tuned prompt alone", "tuned": "tuned"}
    for key, name in names.items():
        served = " (served)" if metrics["served"] == key else ""
        table.add_row(name + served, f"{metrics[key]['accuracy']:.1%}")
    console.print(table)
    console.print(f"Why: {metrics['why']}\n")


def print_audit(console: Console, audit: Audit, planted: Mapping[str, str]) -> None:
    """The suspected labels beside the planted ones."""
    suspects = audit.to_check
    if not audit.can_tell:
        console.print(f"The audit cannot tell: {audit.why}\n")
        return
    console.print("Labels to check, the most suspicious first:")
    table = Table("file", "filed under", "suggested", "truth")
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
        f"{len(suspects)} labels suspected, {len(planted)} were planted, {found} of them found: "
        f"precision {found / max(1, len(suspects)):.0%}, recall {found / len(planted):.0%}. "
        f"For {corrected} the class suggested is the true one.\n"
    )


def print_predictions(console: Console, predictions: Sequence[Prediction], data: DemoData) -> None:
    """The answers to images that were not in the zip."""
    console.print("Images that it has not seen, sent to /predict:")
    table = Table("file", "answer", "score", "truth")
    right = 0
    for image, prediction in zip(data.unseen, predictions, strict=True):
        is_right = prediction.label == image.truth
        right += is_right
        colour = "green" if is_right else "red"
        table.add_row(
            image.name,
            f"[{colour}]{prediction.label}[/]",
            "" if prediction.score is None else f"{prediction.score:.2f}",
            image.truth,
        )
    console.print(table)
    console.print(f"{right} of {len(data.unseen)} right.\n")
