"""Tables of a tuning's result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from dspt.audit import AuditReport
    from dspt.pipeline import TuneResult

_MEASURED = {
    "test": "images in test/",
    "val": "images in val/",
    "held_out": "held-out images, against their given labels, which may be wrong",
}

_CLASSIFIERS = {"zero_shot": "zero-shot", "prompt": "tuned prompt alone", "tuned": "tuned"}


def accuracies(result: TuneResult) -> RenderableType:
    """Zero-shot, the tuned prompt alone, and the tuned classifier side by side."""
    metrics = result.metrics
    images = metrics["tuned"]["images"]
    table = Table(title=f"Accuracy on {images} {_MEASURED[metrics['measured_on']]}")
    for name in ("", "accuracy", "95 % interval", "calibration error", "served"):
        table.add_column(name, justify="left" if not name else "right")
    for name in ("zero_shot", "prompt", "tuned"):
        part = metrics[name]
        low, high = part["accuracy_interval"]
        table.add_row(
            _CLASSIFIERS[name],
            f"{part['accuracy']:.1%}",
            f"{low:.1%} to {high:.1%}",
            f"{part['calibration_error']:.3f}",
            "yes" if metrics["served"] == name else "",
        )
    return table


def suspects(audit: AuditReport, most: int) -> RenderableType:
    """The labels to check, the most suspicious first."""
    if not audit.can_tell:
        return Text(f"Cannot tell which labels are wrong: {audit.why}")
    found = audit.suspects
    if not found:
        return Text(f"No label looks wrong among {len(audit.entries)} files.")
    table = Table(title=f"{len(found)} of {len(audit.entries)} labels to check")
    for name in ("file", "given", "suggested"):
        table.add_column(name, overflow="fold")
    table.add_column("p(wrong)", justify="right")
    for entry in found[:most]:
        cells = (entry.file, entry.given, entry.suggested, f"{entry.score:.3f}")
        table.add_row(*(Text(cell) for cell in cells))
    notes = [f"and {len(found) - most} more"] if len(found) > most else []
    if rate := audit.noise_rate:
        notes.append(
            f"estimated share of wrong labels: {rate.estimate:.0%} "
            f"(90 % interval: {rate.low:.0%} to {rate.high:.0%})"
        )
    table.caption = "; ".join(notes)
    return table
