"""What the corrections of a job changed, on the images that were measured before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from app.jobs import repository as jobs
from app.jobs.review.stored_entries import StoredEntries
from app.kit.context import Context
from app.tables.jobs import Job
from dspt.errors import DatasetError

if TYPE_CHECKING:
    from dspt.report.change import Prediction

_log = structlog.get_logger(__name__)


def change_of(
    context: Context,
    job: Job,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    noise_rate: Mapping[str, Any] | None,
) -> dict[str, Any] | None:
    """Compare the predictions of a corrected job with those of the job that it corrects.

    classes, noise_rate: those of the corrected job. None if `job` corrects no other, if that was
    deleted or has no predictions, or if the two have no measured image in common.
    """
    from dspt.report.change import Change

    if job.corrected_from is None:
        return None
    with context.database.read() as session:
        parent = jobs.get(session, job.corrected_from)
    key = None if parent is None else parent.predictions_key
    if parent is None or key is None:
        return None
    try:
        with context.storage.open(key) as file:
            entries = StoredEntries(file).entries()
            before = {entry["file"]: entry["predicted"] for _, entry in entries}
    except (FileNotFoundError, ValueError, KeyError) as error:  # the job itself does not need them
        _log.warning("predictions of the corrected job are lost", key=key, error=repr(error))
        return None
    report, metrics = parent.dataset_report or {}, parent.metrics or {}
    try:
        change = Change.of(before, predictions, report.get("classes", ()), classes)
    except DatasetError:
        return None
    return change.to_dict() | {
        "noise_rate_before": metrics.get("noise_rate"),
        "noise_rate_after": noise_rate,
    }
