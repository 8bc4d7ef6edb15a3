"""Accuracy and wrong labels left against the number of reviewed labels; a column per data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.review_loop.summary import LABELS, curve, level
from benchmarks.skeleton.figures import (
    BLUE,
    GREEN,
    GREY,
    RED,
    Style,
    band_note,
    draw,
    legend_below,
    new_figure,
    saved,
    styled,
)

WIDTH, HEIGHT = 2.6, 2.1  # inches per panel
ORDERS = {
    "audit": Style(LABELS["audit"], BLUE, "o"),
    "random": Style(LABELS["random"], RED, "s", ":"),
}
LEVELS = {
    "all_right": Style("all labels correct", GREEN, "", "--"),
    "zero_shot": Style("zero-shot", GREY, "", "--"),
}


def figures(document: Mapping[str, Any], name: str) -> dict[str, bytes]:
    """Return `name`.png and `name`.svg. All data sets share the y axes."""
    datasets = document["datasets"]
    with styled():
        figure = new_figure(WIDTH * max(2, len(datasets)) + 0.4, 2 * HEIGHT + 0.6)
        panels = figure.subplots(2, len(datasets), squeeze=False, sharex="col", sharey="row")
        for (title, records), upper, lower in zip(datasets.items(), *panels, strict=True):
            upper.set_title(title)
            for level_name, style in LEVELS.items():
                upper.axhline(
                    level(records, level_name).mean,
                    color=style.color,
                    linestyle=style.line,
                    linewidth=style.width,
                    label=style.label,
                )
            for order, style in ORDERS.items():
                points = curve(records, order)
                reviewed = [point.reviewed for point in points]
                draw(upper, style, reviewed, [point.accuracy for point in points])
                draw(lower, style, reviewed, [point.wrong_left for point in points])
            lower.set_ylim(bottom=0)
            lower.set_xlabel("labels reviewed")
        panels[0][0].set_ylabel("accuracy of this service %")
        panels[1][0].set_ylabel("wrong labels left")
        legend_below(figure, panels[0], band_note(document["settings"]["seeds"]))
        return saved(figure, name)
