"""Tune again on the photos of a model and those that have feedback."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from dspt_client.schemas.jobs import JobView

from app.access.caller import Caller
from app.datasets import additions
from app.datasets import repository as datasets
from app.datasets import service as dataset_service
from app.feedback import repository
from app.feedback.service import check_labels
from app.jobs import repository as jobs
from app.jobs import service as job_service
from app.jobs.intake.requests import JobRequest, checked_name, config_after
from app.kit.context import Context
from app.kit.http.errors import Conflict, NotFound
from app.leased.service import Created
from app.models.service import find_by_name
from app.tables.captures import CapturedPrediction
from app.tables.jobs import Job
from dspt.labels.corrections import Corrections


def create_job(
    context: Context,
    caller: Caller,
    model_name: str,
    name: str | None,
    config: Mapping[str, Any],
    idempotency_key: str | None,
) -> Created[JobView]:
    """Create a job on a new version of the data set of a model: with all photos with feedback.

    Their labels count as confirmed by a person. name: of the job, default that of the model;
    config: settings that differ from those of the model's job. Job and version belong to the owner
    of the model. Raises NotFound, Unprocessable, TooManyRequests, and Conflict if there is no
    feedback or if the model has no job or photos any more.
    """
    # Not of the photos: the same call, repeated after more feedback, has the same job.
    asked = JobRequest(name, dict(config), None).sha256(f"retrain/{model_name}")
    if earlier := job_service.replayed(context, caller, idempotency_key, asked):
        return earlier
    with context.database.read() as session:
        model = find_by_name(session, caller, model_name)
        job = jobs.get(session, model.job_id) if model.job_id else None
        labelled = repository.with_feedback(session, model.id)
    if job is None:
        raise Conflict(
            "The job of this model was deleted, or the model was imported, so its photos are not "
            "known. Add the photos with `POST /datasets/{id}/images`, and start a job on them.",
            code="model_without_job",
        )
    if not labelled:
        raise Conflict(
            "No captured prediction of this model has feedback. Send `POST /feedback` first.",
            code="no_feedback",
        )
    with context.database.read() as session:  # two of them may be new and look the same
        check_labels(session, model, (each.label or "" for each in labelled))
    wanted = JobRequest(
        name=checked_name(name) or model.name,
        config=config_after(job, config, context.settings.local_backbones),
        class_names=job.class_names,
    )
    upload = _with_photos(context, caller, job, labelled)
    return job_service.create(
        context, caller, wanted, upload, idempotency_key, corrected=job, request_sha256=asked
    )


class _Photos(Mapping[str, IO[bytes]]):
    """File name -> photo, read from the storage one at a time."""

    def __init__(self, context: Context, captured: Sequence[CapturedPrediction]) -> None:
        self._context = context
        # Unlike all paths of uploaded photos. What a file holds is found out by its content.
        self._keys = {f"{each.id}.jpg": each.storage_key for each in captured}

    def __getitem__(self, name: str) -> IO[bytes]:
        try:
            return io.BytesIO(self._context.storage.read_bytes(self._keys[name]))
        except FileNotFoundError as error:
            raise NotFound(
                "A photo with feedback was deleted in the meantime. Repeat the request.",
                code="photo_not_found",
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _with_photos(
    context: Context, caller: Caller, job: Job, captured: Sequence[CapturedPrediction]
) -> dataset_service.Upload:
    """Store a version of the job's data set with these photos; return it with confirmed labels."""
    photos = _Photos(context, captured)
    labels = {name: each.label or "" for name, each in zip(photos, captured, strict=True)}
    with additions.packed(photos, labels, "train") as upload:
        made = additions.add(context, caller, job.dataset_id, upload)
    with context.database.read() as session:
        version = datasets.get(session, made)
    if version is None:
        raise NotFound("The data set was deleted.", code="dataset_not_found")
    confirmed = Corrections.of(keep=[f"images/{name}" for name in photos])
    earlier = dataset_service.corrections_of(context, version)
    return dataset_service.corrected(version, confirmed.on_top_of(earlier))
