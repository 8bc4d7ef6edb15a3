"""How the methods are drawn."""

from __future__ import annotations

from benchmarks.noise_robustness.table import LABELS
from benchmarks.skeleton.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, Style

STYLES = {
    "zero_shot": Style(LABELS["zero_shot"], GREY, "", "--"),
    "ce": Style(LABELS["ce"], RED, "v"),
    "gce": Style(LABELS["gce"], ORANGE, "^"),
    "mae": Style(LABELS["mae"], SKY, "s"),
    "dspt": Style(LABELS["dspt"], BLUE, "o"),
    "default": Style(LABELS["default"], BLACK, "D", width=2.0),
    "logistic": Style(LABELS["logistic"], GREEN, "x", ":"),
    "logistic_cleanlab": Style(LABELS["logistic_cleanlab"], PINK, "+", ":"),
}
