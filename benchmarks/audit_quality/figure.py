"""Recall against the share of labels reviewed, for the audit and its peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from benchmarks.audit_quality.scores import REVIEWED
from benchmarks.audit_quality.summary import best_peer
from benchmarks.noise_robustness.style import Style, new_figure, saved, styled
from benchmarks.noise_robustness.table import short

PANEL = 2.1  # inches
LEGEND_COLUMN = 1.7  # inches
_OTHERS = {
    "ours": Style("audit", "#000000", "D", width=2.0),
    "zero_shot": Style("zero-shot p(label)", "#555555", "", "--"),
    "prompt": Style("cross-fitted prompt", "#0072B2", "o"),
    "neighbours": Style("nearest neighbours", "#009E73", "x", ":"),
}
_PEER = Style("cleanlab", "#D55E00", "v")


def figures(document: Mapping[str, Any], name: str) -> dict[str, bytes]:
    """File name -> content: PNG and SVG, a panel per data set and noise; none without noise."""
    cells = [cell for cell in document["cells"] if cell["rankings"]["ours"]]
    if not cells:
        return {}
    styles = {best_peer(cells): _PEER, **_OTHERS}
    datasets = list(dict.fromkeys(cell["dataset"] for cell in cells))
    noises = list(dict.fromkeys(cell["noise"]["name"] for cell in cells))
    with styled():
        width = PANEL * len(noises) + 0.4
        figure = new_figure(width, PANEL * len(datasets) * 0.9 + 0.6)
        panels = figure.subplots(
            len(datasets), len(noises), squeeze=False, sharex=True, sharey=True
        )
        for row, dataset in zip(panels, datasets, strict=True):
            for axes, noise in zip(row, noises, strict=True):
                found = [
                    cell
                    for cell in cells
                    if cell["dataset"] == dataset and cell["noise"]["name"] == noise
                ]
                _panel(axes, found, styles)
            row[0].set_ylabel(f"{dataset}\nwrong labels found %")
        for axes, noise in zip(panels[0], noises, strict=True):
            axes.set_title(short(noise))
        for axes in panels[-1]:
            axes.set_xlabel("reviewed %")
        keys = [axes.get_legend_handles_labels() for row in panels for axes in row]
        handles, labels = max(keys, key=lambda key: len(key[0]))  # a panel may be empty
        columns = max(1, int(width / LEGEND_COLUMN))
        figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=columns)
        return saved(figure, name)


def _panel(axes: Axes, cells: Sequence[Mapping[str, Any]], styles: Mapping[str, Style]) -> None:
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 102)
    x = 100 * np.array(REVIEWED)
    if not cells:
        return
    share = 100 * float(np.mean([cell["wrong_share"] for cell in cells]))
    axes.plot([0, share, 100], [0, 100, 100], color="#bbbbbb", linewidth=0.8, label="at best")
    # the audit last, so that it lies on top
    for method, style in sorted(styles.items(), key=lambda one: one[0] == "ours"):
        curves = [cell["rankings"][method]["recall"] for cell in cells]
        axes.plot(
            x,
            100 * np.mean(curves, axis=0),
            style.line,
            color=style.color,
            marker=style.marker or None,
            markevery=4,
            linewidth=style.width,
            label=style.label,
        )
