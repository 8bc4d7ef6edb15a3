"""The method as a scikit-learn estimator: images or their features in, labels out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)
from torch import Tensor

from dspt.backbones import Backbone, load_backbone
from dspt.backbones.base import unit_features
from dspt.classifier.fit import fit
from dspt.config import DEFAULT_LR, ClassifierName, LossName, TuneConfig, TuningName
from dspt.data import Dataset
from dspt.data.copies import empty_thumbnails, find_copies, new_photos
from dspt.errors import ArtifactError, ConfigError
from dspt.features.encode import encode_images
from dspt.features.photos import as_photos, encode_photos
from dspt.kit.device import resolve_device
from dspt.kit.text import counted
from dspt.labels.audit import AuditReport
from dspt.model.artifact import load_model, tuned_model
from dspt.model.predict import linear_classifier
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings
from dspt.report.unlabelled import UnlabelledReport

_SHORTEST = 1e-12  # what F.normalize divides by at least
_INTEGERS = "integer_labels"  # key in the metrics of the artefact: the labels were integers

ClassNames = Mapping[Any, str] | Sequence[str]


@dataclass(frozen=True)
class Suspect:
    """A training label that is more likely wrong than right."""

    index: int
    """Position in the training data."""
    given: Any
    """The recorded label."""
    suggested: Any
    """The likeliest other label."""
    probability: float
    """Probability that the recorded label is wrong."""


class DSPTClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify images by a tuned prompt of a vision-language model, robust to label noise.

    Images are PIL images or paths. They can also be given as features of `backbone`: an (N, F)
    matrix from its `encode_image`, or an (N, D) matrix of its embeddings alone, which is less
    accurate if it has penultimate features. Rows are normalised to unit length.

    Parameters are those of `dspt.TuneConfig`; `random_state` is its `seed`.

    Attributes after `fit`: `classes_`; `suspects_`, the labels that are more likely wrong than
    right (`Suspect`), most probable first; `noise_rate_`, the estimated share of wrong labels with
    a 90 % interval, None if it cannot be estimated; `audit_`, the whole ranking; `served_`, whether
    the tuned classifier or zero-shot predicts, and `why_`, the reason; `model_`, the artefact.
    """

    def __init__(
        self,
        backbone: str = "builtin",
        *,
        loss: LossName = "dspt",
        classifier: ClassifierName = "blend",
        tuning: TuningName = "prompt",
        epochs: int = 200,
        batch_size: int = 2048,
        lr: float | None = None,
        n_ctx: int | None = None,
        ctx_init: str = "a photo of a",
        class_specific_context: bool = False,
        random_state: int = 1,
        precision: str = "auto",
        device: str = "auto",
    ) -> None:
        self.backbone = backbone
        self.loss = loss
        self.classifier = classifier
        self.tuning = tuning
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.n_ctx = n_ctx
        self.ctx_init = ctx_init
        self.class_specific_context = class_specific_context
        self.random_state = random_state
        self.precision = precision
        self.device = device

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        class_names: ClassNames | None = None,
        groups: ArrayLike | None = None,
        unlabelled: Any = None,
    ) -> Self:
        """Fit to images or features `X` and labels `y`, some of which may be wrong.

        class_names: words for the prompt, by label or in the order of the sorted labels. Default:
        the labels themselves. groups: (N,) integers, equal for copies of a photo, which count once.
        Default: copies of images are found, and equal rows of features are copies.

        unlabelled: further images or features without labels, which move the class means if
        held-out labels show that this helps. Copies of `X` and of each other are left out. Do not
        measure on any of them. -1 in `y` is a label like any other.

        Raises ValueError for data that cannot be used, ConfigError for a wrong parameter,
        ImageError for an unreadable image, and BackboneError.
        """
        config = self._config()
        backbone = _backbone(config.backbone, config.device)
        features, thumbnails = self._features(X, backbone, reset=True)
        labels = column_or_1d(y, warn=True)
        _check_labels(labels)
        check_classification_targets(labels)
        if len(labels) != len(features):
            raise ValueError(
                f"X has {counted(len(features), 'image')} and y has "
                f"{counted(len(labels), 'label')}; pass one label per image"
            )
        if len(labels) < 2:
            raise ValueError("X has 1 sample; a classifier needs images of at least two classes")
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "y has a single class; a classifier needs images of at least two classes"
            )
        words = _words(self.classes_, class_names)
        if groups is None:
            copies = _copies(features, thumbnails, backbone)
        else:
            check_consistent_length(labels, groups)
            copies = np.unique(column_or_1d(groups), return_inverse=True)[1]
        photos = None
        if unlabelled is not None and len(unlabelled):
            photos = self._new_photos(unlabelled, features, thumbnails)
        self._fit(backbone, config, features, codes, words, copies, photos)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probabilities (N, C) of images or features, in the order of `classes_`."""
        check_is_fitted(self)
        features, _ = self._features(X, _backbone(self._config().backbone, self._config().device))
        width = self._linear.matrix.shape[1]
        if features.shape[1] < width:
            raise ValueError(
                f"X has {features.shape[1]} columns, but this classifier was fitted to image "
                f"features with {width}: it also reads penultimate features. Pass both, or images."
            )
        with torch.inference_mode():
            return self._linear.probabilities(features).cpu().numpy()

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable label of each image: (N,)."""
        check_is_fitted(self)
        found: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(1)]
        return found

    def save(self, path: str | Path) -> None:
        """Write the classifier as a .safetensors artefact.

        `DSPTClassifier.load`, `dspt.ImageClassifier.load` and the service read it. It holds no
        training data and no audit. Raises OSError or ArtifactError.
        """
        check_is_fitted(self)
        self.model_.save(path)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto") -> Self:
        """Read a classifier that `save`, `dspt tune` or the service wrote.

        The result has no `suspects_`, `noise_rate_` and `audit_`. Raises ArtifactError or
        BackboneError.
        """
        model = load_model(Path(path))
        manifest = model.manifest
        settings = manifest.config.model_dump(include=set(cls._get_param_names()))
        found = cls(**settings | {"random_state": manifest.config.seed, "device": device})
        backbone = _backbone(manifest.config.backbone, found._config().device)
        if manifest.backbone_digest != backbone.digest:
            raise ArtifactError(
                f"{Path(path).name} was tuned on other weights of {backbone.name}: "
                f"{manifest.backbone_digest[:12]}, not {backbone.digest[:12]}"
            )
        classes: list[Any] = list(manifest.classes)
        if manifest.metrics.get(_INTEGERS):
            classes = [int(name) for name in classes]
        found.classes_ = np.array(classes)
        found.model_, found._linear = model, linear_classifier(model, backbone)
        found.served_, found.why_ = manifest.served, manifest.why
        return found

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True  # paths
        return tags

    def _config(self) -> TuneConfig:
        names = set(self.get_params()) - {"random_state"}
        values = {name: getattr(self, name) for name in names}
        if not isinstance(self.random_state, Integral):
            raise ConfigError("random_state must be an integer", param="random_state")
        config = TuneConfig.parse(values | {"seed": int(self.random_state)})
        return config.model_copy(update={"device": str(resolve_device(config.device))})

    def _features(
        self, X: Any, backbone: Backbone, *, reset: bool = False
    ) -> tuple[Tensor, NDArray[np.uint8] | None]:
        """(N, F) or (N, D) features on the device, and thumbnails if X are images."""
        photos = as_photos(X)
        if photos is not None:
            return encode_photos(photos, backbone)
        # scikit-learn's checks: two dimensions, numbers, finite, the number of columns of `fit`
        matrix = validate_data(self, X, reset=reset, dtype=np.float32)
        features = self._matrix(matrix, backbone)
        _check_lengths(features, backbone.embed_dim)
        return unit_features(features, backbone.embed_dim), None

    def _new_photos(
        self, unlabelled: Any, features: Tensor, thumbnails: NDArray[np.uint8] | None
    ) -> Tensor:
        """Return the features (U, F) of the images that are no copy of another or of X."""
        backbone = _backbone(self._config().backbone, self._config().device)
        more, small = self._features(unlabelled, backbone)
        if more.shape[1] != features.shape[1] or (small is None) != (thumbnails is None):
            raise ValueError(
                "unlabelled must be of the same kind as X: images, or features as wide"
            )
        together = torch.cat([features, more])
        if small is not None and thumbnails is not None:
            small = np.concatenate([thumbnails, small])
        return together[new_photos(_copies(together, small, backbone), len(features))]

    def _matrix(self, matrix: NDArray[np.float32], backbone: Backbone) -> Tensor:
        widths = sorted({backbone.embed_dim, backbone.feature_dim})
        if matrix.shape[1] not in widths:
            raise ValueError(
                f"X has {matrix.shape[1]} columns, but image features of the backbone "
                f"{backbone.name!r} have {' or '.join(map(str, widths))}. Pass features of this "
                "backbone, set `backbone` to the one that made them, or pass images."
            )
        # Tables and memory maps of joblib are read-only, of which torch warns.
        return torch.from_numpy(np.require(matrix, requirements="W")).to(backbone.device)

    def _fit(
        self,
        backbone: Backbone,
        config: TuneConfig,
        features: Tensor,
        codes: NDArray[np.int64],
        words: list[str],
        groups: NDArray[np.int64],
        photos: Tensor | None,
    ) -> None:
        prompts = PromptLearner.of_config(backbone, words, config)
        lr = config.lr or DEFAULT_LR[config.loss]
        config = config.model_copy(update={"n_ctx": prompts.n_ctx, "lr": lr})
        labels = torch.from_numpy(codes).to(backbone.device)
        zero_shot = zero_shot_embeddings(backbone, words)
        context, fitted = fit(
            backbone,
            prompts,
            zero_shot,
            features[:, None],
            labels,
            config,
            groups=groups,
            unlabelled=photos,
        )
        names = [str(label) for label in self.classes_]
        rows = [str(row) for row in range(len(codes))]
        self.audit_ = fitted.audit(rows, names, labels, features, groups)
        by_name = dict(zip(names, self.classes_.tolist(), strict=True))
        self.suspects_ = [
            Suspect(int(entry.file), by_name[entry.given], by_name[entry.suggested], entry.score)
            for entry in self.audit_.suspects
        ]
        self.noise_rate_ = self.audit_.noise_rate
        self.served_, self.why_ = fitted.served, fitted.why
        self._linear = fitted.served_classifier
        digest = sha256(features.cpu().numpy().tobytes() + labels.cpu().numpy().tobytes())
        self.model_ = tuned_model(
            fitted, context, backbone, config, names, words, digest.hexdigest(), metrics={}
        )
        if photos is not None:
            used = 0 if fitted.labelled_only is None else len(photos)
            report = UnlabelledReport(len(photos), used, None)
            self.model_.manifest.metrics["unlabelled"] = report.to_dict()
        if np.issubdtype(self.classes_.dtype, np.integer):
            self.model_.manifest.metrics[_INTEGERS] = True


