"""Tune a classifier on a data set: encode, zero-shot, tune, fit, evaluate, audit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dspt.backbones import load_backbone
from dspt.backbones.base import Backbone
from dspt.classifier.fit import Fitted, fit
from dspt.classifier.linear import LinearClassifier
from dspt.classifier.validation import Validation
from dspt.config import DEFAULT_LR, TuneConfig
from dspt.data import Dataset
from dspt.data.copies import empty_thumbnails, find_copies, groups_of, new_photos
from dspt.data.splits import Rows, Splits
from dspt.features.encode import encode_images, pack_name
from dspt.features.shared import PackFolder, SharedFeatures
from dspt.features.store import FeatureStore
from dspt.kit.device import resolve_device, sent
from dspt.kit.progress import Listener, Progress, StageClock
from dspt.labels.audit import AuditReport
from dspt.model.artifact import TunedModel, tuned_model
from dspt.prompt.checkpoint import Checkpoint, identity_of
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings
from dspt.prompt.trainer import EpochReport, TunerState
from dspt.report.change import Prediction
from dspt.report.class_findings import class_findings
from dspt.report.classifier_names import classifier_names
from dspt.report.copies import CopyReport
from dspt.report.drift import class_means, drift_baseline
from dspt.report.evaluation import evaluate
from dspt.report.finding import HealthFinding
from dspt.report.health import HealthReport
from dspt.report.unlabelled import UnlabelledReport

__all__ = ["Listener", "Progress", "TuneResult", "tune"]

MAX_CONFUSION_CLASSES = 100
"""With more classes there is no confusion matrix: it would dominate the size of every response."""
_PARTS = ("zero_shot", "prompt", "class_means")


@dataclass(frozen=True)
class TuneResult:
    """A tuned classifier, its metrics and the audit of the training labels."""

    config: TuneConfig
    """The requested settings, with the defaults resolved."""
    metrics: dict[str, Any]
    """zero_shot, prompt (as zero_shot if none was tuned) and tuned (Evaluation), served, why,
    temperatures (of the classifiers that are not an ensemble), blend (weights of the ensemble's
    parts), noise_rate (share of wrong labels: estimate, low, high; None if it cannot be estimated),
    measured_on, labels, drift_baseline (figures of the images that accuracy is measured on), copies
    (`CopyReport.to_dict`; None if there are none), history, seconds. With photos without labels
    also unlabelled: photos, used (without copies), and accuracy_without them of the tuned
    classifier (None if none was used)."""
    audit: AuditReport
    model: TunedModel
    health: HealthReport
    """What was found in the data set."""
    predictions: tuple[Prediction, ...] = ()
    """By the served classifier, of the images that accuracy is measured on."""

    def __repr__(self) -> str:
        tuned, zero_shot = self.metrics["tuned"], self.metrics["zero_shot"]
        name = classifier_names(self.config.tuning)["tuned"]
        return (
            f"<TuneResult: accuracy {tuned['accuracy']:.1%} {name}, {zero_shot['accuracy']:.1%} "
            f"zero-shot, on {tuned['images']} images; serving {self.metrics['served']}>"
        )


def tune(
    dataset: Dataset,
    config: TuneConfig,
    *,
    listener: Listener | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    feature_dir: Path | None = None,
    feature_packs: Sequence[PackFolder] = (),
    checkpoint_file: Path | None = None,
    backbone: Backbone | None = None,
) -> TuneResult:
    """Tune a classifier on `dataset`, evaluate it and audit the training labels.

    feature_dir: cache of image features, shared by jobs. feature_packs: folders that several
    machines share; the last is this data set's, the others belong to data sets that are part of it.
    checkpoint_file: the state after each epoch, from which an interrupted job continues with the
    same result. backbone: an already loaded `config.backbone`. Raises Cancelled, BackboneError,
    ConfigError, DatasetError or PromptTooLong.
    """
    listener = listener or Listener()
    clock = StageClock(listener, config.tuned_epochs)
    clock.at("encoding")
    backbone = backbone or load_backbone(config.backbone, device=resolve_device(config.device))
    device = backbone.device
    prompts = PromptLearner.of_config(backbone, dataset.class_words, config)
    lr = config.lr or DEFAULT_LR[config.loss]
    config = config.model_copy(update={"n_ctx": prompts.n_ctx, "lr": lr, "device": str(device)})
    Splits.of(dataset, config)  # raises early if nothing can be measured
    images, whole = len(dataset.items), dataset.everything()
    thumbnails = empty_thumbnails(len(whole.items))
    shared = None
    if feature_packs:
        name = pack_name(backbone, config.augment_views)
        shared = SharedFeatures(feature_packs, name, on_failure=listener.warning)
    encoded = encode_images(
        backbone,
        whole,
        augment_views=config.augment_views,
        store=FeatureStore(feature_dir, on_failure=listener.warning) if feature_dir else None,
        shared=shared,
        progress=lambda done, total: clock.at("encoding", done, total),
        encoded=listener.encoded,
        thumbnails=thumbnails,
        should_stop=should_stop,
    )
    features = encoded.to(device)
    embeddings = features[:, 0, : backbone.embed_dim]
    groups, uploaded_groups = groups_of(dataset, embeddings, thumbnails)
    distinct = np.empty(0, np.int64)
    if dataset.unlabelled:
        used = images + len(dataset.unlabelled)
        found = find_copies(whole.hashes[:used], embeddings[:used], thumbnails[:used])
        distinct = new_photos(found, images)
    unlabelled = features[sent(torch.from_numpy(distinct), device), 0]
    features = features[:images]
    splits = Splits.of(dataset, config, groups, uploaded_groups)
    given = np.array([item.label for item in dataset.items])
    labels = sent(torch.from_numpy(given), device)

    clock.at("zero_shot")
    zero_shot = zero_shot_embeddings(backbone, dataset.class_words)

    history = _History(listener, clock, config.tuned_epochs)
    if checkpoint_file is not None:
        rows = (splits.train, splits.fit, groups[splits.train])
        identity = identity_of(
            config,
            backbone.digest,
            backbone.precision,
            dataset.sha256,
            dataset.class_words,
            rows,
        )
        history.keep_in(Checkpoint(checkpoint_file, identity), device)
    train = sent(torch.from_numpy(splits.train), device)
    val = sent(torch.from_numpy(splits.validation), device)
    context, fitted = fit(
        backbone,
        prompts,
        zero_shot,
        features[train],
        labels[train],
        config,
        train_mask=np.isin(splits.train, splits.fit),
        groups=groups[splits.train],
        kept=np.array([dataset.items[row].path in dataset.confirmed for row in splits.train]),
        unlabelled=unlabelled,
        validation=Validation(features[val, 0], labels[val]) if len(val) else None,
        state=history.state,
        on_epoch=history.add,
        progress=lambda done, total: clock.at("evaluating", done, total),
        should_stop=should_stop,
    )
    measured = _Measured(dataset, splits, features[:, 0], labels)
    names = [dataset.items[row].path for row in splits.train]
    audit = fitted.audit(
        names, dataset.classes, labels[train], features[train, 0], groups[splits.train]
    )
    predictions = measured.predictions(fitted.served_classifier)
    known = encoded[:images, 0, : backbone.embed_dim].numpy()
    means = class_means(known[splits.fit], given[splits.fit])
    if splits.measured_on == "held_out":
        audit = audit.with_held_out({dataset.items[row].path for row in splits.measured})
    metrics: dict[str, Any] = {
        "zero_shot": measured.evaluate(fitted.zero_shot),
        "prompt": measured.evaluate(fitted.prompt),
        "tuned": measured.evaluate(fitted.tuned),
        "served": fitted.served,
        "why": fitted.why,
        "temperatures": fitted.temperatures,
        "blend": _weights(fitted, config),
        "measured_on": splits.measured_on,
        "labels": splits.labels,
        "noise_rate": asdict(audit.noise_rate) if audit.noise_rate else None,
        "drift_baseline": drift_baseline(
            np.array([each.score for each in predictions]), means, known[splits.measured]
        ),
    }
    findings, copies = _copy_findings(CopyReport.of(dataset, groups), splits, measured, fitted)
    if dataset.unlabelled:
        report = _unlabelled(measured, fitted, len(distinct))
        metrics["unlabelled"] = report.to_dict()
        copied = len(dataset.unlabelled) - len(distinct)
        findings += report.findings(copied, config.classifier)
    guessed = fitted.zero_shot.logits(features[train, 0]).argmax(1).cpu().numpy()
    findings += class_findings(dataset, splits, guessed)
    for finding in findings:
        listener.warning(finding.text)
    clock.at("saving")
    model = tuned_model(
        fitted,
        context,
        backbone,
        config,
        dataset.classes,
        dataset.class_words,
        dataset.sha256,
        metrics=_brief(metrics),
        class_means=None if means is None else torch.from_numpy(means),
    )
    metrics |= {
        "copies": copies,
        "history": [asdict(report) for report in history.reports],
        "seconds": clock.seconds,
    }
    health = HealthReport.of(dataset, groups, findings)
    return TuneResult(config, metrics, audit, model, health, predictions)


class _History:
    """Reports of the epochs, sent to the listener and saved in a checkpoint, if there is one."""

    def __init__(self, listener: Listener, clock: StageClock, epochs: int) -> None:
        self._listener, self._clock, self._epochs = listener, clock, epochs
        self._checkpoint: Checkpoint | None = None
        self.state: TunerState | None = None
        """State to continue from."""
        self.reports: list[EpochReport] = []
        self._report()

    def keep_in(self, checkpoint: Checkpoint, device: torch.device) -> None:
        """Continue from `checkpoint` if it is valid, and save to it from now on."""
        self._checkpoint = checkpoint
        self.state, self.reports = checkpoint.load(device) or (None, [])
        self._report()

    def add(self, report: EpochReport, state: TunerState) -> None:
        self.reports.append(report)
        if self._checkpoint is not None and report.epoch == state.epoch:
            try:
                self._checkpoint.save(state, self.reports)
            except OSError as error:  # the job itself does not need it
                self._checkpoint = None
                self._listener.warning(
                    f"Cannot save the checkpoint ({error.strerror or error}). If this job is "
                    "interrupted, it starts from the beginning."
                )
        self._listener.metrics(asdict(report))
        self._report()

    def _report(self) -> None:
        done = len(self.reports)
        if self._epochs:
            self._clock.at("tuning", done, self._epochs, done)
        if done == self._epochs:
            self._clock.at("evaluating")


@dataclass(frozen=True)
class _Measured:
    """Features (N, F) and labels (N,) of a data set, to evaluate classifiers on."""

    dataset: Dataset
    splits: Splits
    features: Tensor
    labels: Tensor

    def accuracy(self, classifier: LinearClassifier, rows: Rows) -> float:
        """Share of `rows` that a classifier gets right."""
        chosen = sent(torch.from_numpy(rows), self.labels.device)
        right = classifier.logits(self.features[chosen]).argmax(1) == self.labels[chosen]
        return float(right.double().mean())

    def predictions(self, classifier: LinearClassifier) -> tuple[Prediction, ...]:
        """Return the prediction for each image that accuracy is measured on, in their order."""
        rows = sent(torch.from_numpy(self.splits.measured), self.labels.device)
        scores, predicted = classifier.probabilities(self.features[rows]).max(1)
        items = [self.dataset.items[row] for row in self.splits.measured]
        classes = self.dataset.classes
        return tuple(
            Prediction(item.path, classes[item.label], classes[label], score)
            for item, label, score in zip(items, predicted.tolist(), scores.tolist(), strict=True)
        )

    def evaluate(self, classifier: LinearClassifier) -> dict[str, Any]:
        """Evaluate a classifier on the rows that accuracy is measured on."""
        rows = sent(torch.from_numpy(self.splits.measured), self.labels.device)
        probabilities = classifier.probabilities(self.features[rows])
        labels = np.array([self.dataset.items[row].label for row in self.splits.measured])
        found = evaluate(probabilities, labels, self.dataset.classes).to_dict()
        if len(self.dataset.classes) > MAX_CONFUSION_CLASSES:
            found["confusion"] = None
        return found


def _copy_findings(
    report: CopyReport, splits: Splits, measured: _Measured, fitted: Fitted
) -> tuple[list[HealthFinding], dict[str, Any] | None]:
    """Return the findings about copies and their metrics (None if there are no copies)."""
    if not report.copies:
        return [], None
    leaked, accuracies = splits.leaked, None
    if len(leaked):
        whole = splits.measured if splits.labels == "clean" else leaked[:0]
        served = fitted.served_classifier
        accuracies = (
            measured.accuracy(served, splits.measured),
            measured.accuracy(served, np.concatenate([whole, leaked])),
        )
    return report.findings(leaked=len(leaked), accuracies=accuracies), report.to_dict(
        leaked=len(leaked), accuracy_with_leaked=accuracies[1] if accuracies else None
    )


def _unlabelled(measured: _Measured, fitted: Fitted, distinct: int) -> UnlabelledReport:
    """Return what became of the photos without labels. distinct: those that are no copy."""
    photos, without = len(measured.dataset.unlabelled), fitted.labelled_only
    if without is None:
        return UnlabelledReport(photos, 0, None)
    accuracy = measured.accuracy(without, measured.splits.measured)
    return UnlabelledReport(photos, distinct, accuracy)


def _weights(fitted: Fitted, config: TuneConfig) -> dict[str, float]:
    """Return the weights of the ensemble's parts; 0 for a prompt that was not tuned."""
    parts = [part for part in _PARTS if part != "prompt" or config.tuning == "prompt"]
    return dict.fromkeys(_PARTS, 0.0) | dict(zip(parts, fitted.ensemble.weights, strict=True))


def _brief(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics for the artefact: without the confusion matrices, which grow with C squared."""
    return {
        name: {key: part for key, part in value.items() if key != "confusion"}
        if isinstance(value, dict)
        else value
        for name, value in metrics.items()
    }
