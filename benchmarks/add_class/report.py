"""Means over seeds and held-out classes as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.skeleton.report import page, table

Record = Mapping[str, Any]
LABELS = {
    "by_name": "**added by name**",
    "prompt": "DSPT, prompt alone",
    "zero_shot": "zero-shot",
    "retrained": "tuned with its photos",
}
_PARTS = ("old", "new", "harmonic")


def markdown(document: Mapping[str, Any]) -> str:
    settings, datasets = document["settings"], document["datasets"]
    seeds = settings["seeds"]
    everything = [record for records in datasets.values() for record in records]
    return page(
        "A class added by its name",
        document,
        f"{settings['held_out']} classes of each data set are held out per seed, one at a time, "
        "and added to the tuned model by their name only. Accuracy in percent on clean test "
        "images of the classes that the model was tuned on (old), of the added class (new), and "
        f"the harmonic mean of both. {settings['shots']} shots per class, {settings['kind']} wrong "
        f"labels, {settings['config']['backbone']}; mean over the held-out classes and "
        f"{len(seeds)} seed{'s'[: len(seeds) > 1]} ({', '.join(map(str, seeds))}). The last column "
        "is a model tuned with as many photos of the new class as of the others.",
        *(
            block
            for name, records in (*datasets.items(), ("All data sets", everything))
            for block in (f"## {name}", _table(records))
        ),
    )


def mean(records: Sequence[Record], way: str, part: str) -> float:
    """Return the mean in percent over all held-out classes of these records."""
    return 100 * fmean(case[way][part] for record in records for case in record["held_out"])


def _table(records: Sequence[Record]) -> list[str]:
    rates = sorted({record["rate"] for record in records})
    rows = [["", "", *["old / new / mean"] * len(LABELS)]]
    rows += [_row(f"{r:.0%}", [record for record in records if record["rate"] == r]) for r in rates]
    if len(rates) > 1:
        rows.append(_row("all", records))
    return table(["wrong labels", "old, before", *LABELS.values()], rows, left=0)


def _row(title: str, records: Sequence[Record]) -> list[str]:
    return [
        title,
        f"{mean(records, 'before', 'old'):.1f}",
        *(" / ".join(f"{mean(records, way, part):.1f}" for part in _PARTS) for way in LABELS),
    ]
