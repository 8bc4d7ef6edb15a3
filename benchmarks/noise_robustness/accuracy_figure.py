"""Accuracy against the share of wrong labels: a panel per data set, a row per kind of noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from benchmarks.noise_robustness.styles import STYLES
from benchmarks.noise_robustness.summary import Results
from benchmarks.noise_robustness.table import seeds_of
from benchmarks.skeleton.figures import band_note, draw, legend_below, new_figure, saved, styled

PANEL = 2.3  # inches
MAX_TICKS = 4


def accuracy_figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """Return PNG and SVG for each number of shots and each protocol of injected noise."""
    records = document["cells"]
    found: dict[str, bytes] = {}
    for shots in sorted({record["shots"] for record in records}):
        of_shots = [record for record in records if record["shots"] == shots]
        for protocol, noises in Results(of_shots).sections().items():
            if protocol in ("global", "per_class"):
                seeds = seeds_of(of_shots, noises)
                drawn = Results([record for record in of_shots if record["seed"] in seeds])
                name = f"accuracy-{protocol}-{shots}shot"
                found |= _figure(drawn, noises, band_note(seeds), name)
    return found


def _figure(results: Results, noises: Sequence[str], note: str, name: str) -> dict[str, bytes]:
    kinds, datasets = results.kinds(noises), results.datasets
    with styled():
        figure = new_figure(PANEL * len(datasets) + 0.4, PANEL * len(kinds) * 0.9 + 0.7)
        panels = figure.subplots(len(kinds), len(datasets), squeeze=False, sharex=True, sharey=True)
        for row, (kind, columns) in zip(panels, kinds.items(), strict=True):
            for axes, dataset in zip(row, datasets, strict=True):
                _panel(axes, results, dataset, columns)
            row[0].set_ylabel(f"{kind}\naccuracy %")
        for axes, dataset in zip(panels[0], datasets, strict=True):
            axes.set_title(dataset)
        for axes in panels[-1]:
            axes.set_xlabel("wrong labels %")
        panels[0][0].set_ylim(0, 100)
        legend_below(figure, panels.flat, note)
        return saved(figure, name)


def _panel(axes: Axes, results: Results, dataset: str, noises: Sequence[str]) -> None:
    # this service last, so that it is drawn on top
    for method in sorted(results.methods, key=lambda name: name == "default"):
        scores = {noise: results.score(method, dataset, noise) for noise in noises}
        rates = [100 * results.noises[noise]["rate"] for noise, score in scores.items() if score]
        draw(axes, STYLES[method], rates, [score for score in scores.values() if score])
    rates = [100 * results.noises[noise]["rate"] for noise in noises]
    axes.set_xticks(rates if len(rates) <= MAX_TICKS else rates[::2])
