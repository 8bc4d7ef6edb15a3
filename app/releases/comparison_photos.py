"""Choose the photos to compare two models on: those that both were tuned on, or a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.datasets import repository as datasets
from app.datasets.service import find
from app.jobs import repository as jobs
from app.kit.http.errors import Conflict
from app.models import repository
from app.tables.datasets import Dataset
from app.tables.jobs import Job
from app.tables.models import Model

_MOST_PARENTS = 100


@dataclass(frozen=True)
class Photos:
    """A data set, and whether only its test part can be used."""

    dataset: Dataset
    zips: Sequence[Dataset]
    """Those that have its photos."""
    used_for_tuning: bool
    """Whether a model is known to be tuned on it: then only its test part is a fair test, or the
    images that the jobs of both models held out."""
    audit_keys: tuple[str, ...]
    """Storage keys of both jobs' audits, if both models were tuned on it; else empty."""


def photos_for(
    session: Session, caller: Caller, models: tuple[Model, Model], dataset_id: str | None
) -> Photos:
    """Return the photos to compare two models on.

    Raises NotFound if the data set does not exist, Conflict if it has expired, or if no
    `dataset_id` is given and the models were not tuned on the same photos.
    """
    tuned_by = [_job_of(session, model) for model in models]
    tuned_on = [None if job is None else datasets.get(session, job.dataset_id) for job in tuned_by]
    families = [None if each is None else each.family_id for each in tuned_on]
    if dataset_id is not None:
        dataset = find(session, caller, dataset_id)
    elif tuned_on[0] is None or tuned_on[1] is None:
        lost = " and ".join(m.id for m, of in zip(models, families, strict=True) if of is None)
        raise Conflict(
            f"The photos that {lost} was tuned on are unknown: the model was imported, or its job "
            f"was deleted. {_FIX}",
            code="no_common_photos",
        )
    elif families[0] != families[1]:
        raise Conflict(
            f"The two models were tuned on different photos ({families[0]} and {families[1]}), so "
            f"test photos of one may be training photos of the other. {_FIX}",
            code="no_common_photos",
        )
    else:  # the labels of the newer one are the more corrected ones
        dataset = max(tuned_on[0], tuned_on[1], key=lambda each: each.created_at)
    zips = datasets.zips_of(session, dataset)
    if zips[0].expired_at is not None:
        raise Conflict(
            "The photos of this data set were deleted by retention. " + _FIX,
            code="dataset_expired",
        )
    audits = [job.audit_key for job in tuned_by if job is not None and job.audit_key is not None]
    both = families == [dataset.family_id] * 2 and len(audits) == len(models)
    return Photos(
        dataset,
        zips,
        used_for_tuning=dataset.family_id in families,
        audit_keys=tuple(audits) if both else (),
    )


_FIX = "Set `dataset_id` to a data set with test photos for both."


def _job_of(session: Session, model: Model) -> Job | None:
    """Return the job of the model, or of the model that classes were added to."""
    owner = model.owner
    for _ in range(_MOST_PARENTS):
        if model.job_id is not None:
            return jobs.get(session, model.job_id)
        parent = model.metrics.get("parent")
        parent_id = parent.get("id") if isinstance(parent, dict) else None
        found = repository.get(session, parent_id) if isinstance(parent_id, str) else None
        # An imported file may claim any parent, also one of another owner.
        if found is None or found.owner != owner:
            return None
        model = found
    return None
