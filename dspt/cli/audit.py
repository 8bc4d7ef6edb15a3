"""`dspt audit`: find wrong labels in a folder or zip."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dspt.cli.options import (
    AsJson,
    ClassNames,
    Corrected,
    Data,
    read_class_names,
    with_config_options,
)
from dspt.cli.tables import suspects
from dspt.cli.terminal import (
    check_writable,
    errors_shown,
    keep_corrections,
    out,
    print_json,
    run_tuning,
    writing,
)
from dspt.config import TuneConfig


@with_config_options
def audit(
    data: Data,
    csv_file: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help="Write the ranking of all files to this file, with an empty column correct_label. "
            "Fill in the correct class, drop, or keep for a right label, and pass the file to "
            "--corrections.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Show at most this many suspects.")] = 50,
    corrections: Corrected = None,
    class_names: ClassNames = None,
    as_json: AsJson = False,
    *,
    config: TuneConfig,
) -> None:
    """Find the labels that are probably wrong."""
    with errors_shown(data):
        if csv_file is not None:
            check_writable(csv_file)
            keep_corrections(csv_file, "--corrections")
        report = run_tuning(data, read_class_names(class_names), config, corrections or ()).audit
        if csv_file is not None:
            from dspt.labels.audit_csv import audit_csv

            with writing(csv_file):
                csv_file.write_bytes(audit_csv(asdict(entry) for entry in report.entries))
    if as_json:
        print_json(report.to_dict())
        return
    out.print(suspects(report.to_dict(), most))
    if report.can_tell:
        out.print(report.why[:1].upper() + report.why[1:], markup=False)
    if csv_file is not None:
        out.print(f"All {len(report.entries)} files ranked in {csv_file}.", markup=False)
