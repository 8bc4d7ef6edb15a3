"""One data set with its classes, as far as they are known without decoding the photos."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

from dspt_client.schemas.datasets import DatasetDetail

from app.access.caller import Caller
from app.datasets import service, views
from app.datasets.photos import PhotoShelf
from app.kit.context import Context
from app.kit.http.errors import Conflict, Unprocessable


def of(context: Context, caller: Caller, shelf: PhotoShelf, dataset_id: str) -> DatasetDetail:
    """Return a data set. Raises NotFound, and Unprocessable if a job would refuse it."""
    zip_file, dataset = service.find_with_zip(context, caller, dataset_id)
    if zip_file.expired_at is not None:
        return views.detail(dataset, Counter(), 0, ())
    counts = Counter((photo.label, photo.split) for photo in shelf.list(zip_file, dataset))
    photos = shelf.open(zip_file)
    return views.detail(dataset, counts, photos.unlabelled, photos.warnings)


def of_new(context: Context, caller: Caller, shelf: PhotoShelf, dataset_id: str) -> DatasetDetail:
    """Return a data set that was just stored; delete it if a job would refuse it."""
    try:
        return of(context, caller, shelf, dataset_id)
    except Unprocessable:
        with suppress(Conflict):  # a job has the same zip, and fails for the same reasons
            service.delete(context, caller, dataset_id)
        raise
