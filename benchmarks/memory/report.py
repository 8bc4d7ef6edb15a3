"""The table."""

from __future__ import annotations

from benchmarks.skeleton.program import Document
from benchmarks.skeleton.report import page, table


def markdown(document: Document) -> str:
    stages = document["stages"]
    names = list(dict.fromkeys(name for stage in stages for name in stage["mib"]))
    rows = [
        [name, *(f"{stage['mib'][name]:,.0f}" if name in stage["mib"] else "" for stage in stages)]
        for name in names
    ]
    totals = [f"**{sum(stage['mib'].values()):,.0f}**" for stage in stages]
    seconds = [
        f"- {stage['stage']}: {name.replace('_', ' ')} {value:.1f} s"
        for stage in stages
        for name, value in stage["seconds"].items()
    ]
    return page(
        "Memory of `dspt serve`",
        document,
        "MiB. A page that several processes of the service share counts once, in equal parts.",
        table(["process", *(stage["stage"] for stage in stages)], [*rows, ["all", *totals]]),
        seconds,
    )
