"""Recall against the share of reviewed labels, for the audit and its alternatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from benchmarks.audit_quality.scores import REVIEWED
from benchmarks.audit_quality.summary import LABELS, best_peer
from benchmarks.noise_robustness.table import short
from benchmarks.skeleton.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    RED,
    Style,
    draw,
    legend_below,
    new_figure,
    saved,
    styled,
)

PANEL = 2.1  # inches


def figures(document: Mapping[str, Any], name: str) -> dict[str, bytes]:
    """Return PNG and SVG with a panel per data set and noise; empty without wrong labels."""
    cells = [cell for cell in document["cells"] if cell["rankings"]["ours"]]
    if not cells:
        return {}
    peer = best_peer(cells)
    styles = {  # the audit last, so that it is drawn on top
        peer: Style(LABELS[peer], RED, "v"),
        "neighbours": Style(LABELS["neighbours"], GREEN, "x", ":"),
        "prompt": Style(LABELS["prompt"], BLUE, "o"),
        "zero_shot": Style(LABELS["zero_shot"], GREY, "", "--"),
        "ours": Style("audit of this service", BLACK, "D", width=2.0),
    }
    datasets = list(dict.fromkeys(cell["dataset"] for cell in cells))
    noises = list(dict.fromkeys(cell["noise"]["name"] for cell in cells))
    with styled():
        figure = new_figure(PANEL * len(noises) + 0.4, PANEL * len(datasets) * 0.9 + 0.8)
        panels = figure.subplots(
            len(datasets), len(noises), squeeze=False, sharex=True, sharey=True
        )
        for row, dataset in zip(panels, datasets, strict=True):
            of_set = [cell for cell in cells if cell["dataset"] == dataset]
            for axes, noise in zip(row, noises, strict=True):
                _panel(axes, [c for c in of_set if c["noise"]["name"] == noise], styles)
            row[0].set_ylabel(f"{dataset}\nwrong labels found %")
        for axes, noise in zip(panels[0], noises, strict=True):
            axes.set_title(short(noise))
        for axes in panels[-1]:
            axes.set_xlabel("labels reviewed %")
        seeds = sorted({cell["seed"] for cell in cells})
        note = f"Lines: mean over the seeds ({', '.join(map(str, seeds))})."
        legend_below(figure, panels.flat, note)
        return saved(figure, name)


def _panel(axes: Axes, cells: Sequence[Mapping[str, Any]], styles: Mapping[str, Style]) -> None:
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 102)
    if not cells:
        return
    share = 100 * float(np.mean([cell["wrong_share"] for cell in cells]))
    best = Style("best possible", "#bbbbbb", width=0.8)
    draw(axes, best, [0, share, 100], [0, 100, 100])
    for method, style in styles.items():
        curves = [cell["rankings"][method]["recall"] for cell in cells]
        mean = [100 * float(value) for value in np.mean(curves, axis=0)]
        draw(axes, style, [100 * value for value in REVIEWED], mean, markevery=4)
