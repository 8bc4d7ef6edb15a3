"""Means over the seeds as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.skeleton.report import Spread, page, spread_note, table

Record = Mapping[str, Any]
LABELS = {"audit": "audit's order", "random": "random order"}


def points(records: Sequence[Record], order: str) -> dict[float, list[Mapping[str, Any]]]:
    """Return share of the images reviewed -> a point per seed, from the records of a data set."""
    found: dict[float, list[Mapping[str, Any]]] = {}
    for record in records:
        for point in record["points"]:
            if point["order"] == order:
                found.setdefault(point["share"], []).append(point)
    return found


def markdown(document: Mapping[str, Any]) -> str:
    settings = document["settings"]
    return page(
        "What reviewing labels is worth",
        document,
        f"{settings['shots']} shots per class, {settings['rate']:.0%} wrong labels injected "
        f"({settings['kind']}, {settings['protocol']}), {settings['config']['backbone']}. A "
        "simulated person reviews the first labels of the audit, or as many in random order, and "
        "corrects the wrong ones; then a new classifier is tuned. Accuracy of this service in "
        f"percent on clean test images, {spread_note(settings['seeds'])}.",
        *(
            block
            for name, records in document["datasets"].items()
            for block in (f"## {name}", _section(records))
        ),
    )


def _section(records: Sequence[Record]) -> list[str]:
    wrong = Spread.of([record["wrong"] for record in records])
    columns = ("accuracy", "wrong labels left")
    header = [f"{column}, {label}" for column in columns for label in LABELS.values()]
    rows = []
    for of_share in zip(*(points(records, order).items() for order in LABELS), strict=True):
        (share, first), *_ = of_share
        rows.append(
            [
                f"{fmean(point['reviewed'] for point in first):.0f} ({share:.0%})",
                *(_spread(found, "accuracy", 100) for _, found in of_share),
                *(_spread(found, "wrong_left", 1) for _, found in of_share),
            ]
        )
    return [
        f"{records[0]['images']} training images, {wrong.mean:.0f} of them with a wrong label; "
        f"{records[0]['test_images']} test images. Accuracy: zero-shot "
        f"{_spread(records, 'zero_shot', 100)}, with all labels correct "
        f"{_spread(records, 'all_right', 100)}.",
        "",
        *table(["labels reviewed", *header], rows, left=0),
    ]


def _spread(found: Sequence[Mapping[str, Any]], name: str, factor: float) -> str:
    return Spread.of([factor * each[name] for each in found]).text()
