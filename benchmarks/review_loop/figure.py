"""Accuracy and wrong labels left against the number of labels reviewed: a column per data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from benchmarks.noise_robustness.style import Style, new_figure, saved, styled
from benchmarks.review_loop.measure import ORDERS
from benchmarks.review_loop.summary import LABELS, Record, Spread, curve, level

WIDTH, HEIGHT = 2.4, 2.1  # inches of one panel

STYLES = {
    "audit": Style(LABELS["audit"], "#0072B2", "o"),
    "random": Style(LABELS["random"], "#D55E00", "s", ":"),
    "all_right": Style("all labels right", "#009E73", "", "--"),
    "zero_shot": Style("zero-shot", "#555555", "", "--"),
}


def figures(document: Mapping[str, Any], name: str) -> dict[str, bytes]:
    """`name`.png and `name`.svg."""
    datasets = document["datasets"]
    with styled():
        figure = new_figure(WIDTH * len(datasets) + 0.4, 2 * HEIGHT + 0.4)
        panels = figure.subplots(2, len(datasets), squeeze=False, sharex="col")
        for column, (title, records) in enumerate(datasets.items()):
            upper, lower = panels[0][column], panels[1][column]
            upper.set_title(title)
            _accuracy(upper, records)
            _wrong_left(lower, records)
            lower.set_xlabel("labels reviewed")
            lower.set_ylim(bottom=0)
        panels[0][0].set_ylabel("accuracy %")
        panels[1][0].set_ylabel("wrong labels left")
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2 * min(2, len(datasets)))
        return saved(figure, name)


def _accuracy(axes: Axes, records: Sequence[Record]) -> None:
    for name in ("all_right", "zero_shot"):
        style = STYLES[name]
        axes.axhline(
            level(records, name).mean,
            color=style.color,
            linestyle=style.line,
            linewidth=style.width,
            label=style.label,
        )
    for order in ORDERS:
        points = curve(records, order)
        _line(axes, STYLES[order], [p.reviewed for p in points], [p.accuracy for p in points])


def _wrong_left(axes: Axes, records: Sequence[Record]) -> None:
    for order in ORDERS:
        points = curve(records, order)
        _line(axes, STYLES[order], [p.reviewed for p in points], [p.wrong_left for p in points])


def _line(axes: Axes, style: Style, x: Sequence[float], y: Sequence[Spread]) -> None:
    means = [spread.mean for spread in y]
    axes.plot(
        x,
        means,
        style.line,
        color=style.color,
        marker=style.marker,
        linewidth=style.width,
        label=style.label,
    )
    low = [spread.mean - (spread.std or 0) for spread in y]
    high = [spread.mean + (spread.std or 0) for spread in y]
    axes.fill_between(x, low, high, color=style.color, alpha=0.12, linewidth=0)
