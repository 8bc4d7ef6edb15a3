"""Classify the images of a batch, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from app.batches.lease import BatchLease
from app.comparisons.repository import COMPARISONS
from app.datasets import repository as datasets
from app.datasets import service as dataset_service
from app.datasets.copies import kept_copies
from app.jobs.repository import JOBS
from app.kit import storage_keys
from app.kit.context import Context
from app.kit.storage import StorageUnavailable
from app.predictions.service import PredictOptions, prediction_of
from app.tables.batches import Batch
from dspt.data.findings import Findings
from dspt.data.hostile.archive import open_zip
from dspt.data.hostile.limits import Limits
from dspt.data.images import decode_image
from dspt.data.photos import open_photos
from dspt.errors import Cancelled, DatasetError, ImageError, Problem
from dspt.kit.cpus import available_cpus
from dspt.kit.light_torch import import_light
from worker.jsonable import jsonable
from worker.patience import entered_patiently, patiently
from worker.task import PART, Task, one_ahead

if TYPE_CHECKING:
    from torch import Tensor

    from dspt.model.predict import ImageClassifier

#: After so long a batch lets what else is queued go first, and continues later.
TURN_SECONDS = 60.0


class Classification(Task[BatchLease, Batch]):
    """Classify the images of a batch that have no result yet."""

    def work(self) -> None:
        batch, lease = self.row, self.lease
        try:
            classifier = _load(lease, batch.model_id)
        except FileNotFoundError as error:
            raise DatasetError(
                [Problem("", "model_not_found", f"The model {batch.model_id} was deleted.")]
            ) from error
        options = PredictOptions(**batch.options)
        with (
            _images(self.context, batch) as (files, read),
            ThreadPoolExecutor(available_cpus()) as threads,
        ):
            patiently(lambda: lease.opened(len(files)))
            parts = [(i, files[i : i + PART]) for i in range(batch.done, len(files), PART)]

            def crops_of(part: tuple[int, Sequence[str]]) -> list[Future[Tensor | ImageError]]:
                return [threads.submit(_crop, classifier, read, file) for file in part[1]]

            for (first, names), crops in one_ahead(parts, crops_of):
                self.go_on()
                if self.seconds > TURN_SECONDS and patiently(self._others_wait):
                    raise Cancelled("something else is queued")
                found = _predictions(classifier, names, [crop.result() for crop in crops], options)
                worked = batch.worked_seconds + self.seconds
                patiently(partial(lease.store, first, found, worked))
                self.attempt.classified(len(found))
        patiently(lease.succeed)
        if batch.storage_key is not None:
            with suppress(StorageUnavailable):  # garbage collection does it later
                self.context.storage.delete(batch.storage_key)

    def time_limit(self) -> tuple[float, str]:
        limit = self.context.settings.batch_time_limit_seconds
        return limit - self.row.worked_seconds, (
            f"The batch exceeded its time limit of {limit:g} seconds of work. Its results so far "
            "stay. Retry it to continue, send fewer images, or raise "
            "DSPT_BATCH_TIME_LIMIT_SECONDS."
        )

    def _others_wait(self) -> bool:
        """Return whether something other than a batch is queued for this worker's pool."""
        pool = self.context.settings.worker_pool
        with self.context.database.read() as session:
            return any(kind.next_queued(session, pool) for kind in (JOBS, COMPARISONS))


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
    from dspt.model.artifact import load_model
    from dspt.model.predict import ImageClassifier
    from worker.loaded import loaded

    copy = partial(lease.context.storage.local_copy, storage_keys.model(model_id))
    with entered_patiently(copy) as path:
        model = load_model(path)
    backbone = loaded(model.manifest.config.backbone, lease.context.settings.worker_device)
    return ImageClassifier(model, backbone)


@contextmanager
def _images(
    context: Context, batch: Batch
) -> Iterator[tuple[Sequence[str], Callable[[str], bytes]]]:
    """Yield the names of the images, in an order that never changes, and how to read one."""
    if batch.dataset_id is None:
        with (
            entered_patiently(
                lambda: context.storage.local_copy(storage_keys.batch(batch.id))
            ) as path,
            closing(open_zip(path, Limits(), Findings())) as source,
        ):
            yield source.files, source.read
        return
    with context.database.read() as session:
        dataset = datasets.get(session, batch.dataset_id)
        if dataset is None:
            raise DatasetError([Problem("", "dataset_not_found", "The data set was deleted.")])
        zips = datasets.zips_of(session, dataset)
    dropped = patiently(lambda: dataset_service.corrections_of(context, dataset)).drop
    with (
        entered_patiently(lambda: kept_copies(context, zips)) as (first, *added),
        open_photos(first, added=added) as photos,
    ):
        files = [file for file in photos.numbers if file not in dropped]
        yield files, lambda file: photos.read(photos.numbers[file])
