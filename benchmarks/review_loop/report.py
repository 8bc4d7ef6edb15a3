"""Means over the seeds as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from benchmarks.skeleton.report import Spread, page, spread_note, table

Record = Mapping[str, Any]
LABELS = {"audit": "audit's order", "random": "random order"}


@dataclass(frozen=True)
class Point:
    """Means over the seeds after the same share of the training images has been reviewed."""

    share: float
    reviewed: float
    """Number of labels."""
    accuracy: Spread
    """Percent."""
    wrong_left: Spread
    gained_per_ten: Spread | None
    """Points of accuracy per ten reviewed labels; None before the first."""


def curve(records: Sequence[Record], order: str) -> list[Point]:
    """Return one point per share from the records of one data set."""
    by_share: dict[float, list[Mapping[str, Any]]] = {}
    for record in records:
        for point in record["points"]:
            if point["order"] == order:
                by_share.setdefault(point["share"], []).append(point)
    start = [point["accuracy"] for point in by_share[0.0]]
    return [
        Point(
            share=share,
            reviewed=fmean(point["reviewed"] for point in points),
            accuracy=Spread.of([100 * point["accuracy"] for point in points]),
            wrong_left=Spread.of([point["wrong_left"] for point in points]),
            gained_per_ten=Spread.of(
                [
                    1000 * (point["accuracy"] - before) / point["reviewed"]
                    for point, before in zip(points, start, strict=True)
                ]
            )
            if all(point["reviewed"] for point in points)
            else None,
        )
        for share, points in by_share.items()
    ]


def level(records: Sequence[Record], name: str) -> Spread:
    """Return the accuracy `zero_shot` or `all_right` in percent."""
    return Spread.of([100 * record[name] for record in records])


def markdown(document: Mapping[str, Any]) -> str:
    """Return the text of review_loop.md."""
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


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """Return review_loop.png and .svg: a column per data set; all share the y axes."""
    from benchmarks.skeleton import figures as fig

    orders = {
        "audit": fig.Style(LABELS["audit"], fig.BLUE, "o"),
        "random": fig.Style(LABELS["random"], fig.RED, "s", ":"),
    }
    levels = {"all_right": ("all labels correct", fig.GREEN), "zero_shot": ("zero-shot", fig.GREY)}
    datasets = document["datasets"]
    with fig.styled():
        figure = fig.new_figure(2.6 * max(2, len(datasets)) + 0.4, 4.8)
        panels = figure.subplots(2, len(datasets), squeeze=False, sharex="col", sharey="row")
        for (title, records), upper, lower in zip(datasets.items(), *panels, strict=True):
            upper.set_title(title)
            for name, (label, color) in levels.items():
                mean = level(records, name).mean
                upper.axhline(mean, color=color, linestyle="--", linewidth=1.2, label=label)
            for order, style in orders.items():
                points = curve(records, order)
                reviewed = [point.reviewed for point in points]
                fig.draw(upper, style, reviewed, [point.accuracy for point in points])
                fig.draw(lower, style, reviewed, [point.wrong_left for point in points])
            lower.set_ylim(bottom=0)
            lower.set_xlabel("labels reviewed")
        panels[0][0].set_ylabel("accuracy of this service %")
        panels[1][0].set_ylabel("wrong labels left")
        fig.legend_below(figure, panels[0], fig.band_note(document["settings"]["seeds"]))
        return fig.saved(figure, "review_loop")


def _section(records: Sequence[Record]) -> list[str]:
    wrong = Spread.of([record["wrong"] for record in records])
    first = ", ".join(str(record["images_encoded_first"]) for record in records)
    header = ["labels reviewed"] + [
        f"{column}, {label}"
        for column in ("accuracy", "points per 10 labels", "wrong labels left")
        for label in LABELS.values()
    ]
    rows = []
    for points in zip(*(curve(records, order) for order in LABELS), strict=True):
        row = [f"{points[0].reviewed:.0f} ({points[0].share:.0%})"]
        row += [point.accuracy.text() for point in points]
        row += [p.gained_per_ten.text("+.2f") if p.gained_per_ten else "" for p in points]
        rows.append([*row, *(point.wrong_left.text() for point in points)])
    return [
        f"{records[0]['images']} training images, {wrong.mean:.0f} of them with a wrong label; "
        f"{records[0]['test_images']} test images. Accuracy: zero-shot "
        f"{level(records, 'zero_shot').text()}, with all labels correct "
        f"{level(records, 'all_right').text()}. Images encoded by the first tuning of each seed: "
        f"{first}; by all later tunings: {sum(r['images_encoded_later'] for r in records)} (the "
        "feature store has the others).",
        "",
        *table(header, rows, left=0),
    ]
