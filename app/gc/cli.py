"""`dspt gc`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from app.gc.findings import GRACE_SECONDS, Finding
from app.kit.command_line import DataDir, service_database


def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Delete nothing; list what would be deleted.")
    ] = False,
    grace: Annotated[
        float,
        typer.Option(
            min=0, help="Seconds for which a stored file may have no row in the database."
        ),
    ] = GRACE_SECONDS,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per deleted item and line.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Delete files left by crashes, and data past its retention.

    The API does the same every hour. DSPT_KEEP_DATASETS_DAYS, DSPT_KEEP_EVENTS_DAYS and
    DSPT_KEEP_FEATURES_DAYS set how long photos, events and encoded photos are kept. Default:
    forever.
    """
    # Imported here, so that other commands start without it.
    from app.gc.service import collect
    from app.kit.context import Context
    from app.kit.storage import Storage

    findings: list[Finding] = []
    with service_database(data_dir) as (settings, database):
        context = Context(settings, database, Storage(settings.storage_url))
        for finding in collect(context, dry_run=dry_run, grace_seconds=grace):
            findings.append(finding)
            if as_json:
                typer.echo(json.dumps(asdict(finding)))
    if not as_json:
        _show(findings, dry_run)


def _show(findings: list[Finding], dry_run: bool) -> None:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Table

    if not findings:
        typer.echo("Nothing to delete.")
        return
    table = Table("what", "name", "count", "size")
    for finding in findings:
        size = "" if finding.size_bytes is None else decimal(finding.size_bytes)
        table.add_row(finding.kind, finding.name, str(finding.count), size)
    Console().print(table)
    total = decimal(sum(finding.size_bytes or 0 for finding in findings))
    verb = "Would delete" if dry_run else "Deleted"
    items = "1 item" if len(findings) == 1 else f"{len(findings)} items"
    typer.echo(f"{verb} {items} ({total}).")
