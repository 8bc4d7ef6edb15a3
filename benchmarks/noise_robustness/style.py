"""One look for all figures: colours that the colour-blind can tell apart, small files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image


@dataclass(frozen=True)
class Style:
    """How a method is drawn: Okabe & Ito's colours, and a marker for prints without colour."""

    label: str
    color: str
    marker: str
    line: str = "-"
    width: float = 1.2


STYLES = {
    "zero_shot": Style("zero-shot", "#555555", "", "--"),
    "ce": Style("CE (CoOp)", "#D55E00", "v"),
    "gce": Style("GCE 0.7", "#E69F00", "^"),
    "mae": Style("MAE", "#56B4E9", "s"),
    "dspt": Style("DSPT", "#0072B2", "o"),
    "default": Style("default", "#000000", "D", width=2.0),
    "logistic": Style("logistic regression", "#009E73", "x", ":"),
    "logistic_cleanlab": Style("logistic, after cleanlab", "#CC79A7", "+", ":"),
}
CLEAN_COLOR, FLIPPED_COLOR = "#0072B2", "#D55E00"

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
    "svg.fonttype": "none",  # text as text: small, and it can be searched
    "svg.hashsalt": "dspt",  # the same figure is the same file
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw within it; matplotlib's settings outside stay as they are."""
    with mpl.rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """In inches; no window and no state that lives on."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def saved(figure: Figure, name: str) -> dict[str, bytes]:
    """The figure as `name`.png and `name`.svg. Call within `styled`."""
    svg, png, small = io.BytesIO(), io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    figure.savefig(png, format="png", dpi=150)
    with Image.open(png) as image:  # a palette takes a third of the room
        flat = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
        flat.save(small, "png", optimize=True)
    return {f"{name}.png": small.getvalue(), f"{name}.svg": svg.getvalue()}
