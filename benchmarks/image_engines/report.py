"""The figures as a table."""

from __future__ import annotations

from typing import Any

_HEAD = """\
# Engines for image towers on a CPU

`{command}`

{machine}. {versions}. {threads} threads; {rounds} rounds in which the engines take turns; batches \
of {batch}. Ratios are to torch in the same round: median, and the least and most of the rounds.

Agreement: zero-shot's scores on {images} photos of {classes} classes, compared with torch's.
"""
_COLUMNS = """\
| engine | one image, ms | times as fast | images/s | times as fast | same top-1 | \
largest score difference | ready after, s |
|---|---:|---:|---:|---:|---:|---:|---:|
"""


def markdown(document: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    parts = [_HEAD.format(**document | {"versions": versions})]
    for backbone, rows in document["backbones"].items():
        parts.append(f"## {backbone}\n\n{_COLUMNS}" + "".join(map(_row, rows)))
    return "\n".join(parts)


def _row(row: dict[str, Any]) -> str:
    if "reason" in row:
        return f"| {row['engine']} | cannot: {row['reason']} |\n"
    share = f"{row['same_top_1']:,}"
    return (
        f"| {row['engine']} | {row['alone_ms']:.1f} | {_ratio(row['alone_ratio'])} "
        f"| {row['images_per_second']:.0f} | {_ratio(row['rate_ratio'])} "
        f"| {share} | {row['largest_score_difference']:.1e} | {row['ready_seconds']:.1f} |\n"
    )


def _ratio(values: list[float]) -> str:
    least, median, most = values
    return f"{median:.2f} ({least:.2f} to {most:.2f})"