def audit(
    data: Any,
    labels: ArrayLike | None = None,
    *,
    class_names: ClassNames | None = None,
    backbone: str = "builtin",
    **settings: Any,
) -> AuditReport:
    """Rank labels by the probability that they are wrong.

    data: a Dataset, whose training images are audited; or images or features, with `labels`, as
    for `DSPTClassifier.fit`. `settings` are further parameters of DSPTClassifier. In the report,
    `file` is the path of an image of a Dataset, else its index.
    """
    estimator = DSPTClassifier(backbone, **settings)
    if not isinstance(data, Dataset):
        if labels is None:
            raise ValueError("labels are missing; pass audit(features, labels) or audit(dataset)")
        return estimator.fit(data, labels, class_names).audit_
    if labels is not None:
        raise ValueError("a Dataset has its own labels; leave `labels` out")
    config = estimator._config()
    loaded = _backbone(config.backbone, config.device)
    rows = [row for row, item in enumerate(data.items) if item.split == "train"]
    thumbnails = empty_thumbnails(len(data.items))
    features = encode_images(loaded, data, thumbnails=thumbnails)[rows, 0]
    copies = find_copies(
        [data.hashes[row] for row in rows], features[:, : loaded.embed_dim], thumbnails[rows]
    )
    words = class_names or dict(zip(data.classes, data.class_words, strict=True))
    names = [data.classes[data.items[row].label] for row in rows]
    report = estimator.fit(features.numpy(), names, words, copies).audit_
    return report.with_files([data.items[row].path for row in rows])


