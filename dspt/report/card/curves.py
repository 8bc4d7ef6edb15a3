"""Training curves: as a line of block characters and as SVG.

The SVG contains numbers and fixed text only, no untrusted names.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from dspt.report.card.schema import CardEpoch

CURVES = {
    "loss": ("loss", "#b3401f"),
    "train_accuracy": ("accuracy on the recorded labels", "#1f5fb3"),
    "suppressed": ("share of labels suppressed", "#5b7a1f"),
}
"""Field of CardEpoch -> (label, colour)."""
_BLOCKS = "▁▂▃▄▅▆▇█"
_POINTS = 40
_PANEL, _HEIGHT, _GAP, _LEFT, _TOP = 210, 110, 56, 44, 40
_FONT = 'font-family="sans-serif" font-size="11"'


def values_of(epochs: Sequence[CardEpoch], name: str) -> list[float]:
    """Return the field `name` of each epoch."""
    return [float(getattr(epoch, name)) for epoch in epochs]


def sparkline(values: Sequence[float]) -> str:
    """Return up to 40 blocks, scaled from the lowest to the highest value; averages long inputs."""
    parts = min(len(values), _POINTS)
    bounds = [round(part * len(values) / parts) for part in range(parts + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(bounds)]
    low, high = min(means), max(means)
    span = high - low or 1.0
    return "".join(_BLOCKS[round((mean - low) / span * (len(_BLOCKS) - 1))] for mean in means)


def curves_svg(epochs: Sequence[CardEpoch]) -> str:
    """Draw loss, accuracy and suppressed share by epoch, side by side.

    Raises ValueError for zero epochs.
    """
    if not epochs:
        raise ValueError("no epochs to draw")
    width = _LEFT + len(CURVES) * (_PANEL + _GAP)
    height = _TOP + _HEIGHT + 34
    panels = "".join(
        _panel(epochs, name, label, colour, _LEFT + number * (_PANEL + _GAP))
        for number, (name, (label, colour)) in enumerate(CURVES.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img"><title>Training curves</title>'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>{panels}</svg>\n'
    )


def _panel(epochs: Sequence[CardEpoch], name: str, label: str, colour: str, left: int) -> str:
    values = values_of(epochs, name)
    top = (
        1.0 if max(values) <= 1.0 else max(values)
    )  # an unbounded loss can exceed 1; the others are shares
    low = min(0.0, *values)
    last = max(1, len(values) - 1)
    points = [
        (left + _PANEL * number / last, _TOP + _HEIGHT * (1 - (value - low) / (top - low)))
        for number, value in enumerate(values)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    last_value = f"{values[-1]:.2f}"
    return "".join(
        [
            f'<text x="{left}" y="{_TOP - 16}" {_FONT} fill="#222222">{label}</text>',
            *(_rule(left, value, low, top) for value in (low, (low + top) / 2, top)),
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.8"/>',
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>',
            f'<text x="{x + 6:.1f}" y="{y + 4:.1f}" {_FONT} fill="{colour}">{last_value}</text>',
            _tick(left, epochs[0].epoch, "start"),
            _tick(left + _PANEL, epochs[-1].epoch, "end"),
            f'<text x="{left + _PANEL / 2}" y="{_TOP + _HEIGHT + 18}" {_FONT} fill="#666666" '
            'text-anchor="middle">epoch</text>',
        ]
    )


def _rule(left: int, value: float, low: float, top: float) -> str:
    y = _TOP + _HEIGHT * (1 - (value - low) / (top - low))
    return (
        f'<line x1="{left}" x2="{left + _PANEL}" y1="{y}" y2="{y}" stroke="#dddddd"/>'
        f'<text x="{left - 6}" y="{y + 4}" {_FONT} fill="#666666" text-anchor="end">{value:.3g}'
        "</text>"
    )


def _tick(x: float, epoch: int, anchor: str) -> str:
    return (
        f'<text x="{x}" y="{_TOP + _HEIGHT + 18}" {_FONT} fill="#666666" text-anchor="{anchor}">'
        f"{epoch}</text>"
    )
