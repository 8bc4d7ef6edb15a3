"""Accuracy against the share of wrong labels: a panel per data set, a row per kind of noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from benchmarks.noise_robustness.report import seeds_of
from benchmarks.noise_robustness.settings import LABELS
from benchmarks.noise_robustness.summary import Results
from benchmarks.skeleton import figures as fig

PANEL = 2.3  # inches
MAX_TICKS = 4
STYLES = {
    "zero_shot": fig.Style(LABELS["zero_shot"], fig.GREY, "", "--"),
    "ce": fig.Style(LABELS["ce"], fig.RED, "v"),
    "gce": fig.Style(LABELS["gce"], fig.ORANGE, "^"),
    "mae": fig.Style(LABELS["mae"], fig.SKY, "s"),
    "dspt": fig.Style(LABELS["dspt"], fig.BLUE, "o"),
    "default": fig.Style(LABELS["default"], fig.BLACK, "D", width=2.0),
    "logistic": fig.Style(LABELS["logistic"], fig.GREEN, "x", ":"),
    "logistic_cleanlab": fig.Style(LABELS["logistic_cleanlab"], fig.PINK, "+", ":"),
    "gda_text": fig.Style(LABELS["gda_text"], fig.GREEN, "*"),
    "nlprompt": fig.Style(LABELS["nlprompt"], fig.PINK, "P"),
}
"""Methods that are drawn; the table has the others too."""


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
                found |= _figure(drawn, noises, fig.band_note(seeds), name)
    return found


def _figure(results: Results, noises: Sequence[str], note: str, name: str) -> dict[str, bytes]:
    kinds, datasets = results.kinds(noises), results.datasets
    with fig.styled():
        figure, panels = fig.panel_grid(
            list(kinds), datasets, PANEL, 0.7, x="wrong labels %", y="accuracy %"
        )
        for row, columns in zip(panels, kinds.values(), strict=True):
            for axes, dataset in zip(row, datasets, strict=True):
                _panel(axes, results, dataset, columns)
        panels[0][0].set_ylim(0, 100)
        fig.legend_below(figure, panels.flat, note)
        return fig.saved(figure, name)


def _panel(axes: Axes, results: Results, dataset: str, noises: Sequence[str]) -> None:
    # this service last, so that it is drawn on top
    drawn = [method for method in results.methods if method in STYLES]
    for method in sorted(drawn, key=lambda name: name == "default"):
        scores = {noise: results.score(method, dataset, noise) for noise in noises}
        rates = [100 * results.noises[noise]["rate"] for noise, score in scores.items() if score]
        fig.draw(axes, STYLES[method], rates, [score for score in scores.values() if score])
    rates = [100 * results.noises[noise]["rate"] for noise in noises]
    axes.set_xticks(rates if len(rates) <= MAX_TICKS else rates[::2])
