"""Classify the images of the next queued batch, part by part."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.batches import repository
from app.batches.lease import BatchLease
from app.datasets import repository as datasets
from app.datasets import service as dataset_service
from app.jobs.lifecycle.lease import StepRefusedError
from app.kit import storage_keys
from app.kit.context import Context
from app.predictions.service import PredictOptions, prediction_of
from app.tables.batches import Batch
from dspt.data.findings import Findings
from dspt.data.hostile.archive import open_zip
from dspt.data.hostile.limits import Limits
from dspt.data.images import decode_image
from dspt.data.photos import open_photos
from dspt.errors import DatasetError, ImageError, Problem
from dspt.kit.cpus import available_cpus
from dspt.kit.light_torch import import_light
from worker.failures import explain
from worker.jsonable import jsonable
from worker.patience import patiently
from worker.reporter import renew_lease

if TYPE_CHECKING:
    from torch import Tensor

    from dspt.model.predict import ImageClassifier

_log = structlog.get_logger(__name__)
P = TypeVar("P")
T = TypeVar("T")

#: Images whose results are stored together. While the image tower runs one part, the next is read.
PART = 32
#: After so long a batch lets a queued job go first, and continues later.
TURN_SECONDS = 60.0


def run_next_batch(context: Context, worker_id: str) -> bool:
    """Claim the batch whose turn it is and classify its images; return False if there is none.

    Raises SQLAlchemyError if the database stays unavailable for minutes: the lease then lapses, and
    the batch is queued again.
    """
    lease = BatchLease.claim_next(context, worker_id)
    if lease is None:
        return False
    batch = patiently(lambda: _read_batch(lease))
    with structlog.contextvars.bound_contextvars(batch_id=batch.id, request_id=batch.request_id):
        _log.info("batch started", done=batch.done)
        with renew_lease(lease, context.settings.heartbeat_seconds):
            _work(lease, batch)
    return True


def _read_batch(lease: BatchLease) -> Batch:
    with lease.context.database.read() as session:
        batch = repository.get(session, lease.batch_id)
    assert batch is not None  # a leased batch cannot be deleted
    return batch


def _work(lease: BatchLease, batch: Batch) -> None:
    try:
        if _classify(lease, batch):
            patiently(lease.succeed)
            _log.info("batch succeeded")
            if batch.storage_key is not None:
                lease.context.storage.delete(batch.storage_key)
        else:
            patiently(lease.release)
            _log.info("batch returned to the queue")
    except StepRefusedError:
        _settle(lease)
    except SQLAlchemyError:
        raise
    except Exception as error:  # noqa: BLE001 - any error must end the batch
        _fail(lease, explain(error, lease.batch_id))


def _settle(lease: BatchLease) -> None:
    """End a batch that is to be cancelled; do nothing if the lease is lost."""
    if patiently(lease.stop_request).cancel:
        patiently(lease.cancelled)
        _log.info("batch cancelled")
    else:
        _log.warning("lease lost")


def _fail(lease: BatchLease, error: dict[str, Any]) -> None:
    try:
        patiently(lambda: lease.fail(error))
    except StepRefusedError:  # just cancelled or lost
        _settle(lease)


def _classify(lease: BatchLease, batch: Batch) -> bool:
    """Store the results of all images that have none; return False to return it to the queue."""
    try:
        classifier = _load(lease, batch.model_id)
    except FileNotFoundError as error:
        raise DatasetError(
            [Problem("", "model_not_found", f"The model {batch.model_id} was deleted.")]
        ) from error
    options, began = PredictOptions(**batch.options), time.monotonic()
    with _images(lease, batch) as (files, read), ThreadPoolExecutor(available_cpus()) as threads:
        patiently(lambda: lease.opened(len(files)))
        parts = [(i, files[i : i + PART]) for i in range(batch.done, len(files), PART)]

        def crops_of(part: tuple[int, Sequence[str]]) -> list[Future[Tensor | ImageError]]:
            return [threads.submit(_crop, classifier, read, file) for file in part[1]]

        for (first, names), crops in _one_ahead(parts, crops_of):
            request = patiently(lease.stop_request)
            if request.cancel or request.lost:
                raise StepRefusedError(lease.batch_id)
            if request.release or (
                time.monotonic() - began > TURN_SECONDS and patiently(lease.job_waits)
            ):
                return False
            found = _predictions(classifier, names, [crop.result() for crop in crops], options)
            patiently(partial(lease.store, first, found))
    return True


def _one_ahead(parts: Sequence[P], begin: Callable[[P], T]) -> Iterator[tuple[P, T]]:
    """Yield each part with what `begin` returns for it, called while the part before is in use."""
    begun = deque(begin(part) for part in parts[:1])
    for part, following in zip_longest(parts, parts[1:]):
        if following is not None:
            begun.append(begin(following))
        yield part, begun.popleft()


def _crop(
    classifier: ImageClassifier, read: Callable[[str], bytes], file: str
) -> Tensor | ImageError:
    try:
        return classifier.crop(decode_image(read(file), side=classifier.read_side))
    except ImageError as error:
        return error


def _predictions(
    classifier: ImageClassifier,
    names: Sequence[str],
    crops: Sequence[Tensor | ImageError],
    options: PredictOptions,
) -> list[dict[str, Any]]:
    """Return the predictions as JSON. An unreadable image affects its own only."""
    readable = [crop for crop in crops if not isinstance(crop, ImageError)]
    top = iter(classifier.predict_crops(readable, options.top_k))
    answers = [crop if isinstance(crop, ImageError) else [next(top)] for crop in crops]
    found = [prediction_of(*each, options) for each in zip(names, answers, strict=True)]
    return [jsonable(each.model_dump(mode="json", exclude_none=True)) for each in found]


def _load(lease: BatchLease, model_id: str) -> ImageClassifier:
    import_light()
    from dspt.model.predict import ImageClassifier

    with lease.context.storage.local_copy(storage_keys.model(model_id)) as path:
        return ImageClassifier.load(path, device=lease.context.settings.worker_device)


@contextmanager
def _images(
    lease: BatchLease, batch: Batch
) -> Iterator[tuple[Sequence[str], Callable[[str], bytes]]]:
    """Yield the names of the images, in an order that never changes, and how to read one."""
    context = lease.context
    if batch.dataset_id is None:
        with (
            context.storage.local_copy(storage_keys.batch(batch.id)) as path,
            closing(open_zip(path, Limits(), Findings())) as source,
        ):
            yield source.files, source.read
        return
    with context.database.read() as session:
        dataset = datasets.get(session, batch.dataset_id)
        if dataset is None:
            raise DatasetError([Problem("", "dataset_not_found", "The data set was deleted.")])
        zips = datasets.zips_of(session, dataset)
    dropped = dataset_service.corrections_of(context, dataset).drop
    with (
        dataset_service.local_copies(context, zips) as (first, *added),
        open_photos(first, added=added) as photos,
    ):
        numbers = {photo.path: number for number, photo in enumerate(photos.photos)}
        files = [file for file in numbers if file not in dropped]
        yield files, lambda file: photos.read(numbers[file])
