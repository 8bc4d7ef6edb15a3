"""Print the health of a data set, checked by this process or by a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from dspt.cli.tables import plain_table
from dspt.cli.terminal import out
from dspt.kit.text import printable

Files = Annotated[
    bool, typer.Option("--files", help="List the files of each finding, at most 100.")
]

_STYLES = {"error": "red", "warning": "yellow", "info": "cyan"}
_WORDS = {"error": "error", "warning": "warning", "info": "note"}
_PARTS = ("train", "val", "test")
_CLASSES_SHOWN = 30


def print_health(report: Mapping[str, Any], *, files: bool = False) -> None:
    """Print counts and findings. files: also list the files of each finding.

    report: `HealthReport.to_dict()`, or the same from a service.
    """
    if report["usable"]:
        out.print(_classes(report))
        if (more := report["n_classes"] - _CLASSES_SHOWN) > 0:
            out.print(f"and {more:,} more classes")
        out.print()
    for finding in report["findings"]:
        severity, listed = finding["severity"], finding["files"]
        count = f" ({finding['count']:,})" if finding["count"] > 1 else ""
        head = Text(f"{_WORDS[severity]}: ", _STYLES[severity])
        out.print(head + Text(finding["title"] + count, "bold"))
        out.print(Text(f"  {finding['text']}"))
        out.print(Text(f"  Fix: {finding['fix']}"))
        for each in listed if files else ():
            note = f"  ({printable(each['note'])})" if each["note"] else ""
            out.print(Text(f"    {printable(each['file'])}{note}"), soft_wrap=True)
        if files and listed and (more := finding["count"] - len(listed)) > 0:
            out.print(f"    and {more:,} more")
    out.print(Text(report["summary"]))


def _classes(report: Mapping[str, Any]) -> Table:
    parts = [part for part in _PARTS if report["split"][part]]
    table = plain_table("class", *parts, "copies", "words in the prompt", folding=("class",))
    for column in table.columns[1:-1]:
        column.justify = "right"
    for row in report["classes"][:_CLASSES_SHOWN]:
        copies = row["train"] - row["photos"]
        table.add_row(
            Text(printable(row["name"])),
            *(f"{row[part]:,}" for part in parts),
            f"{copies:,}" if copies else "",
            Text(printable(row["words"])),
        )
    return table
