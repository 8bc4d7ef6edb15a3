"""Validate corrected labels and create a new job on them."""

from __future__ import annotations

import dataclasses
import hashlib

from dspt_client.schemas.jobs import JobView

from app.access.caller import Caller
from app.datasets import repository as datasets
from app.datasets import service as dataset_service
from app.jobs import service
from app.jobs.intake.requests import JobRequest, checked_name, config_after
from app.jobs.review import audit, verdicts
from app.jobs.schemas import CorrectionsRequest
from app.kit.context import Context
from app.kit.http.errors import BadRequest, NotFound, Unprocessable
from app.kit.http.json_body import parse_json
from app.leased.service import Created
from dspt.labels.audit_csv import corrections_from_csv
from dspt.labels.corrections import Corrections

#: Media type of the body -> its OpenAPI description.
CONTENT_TYPES = {
    "application/json": {"schema": CorrectionsRequest.model_json_schema()},
    "text/csv": {
        "schema": {
            "type": "string",
            "description": "The audit as CSV with the column `correct_label` filled in: the "
            "correct class, `new: ` and a class that the data set does not have, `drop`, or `keep` "
            "for a label that is right. Empty: not looked at.",
        }
    },
}
_SUFFIX = " (corrected)"


def create(
    context: Context,
    caller: Caller,
    job_id: str,
    content_type: str,
    body: bytes,
    name: str | None,
    idempotency_key: str | None,
) -> Created[JobView]:
    """Create a job on the data set of `job_id` with these corrections added to earlier ones.

    name: of the new job, if the body has none.
    The new job belongs to the owner of `job_id`, also if an admin sends the corrections. All
    problems are reported together, by file, before the job is created. Raises NotFound, Conflict
    (no audit), BadRequest, Unprocessable, DatasetError.
    """
    # Of the call: its review may have other verdicts when it is repeated.
    asked = hashlib.sha256(repr((job_id, content_type, body, name)).encode()).hexdigest()
    if earlier_job := service.replayed(context, caller, idempotency_key, asked):
        return earlier_job
    given = audit.find(context, caller, job_id).given()
    with context.database.read() as session:
        job = service.find(session, caller, job_id)
        dataset = datasets.get(session, job.dataset_id)
        assert dataset is not None  # foreign key
        zip_file = datasets.zip_of(session, dataset)
    assert job.dataset_report is not None  # an audit exists, so the data set was validated
    classes = job.dataset_report["classes"]
    request, corrections = _parsed(content_type, body, classes)
    if request.review:
        with context.database.read() as session:
            reviewed = verdicts.corrections_of(session, job)
        new = {**reviewed.new_classes, **corrections.new_classes}
        corrections = dataclasses.replace(reviewed, new_classes=new)
    wanted = JobRequest(
        name=checked_name(request.name or name) or _name_after(job.name),
        config=config_after(job, request.config, context.settings.local_backbones),
        class_names=job.class_names,
    )
    try:
        earlier = dataset_service.corrections_of(context, dataset)
    except FileNotFoundError as error:
        raise NotFound("The data set was deleted.", code="dataset_not_found") from error
    words = {**(job.class_names or {}), **earlier.given_words}
    changed = corrections.checked(classes, given, words=words, confirmed=earlier.confirmed)
    every = changed.on_top_of(earlier)
    upload = dataset_service.corrected(zip_file, every)
    return service.create(
        context, caller, wanted, upload, idempotency_key, corrected=job, request_sha256=asked
    )


def _parsed(
    content_type: str, body: bytes, classes: list[str]
) -> tuple[CorrectionsRequest, Corrections]:
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        raise BadRequest(
            "Send corrections as JSON with the header `Content-Type: application/json`, or the "
            "audit's CSV with `Content-Type: text/csv`.",
            code="unknown_content_type",
        )
    if kind == "text/csv":
        return CorrectionsRequest(), corrections_from_csv(body, "corrections.csv", classes)
    request = parse_json(CorrectionsRequest, body)
    if request.review and (request.relabel or request.drop or request.keep):
        raise Unprocessable(
            "Send either `review`, or `relabel`, `drop` and `keep`.", code="review_and_corrections"
        )
    found = Corrections.of(request.relabel, request.drop, request.keep, request.new_classes)
    return request, found


def _name_after(name: str) -> str:
    """Return the name of the corrected job with the suffix added once."""
    return name.removesuffix(_SUFFIX)[: 200 - len(_SUFFIX)] + _SUFFIX
