"""Figures: accuracy against the share of wrong labels, and how much each loss learns from a label.

Accuracy: a panel per data set, a row per kind of noise.

Gradient, left: |dL/dz| against the probability p_y of the label, for 10 classes. The rest of the
probability is on one other class, so that the model contradicts the label; a line per loss. Right:
suppression, |dL_DSPT/dz| / |dL_CE/dz|, of every training image under the prompt that DSPT tuned on
them. At 0 DSPT ignores a label; at 1 it learns as much from the label as cross-entropy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray

from benchmarks.noise_robustness.report import seeds_of, short
from benchmarks.noise_robustness.settings import LABELS, LOSSES
from benchmarks.noise_robustness.summary import Results
from benchmarks.skeleton import figures as fig
from dspt.config import LossName
from dspt.prompt.losses import gradient

PANEL = 2.3  # inches
MAX_TICKS = 4
CLASSES = 10
MAX_PANELS = 4
"""Data sets with a panel of their own; more than these share one panel."""
RATES = (0.25, 0.5)
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

Counts = NDArray[np.int64]


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


def gradient_figure(document: Mapping[str, Any]) -> dict[str, bytes]:
    """Return `gradient.png` and `gradient.svg`; only the left panel if DSPT was not run."""
    counts, note = _measured(document["cells"])
    names = list(dict.fromkeys(dataset for dataset, _ in counts))
    noises = list(dict.fromkeys(noise for _, noise in counts))
    with fig.styled():
        figure = fig.new_figure(3.2 + 1.9 * len(names), 3.8)
        grid = figure.add_gridspec(
            max(1, len(noises)), 1 + len(names), width_ratios=[1.7, *[1.0] * len(names)]
        )
        _curves(figure.add_subplot(grid[:, 0]))
        panels: list[Axes] = []
        for row, noise in enumerate(noises):
            for column, name in enumerate(names):
                share = panels[0] if panels else None
                axes = figure.add_subplot(grid[row, 1 + column], sharex=share, sharey=share)
                panels.append(axes)
                if (name, noise) in counts:
                    _histogram(axes, *counts[name, noise])
                axes.tick_params(labelbottom=row == len(noises) - 1, labelleft=column == 0)
                if row == 0:
                    axes.set_title(name)
                if row == len(noises) - 1:
                    axes.set_xlabel("suppression")
                if column == 0:
                    axes.set_ylabel(f"{noise}\n% of images")
        if panels:
            fig.legend_below(figure, panels[:1], note)
        return fig.saved(figure, "gradient")


def gradient_norms(loss: LossName, p_y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return |dL/dz| (P,) at each p_y in (0, 1), the rest on one of the other CLASSES - 1."""
    rest = 1 - p_y
    floor = 1e-9 * np.ones((len(p_y), CLASSES - 2))
    logits = torch.from_numpy(np.log(np.column_stack([p_y, rest, floor])))
    labels = torch.zeros(len(p_y), dtype=torch.int64)
    found: NDArray[np.float64] = gradient(loss, logits, labels).norm(dim=-1).numpy()
    return found


def _curves(axes: Axes) -> None:
    p_y = np.linspace(0.001, 0.999, 121)
    for loss in LOSSES:
        style = STYLES[loss]
        label = "DSPT" if loss == "dspt" else style.label
        axes.plot(
            p_y,
            gradient_norms(loss, p_y),
            color=style.color,
            marker=style.marker,
            markevery=(6, 18),
            linewidth=1.6,
            label=label,
        )
    axes.set_xlabel("$p_y$, probability of the label")
    axes.set_ylabel("|dL/dz|")
    axes.set_title("gradient of each loss")
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")


def _measured(
    records: Sequence[Mapping[str, Any]],
) -> tuple[dict[tuple[str, str], tuple[Counts, Counts]], str]:
    """Return (data set, noise) -> counts of correct and wrong labels, and a note on the runs.

    Sums over all seeds of the first protocol and the largest number of shots.
    """
    chosen = [r for r in records if "dspt" in r["suppression"] and _is_drawn(r["noise"])]
    if not chosen:
        return {}, ""
    shots = max(record["shots"] for record in chosen)
    protocol = chosen[0]["noise"]["protocol"]
    chosen = [r for r in chosen if r["shots"] == shots and r["noise"]["protocol"] == protocol]
    one_panel = len({record["dataset"] for record in chosen}) > MAX_PANELS
    found: dict[tuple[str, str], tuple[Counts, Counts]] = {}
    for record in sorted(chosen, key=lambda record: record["noise"]["rate"]):
        key = "all data sets" if one_panel else record["dataset"], short(record["noise"]["name"])
        counts = record["suppression"]["dspt"]
        right, wrong = np.array(counts["clean"]), np.array(counts["flipped"])
        if key in found:
            right, wrong = right + found[key][0], wrong + found[key][1]
        found[key] = right, wrong
    seeds = ", ".join(map(str, sorted({record["seed"] for record in chosen})))
    note = (
        "Right: suppression = |gradient of DSPT| / |gradient of CE| of each training image "
        "(0: DSPT ignores the label, 1: it learns as much as CE).\n"
        f"Prompt tuned with DSPT, {shots} shots, {protocol or 'human'} noise, images of all seeds "
        f"({seeds})."
    )
    return found, note


def _is_drawn(noise: Mapping[str, Any]) -> bool:
    return noise["kind"] == "human" or (noise["kind"] == "symmetric" and noise["rate"] in RATES)


def _histogram(axes: Axes, right: Counts, wrong: Counts) -> None:
    edges = np.linspace(0, 1, len(right) + 1)
    for counts, color, label in (
        (right, fig.BLUE, "correct label"),
        (wrong, fig.RED, "wrong label"),
    ):
        share = 100 * counts / max(1, counts.sum())
        axes.stairs(share, edges, color=color, fill=True, alpha=0.25)
        axes.stairs(share, edges, color=color, linewidth=1.2, label=label)
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
