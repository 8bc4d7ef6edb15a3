"""`dspt doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from app.commands._service import AsJson, Url
from app.doctor.findings import Finding, State
from app.kit.command_line import DataDir
from dspt.cli.terminal import out, print_json
from dspt.kit.text import counted

_LOOKS = {
    State.OK: ("ok", "green"),
    State.OFF: ("-", "dim"),
    State.WARN: ("warn", "yellow"),
    State.FAIL: ("FAIL", "bold red"),
}


Full = Annotated[
    bool,
    typer.Option(
        "--full",
        help="Also check what needs torch, which takes a while: torch itself, the GPUs, and that "
        "each backbone on this machine can be loaded.",
    ),
]


def doctor(
    data_dir: DataDir = None, full: Full = False, url: Url = None, as_json: AsJson = False
) -> None:
    """Check installation, settings and services, and suggest fixes.

    Nothing is changed, created or downloaded. Parts that are not set up are listed but are not
    errors. The exit code is 1 if there are errors.
    """
    findings = list(_look(data_dir, url, full))
    failed = any(finding.state == State.FAIL for finding in findings)
    if as_json:
        print_json({"healthy": not failed, "findings": [one.to_dict() for one in findings]})
    else:
        _show(findings)
    if failed:
        raise typer.Exit(1)


def _look(data_dir: Path | None, url: str | None, full: bool) -> Iterator[Finding]:
    from app.doctor import installation, parts, service, variables
    from app.kit.settings import Settings

    try:
        settings = Settings() if data_dir is None else Settings(data_dir=data_dir)
    except ValueError:
        settings = None  # which are wrong is found below
    yield from installation.look([] if settings is None else settings.local_backbones, full=full)
    yield from variables.look(os.environ)
    if settings is not None:
        yield from parts.look(settings)
    yield from service.look(url, named=url is not None)


def _show(findings: Sequence[Finding]) -> None:
    for part, group in groupby(findings, lambda finding: finding.part):
        table = Table(title=part, title_justify="left", box=None, show_header=False)
        for column in ("state", "check", "found"):
            table.add_column(column, no_wrap=column == "state", overflow="fold")
        for finding in group:
            word, style = _LOOKS[finding.state]
            found = Text(finding.found)
            if finding.fix and finding.state != State.OK:
                found.append(f"\n{finding.fix}", style="" if style == "dim" else style)
            table.add_row(Text(word, style), Text(finding.check), found)
        out.print(table)
    states = [finding.state for finding in findings]
    failed, warned = states.count(State.FAIL), states.count(State.WARN)
    counts = ((failed, "error"), (warned, "warning"))
    total = ", ".join(counted(count, word) for count, word in counts)
    out.print(f"\n{total}.")
