"""Read the audit of a finished job."""

from __future__ import annotations

import json

from dspt_client.schemas.jobs import AuditView
from dspt_client.schemas.status import TERMINAL

from app.access.caller import Caller
from app.jobs import service
from app.kit.context import Context
from app.kit.http.errors import Conflict, NotFound


def held_out(context: Context, audit_key: str) -> frozenset[str]:
    """Return the files that a job held out; empty if its audit is lost or from an old version."""
    try:
        entries = json.loads(context.storage.read_bytes(audit_key))["entries"]
    except FileNotFoundError:
        return frozenset()
    return frozenset(entry["file"] for entry in entries if entry.get("held_out"))


def read(context: Context, caller: Caller, job_id: str) -> AuditView:
    """Return the audit stored by the worker. Raises NotFound, or Conflict if there is none."""
    with context.database.read() as session:
        job = service.find(session, caller, job_id)
    if job.status not in TERMINAL:
        raise Conflict(
            f"The job is {job.status}. Its audit is available once it has succeeded.",
            code="job_not_finished",
        )
    if job.audit_key is None:
        raise Conflict(f"The job is {job.status} and has no audit.", code="no_audit")
    try:
        stored = json.loads(context.storage.read_bytes(job.audit_key))
    except FileNotFoundError as error:
        raise NotFound("The audit is no longer in the storage.", code="audit_not_found") from error
    return AuditView.model_validate({**stored, "job_id": job.id})
