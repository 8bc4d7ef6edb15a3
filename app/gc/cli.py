"""`dspt gc`."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict
from typing import Annotated

import typer

from app.gc.findings import GRACE_SECONDS, MOVED_TO_TRASH, Finding, Kind
from app.kit.command_line import DataDir, service_database
from dspt.kit.text import counted


def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; list what would be deleted or moved.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Move files to the trash even if they are more than 10 % of all, or 1,000.",
        ),
    ] = False,
    grace: Annotated[
        float,
        typer.Option(
            min=0, help="Seconds for which a stored file may have no row in the database."
        ),
    ] = GRACE_SECONDS,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per item and line.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Delete files left by crashes, and data past its retention.

    The API does the same every hour. DSPT_KEEP_DATASETS_DAYS, DSPT_KEEP_EVENTS_DAYS,
    DSPT_KEEP_BATCHES_DAYS and DSPT_KEEP_FEATURES_DAYS set how long photos, events, batches with
    comparisons, and encoded photos are kept. Default: forever. DSPT_KEEP_CAPTURED_DAYS and
    DSPT_MAX_CAPTURED_PER_MODEL limit the photos of predictions with `capture`. Stored files are
    first moved to `trash/` in the storage and deleted from there after DSPT_TRASH_DAYS; files in
    the trash that the database needs again are moved back.
    """
    # Imported here, so that other commands start without it.
    from app.gc.files import TooMuchGarbageError
    from app.gc.service import collect
    from app.installation.service import InstallationError, ensure
    from app.kit.context import Context
    from app.kit.storage import open_storage

    findings: list[Finding] = []
    stopped: Exception | None = None
    with service_database(data_dir, schema="checked" if dry_run else "migrated") as (
        settings,
        database,
    ):
        context = Context(settings, database, open_storage(settings))
        try:
            if not dry_run:
                ensure(context)
            for finding in collect(context, dry_run=dry_run, force=force, grace_seconds=grace):
                findings.append(finding)
                if as_json:
                    typer.echo(json.dumps(asdict(finding)))
        except (TooMuchGarbageError, InstallationError) as error:
            stopped = error
    if not as_json:
        _show(findings, dry_run)
    if stopped is not None:
        typer.echo(f"dspt gc: {stopped}", err=True)
        raise typer.Exit(1)


def _show(findings: list[Finding], dry_run: bool) -> None:
    from rich.filesize import decimal

    if not findings:
        typer.echo("Nothing to delete.")
        return
    width = max(len(finding.kind) for finding in findings)
    for finding in findings:  # no table: it would cut long names
        number = f"{finding.count:,}" if finding.size_bytes is None else decimal(finding.size_bytes)
        typer.echo(f"{finding.kind:<{width}}  {number:>9}  {finding.name}")
    deleted = frozenset(Kind) - MOVED_TO_TRASH - {Kind.NEEDED}
    _sum_up(
        findings, MOVED_TO_TRASH, "Would move {} to the trash.", "Moved {} to the trash.", dry_run
    )
    _sum_up(findings, {Kind.NEEDED}, "Would move {} back.", "Moved {} back.", dry_run)
    _sum_up(findings, deleted, "Would delete {}.", "Deleted {}.", dry_run)


def _sum_up(
    findings: list[Finding], kinds: Collection[Kind], would: str, did: str, dry_run: bool
) -> None:
    from rich.filesize import decimal

    sizes = [finding.size_bytes or 0 for finding in findings if finding.kind in kinds]
    if sizes:
        items = f"{counted(len(sizes), 'item')} ({decimal(sum(sizes))})"
        typer.echo((would if dry_run else did).format(items))
