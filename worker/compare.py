"""Compare two models on the same images, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from app.comparisons.encoding import feature_store, keep_features, kept_features
from app.comparisons.lease import ComparisonLease
from app.comparisons.photos import Opened, Photos, open_photos, photos_for
from app.comparisons.result import result_of
from app.datasets import repository as datasets
from app.kit import storage_keys
from app.kit.http.errors import ApiError
from app.models import repository as models
from app.tables.comparisons import Comparison
from app.tables.models import Model
from dspt.data.images import decode_image
from dspt.data.labelled import LabelledFile
from dspt.errors import DatasetError, ImageError, Problem
from dspt.kit.cpus import available_cpus
from dspt.kit.light_torch import import_light
from dspt.report.comparison import compare
from worker.jsonable import jsonable
from worker.patience import entered_patiently, patiently
from worker.task import PART, Task, one_ahead

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from app.comparisons.encoding import Feature
    from dspt.backbones.base import Backbone
    from dspt.data.layout import Candidate
    from dspt.features.store import FeatureStore
    from dspt.model.predict import FeatureClassifier


@dataclass(frozen=True)
class _Prepared:
    """A file, with its features that are cached, and its crops for the towers that have none."""

    file: LabelledFile
    features: dict[str, Feature]
    crops: dict[str, Tensor]


class Comparing(Task[ComparisonLease, Comparison]):
    """Compare two models. Features of images are cached, so an attempt resumes where one ended."""

    def work(self) -> None:
        row = self.row
        try:
            pair, photos = patiently(self._found)
            with ExitStack() as stack:
                opened = open_photos(stack, self.context, photos, row.all_photos)
                truth, predicted, classes = self._predict(pair, opened)
        except ApiError as error:
            raise DatasetError([Problem("", error.code, str(error.detail))]) from error
        found = compare(truth, *predicted, *classes).to_dict()
        aliases = row.a_alias, row.b_alias
        result = result_of(found, pair, aliases, photos.dataset.id, opened, len(truth))
        document = jsonable(result.model_dump(mode="json"))
        patiently(lambda: self.lease.succeed(document))

    def time_limit(self) -> tuple[float, str]:
        limit = self.context.settings.job_time_limit_seconds
        return limit, (
            f"The comparison exceeded its time limit of {limit:g} seconds. Retry it to continue, "
            "use fewer photos, or raise DSPT_JOB_TIME_LIMIT_SECONDS."
        )

    def _found(self) -> tuple[tuple[Model, Model], Photos]:
        row = self.row
        with self.context.database.read() as session:
            a, b = (models.get(session, id_) for id_ in (row.a_model_id, row.b_model_id))
            dataset = datasets.get(session, row.dataset_id)
            if a is None or b is None:
                lost = row.a_model_id if a is None else row.b_model_id
                message = f"The model {lost} was deleted."
                raise DatasetError([Problem("", "model_not_found", message)])
            if dataset is None:
                raise DatasetError([Problem("", "dataset_not_found", "The data set was deleted.")])
            return (a, b), photos_for(session, (a, b), dataset)

    def _predict(
        self, pair: tuple[Model, Model], opened: Opened
    ) -> tuple[list[str], tuple[list[str], list[str]], list[tuple[str, ...]]]:
        """Return the classes of the readable files, those predicted by A and B, and their lists."""
        files, store = opened.wanted, feature_store(self.context)
        patiently(lambda: self.lease.progress(0, len(files)))
        towers, classifiers = self._load(pair)
        truth, predicted = list[str](), (list[str](), list[str]())
        parts = [files[i : i + PART] for i in range(0, len(files), PART)]
        with ThreadPoolExecutor(available_cpus()) as threads:

            def prepared(part: Sequence[Candidate]) -> list[Future[_Prepared | None]]:
                return [threads.submit(_prepare, opened, store, towers, file) for file in part]

            done = 0
            for part, waiting in one_ahead(parts, prepared):
                self.go_on()
                read = [found for each in waiting if (found := each.result()) is not None]
                _encode(towers, store, read)
                truth += [each.file.class_name for each in read]
                for (digest, classifier), labels in zip(classifiers, predicted, strict=True):
                    features = [each.features[digest] for each in read]
                    labels += _labels(classifier, features, towers[digest].device)
                done += len(part)
                patiently(partial(self.lease.progress, done, len(files)))
                self.attempt.classified(len(part))
        return truth, predicted, [classifier.classes for _, classifier in classifiers]

    def _load(
        self, pair: tuple[Model, Model]
    ) -> tuple[dict[str, Backbone], list[tuple[str, FeatureClassifier]]]:
        """Return the image towers by digest, and both classifiers with the digests of theirs."""
        import_light()
        from dspt.model.artifact import load_model
        from dspt.model.predict import FeatureClassifier
        from worker.loaded import loaded

        device = self.context.settings.worker_device
        named: dict[str, Backbone] = {}
        classifiers = []
        for model in pair:
            try:
                copy = partial(self.context.storage.local_copy, storage_keys.model(model.id))
                with entered_patiently(copy) as path:
                    tuned = load_model(path)
            except FileNotFoundError as error:
                message = f"The model {model.id} was deleted."
                raise DatasetError([Problem("", "model_not_found", message)]) from error
            name = tuned.manifest.config.backbone
            tower = named.get(name) or loaded(name, device)
            named[name] = tower
            classifiers.append((tower.digest, FeatureClassifier(tuned, tower)))
        return {tower.digest: tower for tower in named.values()}, classifiers


def _prepare(
    opened: Opened, store: FeatureStore, towers: dict[str, Backbone], candidate: Candidate
) -> _Prepared | None:
    """Read a file; crop it for each tower without cached features. None if it is unreadable."""
    file = opened.files.read(candidate)
    if file is None:
        return None
    prepared = _Prepared(file, {}, {})
    for digest, tower in towers.items():
        [feature] = kept_features(store, _stored_as(tower), [file])
        try:
            if feature is not None:
                prepared.features[digest] = feature
            else:
                image = decode_image(file.data, side=tower.read_side)
                prepared.crops[digest] = tower.preprocess.crop(image)
        except ImageError:
            return None
    return prepared


def _stored_as(tower: Backbone) -> str:
    """Return the key of the tower's features in the store."""
    return tower.digest if tower.precision == "float32" else f"{tower.digest}/{tower.precision}"


def _encode(towers: dict[str, Backbone], store: FeatureStore, read: Sequence[_Prepared]) -> None:
    """Add the features that are missing, and cache them."""
    import torch

    for digest, tower in towers.items():
        missing = [each for each in read if digest in each.crops]
        if not missing:
            continue
        crops = torch.stack([each.crops[digest] for each in missing])
        made = list(tower.encode_crops(crops).cpu().numpy())
        keep_features(store, _stored_as(tower), [each.file for each in missing], made)
        for each, feature in zip(missing, made, strict=True):
            each.features[digest] = feature


def _labels(
    classifier: FeatureClassifier, features: Sequence[Feature], device: torch.device
) -> list[str]:
    """Return the most likely class of each image."""
    if not features:
        return []
    import numpy as np
    import torch

    stacked = torch.from_numpy(np.stack(features)).to(device)
    return [top[0][0] for top in classifier.top(stacked, 1)]
