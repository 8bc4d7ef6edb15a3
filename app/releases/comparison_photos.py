"""On which photos two models are compared: those that both were tuned on, or a data set named."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.datasets import repository as datasets
from app.jobs import repository as jobs
from app.kit.http.errors import Conflict, NotFound
from app.models import repository
from app.tables.datasets import Dataset
from app.tables.models import Model

_MOST_PARENTS = 100


@dataclass(frozen=True)
class Photos:
    """A data set, and how much of it can be believed."""

    dataset: Dataset
    storage_key: str
    """Of the uploaded zip."""
    learned_from: bool
    """Whether one of the models is known to be tuned on it: then its test part alone tells."""


def photos_for(
    session: Session, caller: Caller, models: tuple[Model, Model], dataset_id: str | None
) -> Photos:
    """What to compare two models on.

    Raises NotFound where the data set is not there, Conflict where none is named and the models
    were not tuned on the same photos, or where they have expired.
    """
    tuned_on = [_tuned_on(session, model) for model in models]
    zips = [None if found is None else datasets.zip_of(session, found).id for found in tuned_on]
    if dataset_id is not None:
        dataset = datasets.get(session, dataset_id)
        if dataset is None or not caller.sees(dataset.owner):
            raise NotFound(f"There is no data set {dataset_id!r}.", code="dataset_not_found")
    elif tuned_on[0] is None or None in zips:
        lost = " and ".join(m.id for m, zip_id in zip(models, zips, strict=True) if zip_id is None)
        raise Conflict(
            f"It is not known which photos {lost} was tuned on: it was imported, or its job was "
            f"deleted. {_MEND}",
            code="no_common_photos",
        )
    elif zips[0] != zips[1]:
        raise Conflict(
            f"The two were tuned on different photos ({zips[0]} and {zips[1]}), and either may "
            f"have learned from what the other is tested on. {_MEND}",
            code="no_common_photos",
        )
    else:
        dataset = tuned_on[0]
    zip_file = datasets.zip_of(session, dataset)
    if zip_file.expired_at is not None:
        raise Conflict(
            "The photos of this data set were deleted after their time. " + _MEND,
            code="dataset_expired",
        )
    return Photos(dataset, zip_file.storage_key, learned_from=zip_file.id in zips)


_MEND = "Name a data set with test photos that suit both as `dataset_id`."


def _tuned_on(session: Session, model: Model) -> Dataset | None:
    """The data set of the job that made the model, or the one that its classes were added to."""
    owner = model.owner
    for _ in range(_MOST_PARENTS):
        if model.job_id is not None:
            job = jobs.get(session, model.job_id)
            return None if job is None else datasets.get(session, job.dataset_id)
        parent = model.metrics.get("parent")
        parent_id = parent.get("id") if isinstance(parent, dict) else None
        found = repository.get(session, parent_id) if isinstance(parent_id, str) else None
        # An imported file may say anything, also that its parent is somebody else's.
        if found is None or found.owner != owner:
            return None
        model = found
    return None
