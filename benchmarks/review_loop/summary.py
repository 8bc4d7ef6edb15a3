"""Means over the seeds, as a Markdown table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.review_loop.measure import ORDERS, Order

Record = Mapping[str, Any]
LABELS: dict[Order, str] = {"audit": "audit's order", "random": "random order"}


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over the seeds; none of one seed."""

    mean: float
    std: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)

    def shown(self, form: str = ".1f") -> str:
        spread = "" if self.std is None else f" ± {self.std:{form.lstrip('+')}}"
        return f"{self.mean:{form}}{spread}"


@dataclass(frozen=True)
class Point:
    """After the same share of the training images has been looked at, over the seeds."""

    share: float
    reviewed: float
    """Labels."""
    accuracy: Spread
    """Percent."""
    wrong_left: Spread
    gained_per_ten: Spread | None
    """Points of accuracy for ten labels reviewed; None where none were."""


def curve(records: Sequence[Record], order: Order) -> list[Point]:
    """One point for each share, of the records of one data set."""
    found = []
    for share in dict.fromkeys(p["share"] for p in records[0]["points"]):
        points = [_point(record, order, share) for record in records]
        gains = [
            1000 * (p["accuracy"] - _point(record, order, 0.0)["accuracy"]) / p["reviewed"]
            for record, p in zip(records, points, strict=True)
            if p["reviewed"]
        ]
        found.append(
            Point(
                share=share,
                reviewed=statistics.fmean(p["reviewed"] for p in points),
                accuracy=Spread.of([100 * p["accuracy"] for p in points]),
                wrong_left=Spread.of([p["wrong_left"] for p in points]),
                gained_per_ten=Spread.of(gains) if gains else None,
            )
        )
    return found


def level(records: Sequence[Record], name: str) -> Spread:
    """`zero_shot` or `all_right`, in percent."""
    return Spread.of([100 * record[name] for record in records])


def markdown(document: Mapping[str, Any]) -> str:
    """What the command prints and writes."""
    settings = document["settings"]
    seeds = settings["seeds"]
    lines = [
        "# What it pays to review labels",
        "",
        f"{settings['shots']} shots per class, {settings['rate']:.0%} wrong labels planted "
        f"({settings['kind']}, {settings['protocol']}), {settings['config']['backbone']}, "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}. A simulated "
        "person looks at the first labels of the audit, or at as many drawn at random, and puts "
        "right those that are wrong; then a new classifier is tuned. Accuracy of what is served, "
        "in percent on clean test images: mean ± standard deviation over the seeds.",
    ]
    for name, records in document["datasets"].items():
        lines += ["", *_section(name, records)]
    versions = ", ".join(f"{k} {v}" for k, v in document["versions"].items())
    lines += ["", f"Machine: {document['machine']}. {versions}.", "", f"    {document['command']}"]
    return "\n".join(lines) + "\n"


def _section(name: str, records: Sequence[Record]) -> list[str]:
    by_order = {order: curve(records, order) for order in ORDERS}
    wrong = Spread.of([record["wrong"] for record in records])
    lines = [
        f"## {name}",
        "",
        f"{records[0]['images']} training images, {wrong.mean:.0f} filed wrong; "
        f"{records[0]['test_images']} test images. Zero-shot "
        f"{level(records, 'zero_shot').shown()}, with all labels put right "
        f"{level(records, 'all_right').shown()}. Images encoded, as the feature store had not got "
        f"them: by the first tuning of each seed "
        f"{', '.join(str(r['images_encoded_first']) for r in records)}, by the others "
        f"{sum(r['images_encoded_later'] for r in records)}.",
        "",
        "| labels reviewed | " + " | ".join(f"accuracy, {LABELS[o]}" for o in ORDERS) + " | "
        + " | ".join(f"points per 10 labels, {LABELS[o]}" for o in ORDERS) + " | "
        + " | ".join(f"wrong labels left, {LABELS[o]}" for o in ORDERS) + " |",
        "|---:" * (1 + 3 * len(ORDERS)) + "|",
    ]  # fmt: skip
    for points in zip(*by_order.values(), strict=True):
        gains = [p.gained_per_ten.shown("+.2f") if p.gained_per_ten else "" for p in points]
        cells = [
            f"{points[0].reviewed:.0f} ({points[0].share:.0%})",
            *(p.accuracy.shown() for p in points),
            *gains,
            *(p.wrong_left.shown() for p in points),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _point(record: Record, order: Order, share: float) -> Mapping[str, Any]:
    points = record["points"]
    found: Mapping[str, Any] = next(
        p for p in points if p["order"] == order and p["share"] == share
    )
    return found
