"""One look for all figures."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.skeleton.report import Spread

BLACK, GREY = "#000000", "#555555"
BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, RED, PINK = "#E69F00", "#D55E00", "#CC79A7"
"""Colours of Okabe and Ito, which colour-blind readers can tell apart."""
LEGEND_COLUMN = 1.4  # inches


@dataclass(frozen=True)
class Style:
    """How one line is drawn; markers distinguish lines in prints without colour."""

    label: str
    color: str
    marker: str = ""
    line: str = "-"
    width: float = 1.2


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
    "lines.markersize": 3.5,
    "svg.fonttype": "none",  # text as text: small, and searchable
    "svg.hashsalt": "dspt",  # the same figure gives the same file
}


@contextmanager
def styled() -> Iterator[None]:
    """Apply the look inside the block; matplotlib's settings outside stay as they are."""
    with mpl.rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of this size in inches, without a window or global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panel_grid(
    rows: Sequence[str], columns: Sequence[str], side: float, below: float, *, x: str, y: str
) -> tuple[Figure, Any]:
    """Return a figure, and panels with common axes: an array of (rows, columns).

    side: of a panel in inches. below: height for the legend. x, y: labels of the axes.
    """
    size = side * len(columns) + 0.4, 0.9 * side * len(rows) + below
    figure = new_figure(*size)
    panels = figure.subplots(len(rows), len(columns), squeeze=False, sharex=True, sharey=True)
    for axes, row in zip(panels[:, 0], rows, strict=True):
        axes.set_ylabel(f"{row}\n{y}")
    for axes, column in zip(panels[0], columns, strict=True):
        axes.set_title(column)
    for axes in panels[-1]:
        axes.set_xlabel(x)
    return figure, panels


def draw(
    axes: Axes, style: Style, x: Sequence[float], y: Sequence[float | Spread], **options: Any
) -> None:
    """Draw a line of values or means, with a band of ± 1 standard deviation where there is one."""
    means = [value.mean if isinstance(value, Spread) else value for value in y]
    axes.plot(
        x,
        means,
        style.line,
        color=style.color,
        marker=style.marker or None,
        linewidth=style.width,
        label=style.label,
        **options,
    )
    stds = [value.std if isinstance(value, Spread) else None for value in y]
    if any(stds):
        low = [mean - (std or 0) for mean, std in zip(means, stds, strict=True)]
        high = [mean + (std or 0) for mean, std in zip(means, stds, strict=True)]
        axes.fill_between(x, low, high, color=style.color, alpha=0.12, linewidth=0)


def legend_below(figure: Figure, panels: Iterable[Axes], note: str = "") -> None:
    """Put one legend with a note below all panels; lines with equal labels appear once."""
    found: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    columns = max(1, min(len(found), int(figure.get_figwidth() / LEGEND_COLUMN)))
    figure.legend(
        list(found.values()),
        list(found),
        loc="outside lower center",
        ncols=columns,
        title=note or None,
    )


def band_note(seeds: Sequence[int]) -> str:
    """Return what the lines and bands of `draw` are, for the legend."""
    if len(seeds) == 1:
        return f"One seed ({seeds[0]}), therefore no bands."
    return f"Lines: mean of {len(seeds)} seeds. Bands: ± 1 standard deviation over the seeds."


def saved(figure: Figure, name: str) -> dict[str, bytes]:
    """Return the figure as `name`.png and `name`.svg. Call inside `styled`."""
    svg, png, small = io.BytesIO(), io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    figure.savefig(png, format="png", dpi=150)
    with Image.open(png) as image:  # a palette takes a third of the space
        flat = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
        flat.save(small, "png", optimize=True)
    return {f"{name}.png": small.getvalue(), f"{name}.svg": svg.getvalue()}
