"""The audit of a finished job: which labels to check."""

from __future__ import annotations

import csv
import io
import json

from sqlalchemy.orm import Session

from app.jobs import service
from app.jobs.schemas import AuditEntryView, AuditView
from app.jobs.state import TERMINAL
from app.kit.context import Context
from app.kit.errors import Conflict, NotFound

#: A spreadsheet takes a cell that begins like this for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def read(session: Session, context: Context, job_id: str) -> AuditView:
    """The audit as the worker stored it. Raises NotFound, or Conflict if there is none."""
    job = service.find(session, job_id)
    if job.status not in TERMINAL:
        raise Conflict(
            f"The job is {job.status}; its audit comes when it has succeeded.",
            code="job_not_finished",
        )
    if job.audit_key is None:
        raise Conflict(f"The job is {job.status}: there is no audit.", code="no_audit")
    try:
        stored = json.loads(context.storage.read_bytes(job.audit_key))
    except FileNotFoundError as error:
        raise NotFound("The audit is no longer in the storage.", code="audit_not_found") from error
    return AuditView.model_validate({**stored, "job_id": job.id})


def to_csv(audit: AuditView) -> str:
    """One line per file. Cells that a spreadsheet would run as a formula begin with `'`."""
    columns = list(AuditEntryView.model_fields)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for entry in audit.entries:
        values = entry.model_dump()
        writer.writerow([_cell(values[column]) for column in columns])
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value