def _check_labels(labels: NDArray[Any]) -> None:
    """Raise ValueError for a missing label, as tables have them, which cannot be sorted."""
    missing = [
        row
        for row, label in enumerate(labels.tolist() if labels.dtype == object else ())
        if label is None or type(label).__name__ == "NAType" or label != label
    ]
    if missing:
        raise ValueError(
            f"y has no label in row {missing[0]} ({len(missing)} of {len(labels)} rows). Leave "
            "such rows out, or pass their images as `unlabelled`"
        )


def _check_lengths(features: Tensor, embed_dim: int) -> None:
    """Raise ValueError for a row without a direction, such as a photo that was never encoded."""
    parts = {"embedding": features[:, :embed_dim], "penultimate part": features[:, embed_dim:]}
    for what, part in parts.items():
        empty = (part.norm(dim=1) < _SHORTEST).nonzero().flatten()
        if part.shape[1] and len(empty):
            raise ValueError(
                f"the {what} of row {int(empty[0])} of X is 0 in all columns ({len(empty)} of "
                f"{len(features)} rows). Leave such rows out"
            )


@lru_cache(maxsize=2)
def _backbone(name: str, device: str) -> Backbone:
    """Load a backbone once: cross-validation and prediction need it again and again."""
    return load_backbone(name, device=device)


def _copies(
    features: Tensor, thumbnails: NDArray[np.uint8] | None, backbone: Backbone
) -> NDArray[np.int64]:
    keys = [row.tobytes() for row in features.cpu().numpy()]
    return find_copies(keys, features[:, : backbone.embed_dim], thumbnails)


def _words(classes: NDArray[Any], class_names: ClassNames | None) -> list[str]:
    labels = classes.tolist()
    if class_names is None:
        return [str(label) for label in labels]
    if not isinstance(class_names, Mapping):
        if len(class_names) != len(labels):
            raise ValueError(
                f"class_names has {len(class_names)} names, but y has {len(labels)} classes: "
                f"{', '.join(map(str, labels[:10]))}"
            )
        return [str(name) for name in class_names]
    unknown = [label for label in class_names if label not in labels]
    if unknown:
        raise ValueError(f"class_names has {unknown[0]!r}, which is not a label in y")
    return [str(class_names.get(label, label)) for label in labels]
