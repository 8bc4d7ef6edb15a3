"""Means over seeds and held-out classes, as a Markdown table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
LABELS = {
    "by_name": "**added by name**",
    "text_only": "its texts alone, no bias",
    "prompt": "tuned prompt alone",
    "zero_shot": "zero-shot",
    "retrained": "tuned with its photos",
}


def markdown(document: Mapping[str, Any]) -> str:
    """What the command prints and writes."""
    settings = document["settings"]
    lines = [
        "# A class added by its name",
        "",
        f"{settings['held_out']} classes of each data set and seed are left out, one at a time, "
        "and added to the tuned model by their name alone. Accuracy in percent on clean test "
        "images of the classes that the model was tuned on (old), of the one added (new), and the "
        f"harmonic mean of both; {settings['shots']} shots per class, {settings['kind']} wrong "
        f"labels, {settings['config']['backbone']}, mean over the classes and seeds "
        f"{', '.join(map(str, settings['seeds']))}. Last, the same with photos of the new class, "
        "as many as of the others.",
    ]
    for name, records in document["datasets"].items():
        lines += ["", f"## {name}", "", *_table(records)]
    everything = [record for records in document["datasets"].values() for record in records]
    lines += ["", "## All", "", *_table(everything)]
    versions = ", ".join(f"{k} {v}" for k, v in document["versions"].items())
    lines += ["", f"Machine: {document['machine']}. {versions}.", "", f"    {document['command']}"]
    return "\n".join(lines) + "\n"


def mean(records: Sequence[Record], way: str, part: str) -> float:
    """In percent, over all held-out classes of these records."""
    return 100 * statistics.fmean(
        case[way][part] for record in records for case in record["held_out"]
    )


def _table(records: Sequence[Record]) -> list[str]:
    rates = sorted({record["rate"] for record in records})
    lines = [
        "| wrong labels | old, before | " + " | ".join(LABELS.values()) + " |",
        "|---:|---:" + "|---:" * len(LABELS) + "|",
        "| | | " + " | ".join(["old / new / mean"] * len(LABELS)) + " |",
    ]
    for rate in rates:
        of_rate = [record for record in records if record["rate"] == rate]
        lines.append(_row(f"{rate:.0%}", of_rate))
    if len(rates) > 1:
        lines.append(_row("all", records))
    return lines


def _row(title: str, records: Sequence[Record]) -> str:
    cells = [title, f"{mean(records, 'before', 'old'):.1f}"]
    for way in LABELS:
        parts = (mean(records, way, part) for part in ("old", "new", "harmonic"))
        cells.append(" / ".join(f"{part:.1f}" for part in parts))
    return f"| {' | '.join(cells)} |"
