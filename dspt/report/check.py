"""Check a data set as a job does, without tuning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from dspt.backbones.base import Backbone
from dspt.classifier.linear import LinearClassifier
from dspt.config import TuneConfig
from dspt.data import Dataset
from dspt.data.copies import empty_thumbnails, find_copies, new_photos
from dspt.data.splits import Splits
from dspt.errors import DatasetError
from dspt.features.encode import encode_images, read_thumbnails
from dspt.features.store import FeatureStore
from dspt.prompt.learner import zero_shot_embeddings
from dspt.report.class_findings import class_findings
from dspt.report.copies import CopyReport
from dspt.report.health import HealthReport
from dspt.report.unlabelled import UnlabelledReport


def check_dataset(
    dataset: Dataset,
    config: TuneConfig,
    backbone: Backbone | None,
    *,
    feature_dir: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> HealthReport:
    """Return the health of a data set, as a job with `config` finds it.

    backbone: of `config`. Without one, copies are found by thumbnails alone, and the names of the
    classes are judged by their form. feature_dir: cache of image features, shared with jobs.
    progress(done, total) is called as images are read. Raises PromptTooLong and ConfigError.
    """
    images, whole = len(dataset.items), dataset.with_unlabelled()
    if backbone is None:
        features, thumbnails = None, read_thumbnails(whole, progress)
    else:
        thumbnails = empty_thumbnails(len(whole.items))
        features = encode_images(
            backbone,
            whole,
            store=FeatureStore(feature_dir) if feature_dir else None,
            thumbnails=thumbnails,
            progress=progress,
        ).to(backbone.device)[:, 0, : backbone.embed_dim]
    photos = len(dataset.unlabelled)
    distinct = photos and len(new_photos(find_copies(whole.hashes, features, thumbnails), images))
    if features is not None:
        features = features[:images]
    groups = find_copies(dataset.hashes, features, thumbnails[:images])
    try:
        splits = Splits.of(dataset, config, groups)
    except DatasetError as error:
        return HealthReport.refused(error)
    guessed = None
    if backbone is not None and features is not None:
        words = zero_shot_embeddings(backbone, dataset.class_words)
        zero_shot = LinearClassifier.from_text(words, backbone.logit_scale)
        guessed = zero_shot.logits(features).argmax(1).cpu().numpy()[splits.train]
    findings = CopyReport.of(dataset, groups).findings(leaked=len(splits.leaked))
    findings += UnlabelledReport(photos, distinct, None).findings(
        photos - distinct, config.classifier
    )
    findings += class_findings(dataset, splits, guessed)
    return HealthReport.of(dataset, np.asarray(groups), findings)
