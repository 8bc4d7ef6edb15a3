"""The figures as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.skeleton.report import page, table

_COLUMNS = (
    *("engine", "one image, ms", "speed-up", "images/s in batches", "speed-up", "same top-1"),
    *("largest score difference", "start, s"),
)


def markdown(document: Mapping[str, Any]) -> str:
    """Return the text of image_engines.md."""
    return page(
        "Engines for image towers on a CPU",
        document,
        f"{document['threads']} threads; {document['rounds']} rounds in which the engines take "
        f"turns; batches of {document['batch']}. Speed-ups compare with torch in the same round: "
        "median over the rounds (minimum to maximum).",
        f"Agreement: zero-shot scores of {document['images']:,} photos in {document['classes']} "
        "classes, compared with torch. Start: from the loaded backbone to the first features.",
        *(
            block
            for backbone, rows in document["backbones"].items()
            for block in (f"## {backbone}", table(_COLUMNS, map(_row, rows)))
        ),
    )


def _row(row: Mapping[str, Any]) -> list[str]:
    if "reason" in row:
        return [row["engine"], f"not available: {row['reason']}", *[""] * (len(_COLUMNS) - 2)]
    return [
        row["engine"],
        f"{row['alone_ms']:.1f}",
        _ratio(row["alone_ratio"]),
        f"{row['images_per_second']:.0f}",
        _ratio(row["rate_ratio"]),
        f"{row['same_top_1']:,}",
        f"{row['largest_score_difference']:.1e}",
        f"{row['ready_seconds']:.1f}",
    ]


def _ratio(values: Sequence[float]) -> str:
    least, median, most = values
    return f"{median:.2f} ({least:.2f} to {most:.2f})"
