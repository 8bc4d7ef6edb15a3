"""Accuracy against the share of wrong labels: a panel per data set, a row per kind of noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from benchmarks.noise_robustness.settings import CLEAN
from benchmarks.noise_robustness.style import STYLES, new_figure, saved, styled
from benchmarks.noise_robustness.summary import Results

PANEL = 2.3  # inches
LEGEND_COLUMN = 1.7  # inches
MAX_TICKS = 4


def accuracy_figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """File name -> content: PNG and SVG of each number of shots and protocol with planted noise."""
    records = document["cells"]
    found: dict[str, bytes] = {}
    for shots in sorted({record["shots"] for record in records}):
        results = Results([record for record in records if record["shots"] == shots])
        for protocol, noises in results.sections().items():
            if protocol in ("global", "per_class"):
                found |= _figure(results, noises, f"accuracy-{protocol}-{shots}shot")
    return found


def _figure(results: Results, noises: Sequence[str], name: str) -> dict[str, bytes]:
    kinds = list(dict.fromkeys(results.noises[n]["kind"] for n in noises if n != CLEAN.name))
    with styled():
        width = PANEL * len(results.datasets) + 0.4
        figure = new_figure(width, PANEL * len(kinds) * 0.9 + 0.5)
        panels = figure.subplots(
            len(kinds), len(results.datasets), squeeze=False, sharex=True, sharey="col"
        )
        for row, kind in zip(panels, kinds, strict=True):
            columns = [n for n in noises if n == CLEAN.name or results.noises[n]["kind"] == kind]
            for axes, dataset in zip(row, results.datasets, strict=True):
                _panel(axes, results, dataset, columns)
            row[0].set_ylabel(f"{kind}\naccuracy %")
        for axes, dataset in zip(panels[0], results.datasets, strict=True):
            axes.set_title(dataset)
        for axes in panels[-1]:
            axes.set_xlabel("wrong labels %")
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=int(width / LEGEND_COLUMN))
        return saved(figure, name)


def _panel(axes: Axes, results: Results, dataset: str, noises: Sequence[str]) -> None:
    # the default last, so that it lies on top
    for method in sorted(results.methods, key=lambda name: name == "default"):
        style = STYLES[method]
        points = [
            (100 * results.noises[noise]["rate"], score)
            for noise in noises
            if (score := results.score(method, dataset, noise)) is not None
        ]
        if not points:
            continue
        rates = [rate for rate, _ in points]
        means = [score.mean for _, score in points]
        axes.plot(
            rates,
            means,
            style.line,
            color=style.color,
            marker=style.marker or None,
            linewidth=style.width,
            label=style.label,
        )
        low = [score.mean - (score.std or 0) for _, score in points]
        high = [score.mean + (score.std or 0) for _, score in points]
        axes.fill_between(rates, low, high, color=style.color, alpha=0.12, linewidth=0)
    rates = [100 * results.noises[noise]["rate"] for noise in noises]
    axes.set_xticks(rates if len(rates) <= MAX_TICKS else rates[::2])
