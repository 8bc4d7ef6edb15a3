"""Accuracy against the share of wrong labels: a panel per data set, a row per kind of noise."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.noise_robustness.report import seeds_of
from benchmarks.noise_robustness.settings import LABELS
from benchmarks.noise_robustness.summary import Results

PANEL = 2.3  # inches
LEGEND_COLUMN = 1.4  # inches
MAX_TICKS = 4


STYLES = {
    "zero_shot": ("#555555", "--"),
    "ce": ("#D55E00", "-v"),
    "gce": ("#E69F00", "-^"),
    "mae": ("#56B4E9", "-s"),
    "dspt": ("#0072B2", "-o"),
    "logistic": ("#009E73", ":x"),
    "logistic_cleanlab": ("#CC79A7", ":+"),
    "gda_text": ("#009E73", "-*"),
    "nlprompt": ("#CC79A7", "-P"),
    "default": ("#000000", "-D"),
}
"""Colour, line and marker of the methods that are drawn; the table has the others too.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart; markers distinguish
lines in prints without colour. The last one is drawn on top.
"""
_SETTINGS: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "svg.fonttype": "none",  # text as text: small, and searchable
    "svg.hashsalt": "dspt",  # the same figure gives the same file
}


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
                with mpl.rc_context(_SETTINGS):
                    figure = _figure(drawn, noises, band_note(seeds))
                    found |= _saved(figure, f"accuracy-{protocol}-{shots}shot")
    return found


def _figure(results: Results, noises: Sequence[str], note: str) -> Figure:
    kinds, datasets = results.kinds(noises), results.datasets
    size = PANEL * len(datasets) + 0.4, 0.9 * PANEL * len(kinds) + 0.7
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels: Any = figure.subplots(
        len(kinds), len(datasets), squeeze=False, sharex=True, sharey=True
    )
    for row, (kind, columns) in zip(panels, kinds.items(), strict=True):
        row[0].set_ylabel(f"{kind}\naccuracy %")
        for axes, dataset in zip(row, datasets, strict=True):
            _panel(axes, results, dataset, columns)
    for axes, dataset in zip(panels[0], datasets, strict=True):
        axes.set_title(dataset)
    for axes in panels[-1]:
        axes.set_xlabel("wrong labels %")
    panels[0][0].set_ylim(0, 100)
    # lines with equal labels appear once
    lines = {line.get_label(): line for axes in panels.flat for line in axes.get_lines()}
    figure.legend(
        list(lines.values()),
        list(lines),
        loc="outside lower center",
        ncols=max(1, min(len(lines), int(size[0] / LEGEND_COLUMN))),
        title=note,
    )
    return figure


def _panel(axes: Axes, results: Results, dataset: str, noises: Sequence[str]) -> None:
    for method in sorted(results.methods, key=lambda name: name == "default"):
        if method not in STYLES:
            continue
        scores = [(noise, results.score(method, dataset, noise)) for noise in noises]
        found = [(100 * results.noises[noise]["rate"], score) for noise, score in scores if score]
        rates = [rate for rate, _ in found]
        means = np.array([score.mean for _, score in found])
        stds = np.array([score.std or 0 for _, score in found])
        color, line = STYLES[method]
        (drawn,) = axes.plot(rates, means, line, color=color, label=LABELS[method])
        if method == "default":
            drawn.set_linewidth(2)
        if stds.any():
            axes.fill_between(
                rates, means - stds, means + stds, color=color, alpha=0.12, linewidth=0
            )
    rates = [100 * results.noises[noise]["rate"] for noise in noises]
    axes.set_xticks(rates if len(rates) <= MAX_TICKS else rates[::2])


def band_note(seeds: Sequence[int]) -> str:
    """Return what the lines and bands are, for the legend."""
    if len(seeds) == 1:
        return f"One seed ({seeds[0]}), therefore no bands."
    return f"Lines: mean of {len(seeds)} seeds. Bands: ± 1 standard deviation over the seeds."


def _saved(figure: Figure, name: str) -> dict[str, bytes]:
    """Return the figure as `name`.png and `name`.svg."""
    svg, png, small = io.BytesIO(), io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    figure.savefig(png, format="png", dpi=150)
    with Image.open(png) as image:  # a palette takes a third of the space
        flat = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
        flat.save(small, "png", optimize=True)
    return {f"{name}.png": small.getvalue(), f"{name}.svg": svg.getvalue()}
