"""`dspt audit`: find wrong labels in a folder or zip, or with predictions made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dspt.cli.options import (
    AsJson,
    ClassNames,
    Corrected,
    OptionalData,
    csv_option,
    page_option,
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
from dspt.errors import ConfigError

if TYPE_CHECKING:
    from dspt.labels.audit import AuditReport


@with_config_options
def audit(
    data: OptionalData = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Instead of photos, with --probabilities: the labels. CSV with a column label and "
            "an optional column file, or .npy with N column numbers or names.",
            show_default=False,
        ),
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="With --labels: class probabilities by models that were not trained on these "
            "labels. CSV with one column per class, named after it, and an optional first column "
            "file; or .npy of shape (N, C).",
            show_default=False,
        ),
    ] = None,
    csv_file: Annotated[Path | None, csv_option("--corrections")] = None,
    html_file: Annotated[Path | None, page_option("--corrections")] = None,
    most: Annotated[int, typer.Option(min=1, help="Show at most this many suspects.")] = 50,
    corrections: Corrected = None,
    class_names: ClassNames = None,
    as_json: AsJson = False,
    *,
    config: TuneConfig,
) -> None:
    """Find the labels that are probably wrong, in photos or with predictions made elsewhere."""
    with errors_shown(data or labels):
        if csv_file is not None:
            check_writable(csv_file)
            keep_corrections(csv_file, "--corrections")
        if html_file is not None:
            check_writable(html_file)
            if data is None:
                raise ConfigError("--html needs photos")
        names, tables = read_class_names(class_names), corrections or ()
        if data is not None and labels is None and probabilities is None:
            report = run_tuning(data, names, config, tables).audit
        elif names is None and not tables and config == TuneConfig():
            report = _by_predictions(data, labels, probabilities)
        else:
            raise ConfigError(
                "--labels and --probabilities take no corrections, class names or settings of the "
                "tuning"
            )
        if csv_file is not None:
            from dspt.labels.audit_csv import audit_csv

            with writing(csv_file):
                csv_file.write_bytes(audit_csv(asdict(entry) for entry in report.entries))
        if html_file is not None and data is not None:
            _write_page(html_file, data, report, most)
    if as_json:
        print_json(report.to_dict())
        return
    out.print(suspects(report.to_dict(), most))
    if report.can_tell:
        out.print(report.why[:1].upper() + report.why[1:], markup=False)
    if csv_file is not None:
        out.print(f"All {len(report.entries)} files ranked in {csv_file}.", markup=False)
    if html_file is not None:
        out.print(f"Open {html_file} in a browser to check the labels.", markup=False)


def _write_page(path: Path, data: Path, report: AuditReport, most: int) -> None:
    from dspt.data.images import as_jpeg
    from dspt.data.photos import open_photos
    from dspt.errors import ImageError
    from dspt.report.review_page import SIDE, classes_of, review_page

    entries = [asdict(entry) for entry in report.entries]
    with open_photos(data) as photos:

        def thumbnail(entry: Mapping[str, Any]) -> bytes | None:
            try:
                return as_jpeg(photos.read(photos.numbers[entry["file"]]), SIDE)
            except (ImageError, KeyError):
                return None

        page = review_page(
            entries,
            classes_of(entries),
            sum(entry["suspect"] for entry in entries),
            thumbnail,
            most=most,
            title=f"Labels to check in {data.name}",
            command="dspt audit --corrections",
        )
    with writing(path):
        path.write_text(page, "utf-8")


def _by_predictions(
    data: Path | None, labels: Path | None, probabilities: Path | None
) -> AuditReport:
    if data is not None or labels is None or probabilities is None:
        raise ConfigError(
            "pass either a folder or zip of labelled photos, or both --labels and --probabilities"
        )
    from dspt.labels.prediction_files import read_predictions
    from dspt.labels.predictions import audit_probabilities

    found = read_predictions(labels, probabilities)
    try:
        return audit_probabilities(
            found.labels, found.probabilities, classes=found.classes, files=found.files
        )
    except ValueError as error:
        raise ConfigError(f"{labels.name}, {probabilities.name}: {error}") from error
