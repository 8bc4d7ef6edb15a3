"""Latency, event lag and memory over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from benchmarks.load.summary import MOST_P99
from benchmarks.noise_robustness.style import Style, new_figure, saved, styled

WIDTH, HEIGHT = 2.6, 2.2  # inches of one panel

_P50, _P99 = Style("p50", "#0072B2", "", width=1.0), Style("p99", "#D55E00", "")
_PARTS = {
    "API": Style("API", "#0072B2", "", width=1.6),
    "worker": Style("worker", "#D55E00", "", "--"),
    "PostgreSQL": Style("PostgreSQL", "#009E73", "", "-."),
    "Redis": Style("Redis", "#CC79A7", "", ":"),
}


def figures(document: Mapping[str, Any], name: str) -> dict[str, bytes]:
    """`name`.png and `name`.svg."""
    over_time = document["figures"]["over_time"]
    with styled():
        figure = new_figure(3 * WIDTH, HEIGHT)
        polls, lag, memory = figure.subplots(1, 3)
        _percentiles(polls, over_time["polls"], "polls: milliseconds")
        polls.axhline(1000 * MOST_P99, color="#555555", linestyle="--", linewidth=1, label="goal")
        _percentiles(lag, over_time["event_lag"], "event lag: milliseconds")
        for part, style in _PARTS.items():
            points = over_time["memory_mib"][part]
            _line(memory, style, points, [point["mib"] for point in points])
        memory.set_title("memory: MiB")
        for panel in (polls, lag, memory):
            panel.set_xlabel("minutes")
            panel.set_ylim(bottom=0)
            panel.legend()
        return saved(figure, name)


def _percentiles(axes: Axes, points: Sequence[Mapping[str, float]], title: str) -> None:
    for key, style in (("p50", _P50), ("p99", _P99)):
        _line(axes, style, points, [1000 * point[key] for point in points])
    axes.set_title(title)


def _line(
    axes: Axes, style: Style, points: Sequence[Mapping[str, float]], values: Sequence[float]
) -> None:
    axes.plot(
        [point["at"] / 60 for point in points],
        values,
        style.line,
        color=style.color,
        linewidth=style.width,
        label=style.label,
    )
