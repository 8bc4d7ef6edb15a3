"""Tables of a tuning's result, from this process or from a service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from dspt.cli.terminal import out
from dspt.kit.text import counted, listed, printable
from dspt.report.classifier_names import classifier_names

_MEASURED = {
    "test": "images in test/",
    "val": "images in val/",
    "held_out": "held-out images, compared with their recorded labels, which may be wrong",
}

#: Characters of an id on a terminal: the kind, the time and ten random bits.
_SHORT_ID = 16
#: More columns than any table has.
_ANY = 100_000


def plain_table(*columns: str, folding: Sequence[str] = ("name",)) -> Table:
    """Return a table without borders, for lists. Only the columns in `folding` wrap."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name not in folding)
    return table


def shown_ids(ids: Iterable[str]) -> list[str]:
    """Return the ids; on a terminal only the beginning that tells them apart, which commands take.

    In a pipe they are complete.
    """
    full = list(ids)
    if not out.is_terminal:
        return full
    for length in range(_SHORT_ID, max(map(len, full), default=0)):
        if len({id_[:length] for id_ in full}) == len(set(full)):
            return [id_[:length] for id_ in full]
    return full


def accuracies(metrics: Mapping[str, Any], config: Mapping[str, Any]) -> RenderableType:
    """Return a table of the measured classifiers. config: the settings of the job."""
    names = classifier_names(config.get("tuning"))
    images = metrics["tuned"]["images"]
    table = Table(title=f"Accuracy on {images} {_MEASURED[metrics['measured_on']]}")
    for name in ("", "accuracy", "95 % interval", "calibration error", "served"):
        table.add_column(name, justify="left" if not name else "right")
    for field, name in names.items():
        part = metrics[field]
        low, high = part["accuracy_interval"]
        table.add_row(
            name,
            f"{part['accuracy']:.1%}",
            f"{low:.1%} to {high:.1%}",
            f"{part['calibration_error']:.3f}",
            "yes" if metrics["served"] == field else "",
        )
    table.caption = _about(metrics, names["tuned"])
    return table


def _about(metrics: Mapping[str, Any], tuned: str) -> str | None:
    """Return notes on the table of accuracies, or None.

    The balanced accuracy where classes differ in size, the accuracy without the photos that have no
    label, and the classes that are not measured.
    """
    evaluation, notes = metrics[metrics["served"]], []
    balanced = evaluation.get("balanced_accuracy")  # not in results of earlier versions
    if balanced is not None and abs(balanced - evaluation["accuracy"]) >= 0.005:
        notes.append(f"mean accuracy of the classes: {balanced:.1%}")
    unlabelled = metrics.get("unlabelled") or {}
    if unlabelled.get("accuracy_without") is not None:
        notes.append(
            f"{tuned}: with {counted(unlabelled['used'], 'photo')} without labels, "
            f"{unlabelled['accuracy_without']:.1%} without them"
        )
    missing = [name for name, share in evaluation.get("per_class", {}).items() if share is None]
    if missing:
        notes.append(f"not measured: {listed(missing, 10, printable)}")
    return escape("; ".join(notes)) or None


def _worth_checking(expected: Sequence[Mapping[str, float]]) -> str:
    """Return how far down the list nine tenths of the wrong labels are expected."""
    every = expected[-1]
    step = next(step for step in expected if step["wrong"] >= 0.9 * every["wrong"])
    first = f"{step['wrong']:.0f} among the first {step['first']:,}, " if step != every else ""
    return f"{first}{every['wrong']:.0f} among all {every['first']:,}"


def suspects(audit: Mapping[str, Any], most: int) -> RenderableType:
    """Return the labels to check, the most suspicious first, as a table.

    Where the table would be wider than the terminal, a list: a file name on a line of its own can
    be copied. audit: `AuditReport.to_dict()`, or the same from a service.
    """
    if not audit["can_tell"]:
        return Text(f"Cannot tell which labels are wrong: {audit['why']}")
    found = [entry for entry in audit["entries"] if entry["suspect"]]
    if not found:
        return Text(f"No suspicious labels in {len(audit['entries'])} files.")
    title = f"{len(found)} of {len(audit['entries'])} labels to check"
    notes = [f"and {len(found) - most} more"] if len(found) > most else []
    if kept := sum(entry.get("kept", False) for entry in audit["entries"]):
        notes.append(f"confirmed by a person: {kept:,}")
    if rate := audit["noise_rate"]:
        notes.append(
            f"estimated share of wrong labels: {rate['estimate']:.0%} "
            f"(90 % interval: {rate['low']:.0%} to {rate['high']:.0%})"
        )
    if expected := audit.get("expected_wrong"):  # not in audits of earlier versions
        notes.append(f"expected wrong labels: {_worth_checking(expected)}")
    caption = "; ".join(notes)
    table = Table(title=title, caption=caption)
    for name in ("file", "given", "suggested"):
        table.add_column(name, no_wrap=True)
    table.add_column("p(wrong)", justify="right")
    lines = [Text(title)]
    for entry in found[:most]:
        score = f"{entry['score']:.3f}"
        cells = (entry["file"], entry["given"], entry["suggested"], score)
        table.add_row(*(Text(cell) for cell in cells))
        lines.append(Text(f"{score}  {entry['given']}, suggested: {entry['suggested']}"))
        lines.append(Text(f"       {entry['file']}", overflow="fold"))
    if Measurement.get(out, out.options.update(max_width=_ANY), table).maximum <= out.width:
        return table
    return Group(*lines, Text(caption))
