"""How much each loss learns from a label, and what that does to right and wrong labels.

Left: |dL/dz| against the probability p_y of the given label, for 10 classes. Where the rest of the
probability lies on one other class, the model contradicts the label; the line shows that. Right:
suppression, |dL_DSPT/dz| / |dL_CE/dz|, of every training image under the prompt that DSPT tuned on
them, apart for right and wrong labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray

from benchmarks.noise_robustness.settings import LOSSES
from benchmarks.noise_robustness.style import (
    CLEAN_COLOR,
    FLIPPED_COLOR,
    STYLES,
    new_figure,
    saved,
    styled,
)
from dspt.config import LossName
from dspt.prompt.losses import gradient

CLASSES = 10
MAX_PANELS = 4
"""Data sets with a panel of their own; of more than these, one panel has them all."""
RATES = (0.25, 0.5)


def gradient_figure(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`gradient.png` and `gradient.svg`; without measured panels where DSPT was not run."""
    measured = _measured(document["cells"])
    names = list(dict.fromkeys(dataset for dataset, _ in measured))
    noises = list(dict.fromkeys(noise for _, noise in measured))
    with styled():
        figure = new_figure(3.2 + 1.9 * len(names), 3.4)
        grid = figure.add_gridspec(
            max(1, len(noises)), 1 + len(names), width_ratios=[1.7, *[1.0] * len(names)]
        )
        _curves(figure.add_subplot(grid[:, 0]))
        for row, noise in enumerate(noises):
            for column, name in enumerate(names):
                axes = figure.add_subplot(grid[row, 1 + column])
                if (name, noise) in measured:
                    _histogram(axes, *measured[name, noise])
                if row == 0:
                    axes.set_title(name)
                if row == len(noises) - 1:
                    axes.set_xlabel("suppression (0: ignored)")
                else:
                    axes.set_xticklabels([])
                if column == 0:
                    axes.set_ylabel(f"{noise}\n% of images")
                if row == column == 0:
                    axes.legend(loc="upper right", handlelength=1.2)
        return saved(figure, "gradient")


def gradient_norms(loss: LossName, p_y: NDArray[np.float64]) -> NDArray[np.float64]:
    """|dL/dz| (P,) at each p_y in (0, 1), all else on one of the other CLASSES - 1 classes."""
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
        norms = gradient_norms(loss, p_y)
        axes.plot(p_y, norms, color=style.color, linewidth=1.6, label=style.label)
        marks = slice(6, None, 18)
        axes.plot(p_y[marks], norms[marks], style.marker, color=style.color)
    axes.set_xlabel("$p_y$, probability of the given label")
    axes.set_ylabel("|dL/dz|")
    axes.set_title("gradient of each loss")
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")


def _measured(
    records: Sequence[Mapping[str, Any]],
) -> dict[tuple[str, str], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(data set, noise) -> counts of right and wrong labels, over all seeds, by the first protocol
    and the largest number of shots that there are.
    """
    chosen = [r for r in records if "dspt" in r["suppression"] and _shown(r["noise"])]
    if not chosen:
        return {}
    shots = max(record["shots"] for record in chosen)
    protocol = chosen[0]["noise"]["protocol"]
    chosen = [r for r in chosen if r["shots"] == shots and r["noise"]["protocol"] == protocol]
    one_panel = len({record["dataset"] for record in chosen}) > MAX_PANELS
    found: dict[tuple[str, str], tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    for record in sorted(chosen, key=lambda record: record["noise"]["rate"]):
        name = "all data sets" if one_panel else record["dataset"]
        key = (name, _row_label(record["noise"]))
        counts = record["suppression"]["dspt"]
        right, wrong = np.array(counts["clean"]), np.array(counts["flipped"])
        if key in found:
            right, wrong = right + found[key][0], wrong + found[key][1]
        found[key] = right, wrong
    return found


def _shown(noise: Mapping[str, Any]) -> bool:
    if noise["kind"] == "human":
        return True
    return noise["kind"] == "symmetric" and noise["rate"] in RATES


def _row_label(noise: Mapping[str, Any]) -> str:
    if noise["kind"] == "human":
        return f"human, {noise['column']}"
    return f"{noise['kind']} {100 * noise['rate']:g} %"


def _histogram(axes: Axes, right: NDArray[np.int64], wrong: NDArray[np.int64]) -> None:
    edges = np.linspace(0, 1, len(right) + 1)
    for counts, color, label in (
        (right, CLEAN_COLOR, "right label"),
        (wrong, FLIPPED_COLOR, "wrong label"),
    ):
        share = 100 * counts / max(1, counts.sum())
        axes.stairs(share, edges, color=color, fill=True, alpha=0.25)
        axes.stairs(share, edges, color=color, linewidth=1.2, label=label)
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
