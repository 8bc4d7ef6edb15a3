"""`dspt audit`: which labels of a folder or zip to check."""

from __future__ import annotations

import csv
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dspt.cli.options import AsJson, ClassNames, Data, read_class_names, with_config_options
from dspt.cli.tables import suspects
from dspt.cli.terminal import (
    check_writable,
    errors_shown,
    out,
    print_json,
    run_tuning,
    writing,
)
from dspt.config import TuneConfig

if TYPE_CHECKING:
    from dspt.audit import AuditReport


@with_config_options
def audit(
    data: Data,
    csv_file: Annotated[
        Path | None,
        typer.Option(
            "--csv", help="Write the ranking of all files here.", dir_okay=False, show_default=False
        ),
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Show at most this many suspects.")] = 50,
    class_names: ClassNames = None,
    as_json: AsJson = False,
    *,
    config: TuneConfig,
) -> None:
    """Find the labels that are probably wrong."""
    with errors_shown(data):
        if csv_file is not None:
            check_writable(csv_file)
        report = run_tuning(data, read_class_names(class_names), config).audit
        if csv_file is not None:
            with writing(csv_file):
                _write_csv(report, csv_file)
    if as_json:
        print_json(report.to_dict())
        return
    out.print(suspects(report, most))
    if report.can_tell:
        out.print(report.why[:1].upper() + report.why[1:], markup=False)
    if csv_file is not None:
        out.print(f"All {len(report.entries)} files ranked in {csv_file}.", markup=False)


def _write_csv(report: AuditReport, path: Path) -> None:
    from dspt.audit import AuditEntry

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(AuditEntry)])
        writer.writeheader()
        writer.writerows(asdict(entry) for entry in report.entries)
