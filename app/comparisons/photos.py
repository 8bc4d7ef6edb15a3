"""Choose the photos to compare two models on: those that both were tuned on, or a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from app.datasets import repository as datasets
from app.datasets.service import corrections_of, local_copies
from app.jobs import repository as jobs
from app.jobs.review import audit
from app.kit.context import Context
from app.kit.http.errors import Conflict, NotFound
from app.models import repository
from app.tables.datasets import Dataset
from app.tables.jobs import Job
from app.tables.models import Model

if TYPE_CHECKING:
    from dspt.data.labelled import LabelledFiles
    from dspt.data.layout import Candidate

_MOST_PARENTS = 100


@dataclass(frozen=True)
class Opened:
    """An open data set, and those of its files to compare on."""

    files: LabelledFiles
    part: str
    wanted: Sequence[Candidate]


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


def photos_for(session: Session, models: tuple[Model, Model], chosen: Dataset | None) -> Photos:
    """Return the photos to compare two models on.

    Raises Conflict if the `chosen` data set has expired, or if none is chosen and the models were
    not tuned on the same photos.
    """
    tuned_by = [_job_of(session, model) for model in models]
    tuned_on = [None if job is None else datasets.get(session, job.dataset_id) for job in tuned_by]
    families = [None if each is None else each.family_id for each in tuned_on]
    if chosen is not None:
        dataset = chosen
    elif tuned_on[0] is None or tuned_on[1] is None:
        lost = " and ".join(m.id for m, of in zip(models, families, strict=True) if of is None)
        raise Conflict(
            f"The photos of {lost} are unknown: a model was imported, or its job "
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


def open_photos(stack: ExitStack, context: Context, photos: Photos, everything: bool) -> Opened:
    """Open the data set until `stack` ends.

    Raises NotFound if it was deleted, Conflict if it has no images that are a fair test.
    """
    from dspt.data.labelled import labelled_files

    try:
        first, *added = stack.enter_context(local_copies(context, photos.zips))
        corrections = corrections_of(context, photos.dataset)
    except FileNotFoundError as error:  # deleted in the meantime, or lost
        raise NotFound("The data set was deleted.", code="dataset_not_found") from error
    files = stack.enter_context(labelled_files(first, added=added))
    test = files.held_out()
    if everything:
        if photos.used_for_tuning:
            raise Conflict(
                f"A model was tuned on data set {photos.dataset.id}, so its accuracy on those "
                "photos would be too high. Omit `all`, or set `dataset_id` to another data set.",
                code="learned_from",
            )
        part, wanted = "all", files.files
    elif test:
        part, wanted = test[0].split, test
    else:
        part, wanted = "held_out", _held_out_by_both(context, photos, files)
    right = corrections.relabel
    kept = [file for file in wanted if file.path not in corrections.drop]
    labelled = [dataclasses.replace(f, class_name=right.get(f.path, f.class_name)) for f in kept]
    return Opened(files, part, labelled)


def _held_out_by_both(
    context: Context, photos: Photos, files: LabelledFiles
) -> tuple[Candidate, ...]:
    """Return the files that the jobs of both models held out. Raises Conflict if there are none."""
    held_out = [audit.held_out(context, key) for key in photos.audit_keys]
    shared = frozenset.intersection(*held_out) if held_out else frozenset()
    if not shared and photos.used_for_tuning:
        raise Conflict(
            f"Data set {photos.dataset.id} has no test/ part, and no photo is known to have been "
            "held out by the jobs of both models: their settings differ (`seed`, `shots`, "
            "`validation_fraction`), or an earlier version ran them. Set `dataset_id` to a data "
            "set with test photos for both.",
            code="no_test_part",
        )
    if not shared:
        raise Conflict(
            f"Data set {photos.dataset.id} has no test/ part. Set `dataset_id` to another one, "
            "or set `all` if neither model was tuned on any of its photos.",
            code="no_test_part",
        )
    return tuple(file for file in files.files if file.path in shared)
