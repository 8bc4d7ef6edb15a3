"""The whole job on one data set: encode, measure zero-shot, tune, evaluate, audit, choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dspt.backbones import load_backbone
from dspt.backbones.base import Backbone
from dspt.classifier.fit import Fitted, fit_classifiers
from dspt.classifier.linear import LinearClassifier
from dspt.config import DEFAULT_LR, TuneConfig
from dspt.data import Dataset
from dspt.data.crossfit import CrossFit
from dspt.data.splits import Splits
from dspt.features.encode import encode_images
from dspt.features.store import FeatureStore
from dspt.kit.device import resolve_device, tuning_dtype
from dspt.kit.progress import Listener, Progress, StageClock
from dspt.labels.audit import AuditReport, audit_fitted
from dspt.model.artifact import Manifest, TunedModel
from dspt.prompt.checkpoint import Checkpoint, identity_of
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings
from dspt.prompt.trainer import EpochReport, Run, Schedule, TunerState, lr_scale_for, tune_contexts
from dspt.report.evaluation import evaluate

__all__ = ["Listener", "Progress", "TuneResult", "tune"]

MAX_CONFUSION_CLASSES = 100
"""Beyond it the confusion matrix is left out: it grows with the square, and every answer has it."""
_PARTS = ("zero_shot", "prompt", "class_means")


@dataclass(frozen=True)
class TuneResult:
    """A tuned classifier and all that was measured on the way."""

    config: TuneConfig
    """As asked, with what was left open filled in."""
    metrics: dict[str, Any]
    """zero_shot, prompt and tuned (Evaluation), served, why, temperatures (that calibrate what is
    not a blend), blend (weights of its parts), noise_rate (share of wrong labels: estimate, low,
    high; None where nothing can be told), measured_on, labels, history, seconds."""
    audit: AuditReport
    model: TunedModel


def tune(
    dataset: Dataset,
    config: TuneConfig,
    *,
    listener: Listener | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    feature_dir: Path | None = None,
    checkpoint_file: Path | None = None,
    backbone: Backbone | None = None,
) -> TuneResult:
    """Tune a classifier on `dataset`, measure it, audit the labels, choose what to serve.

    `feature_dir` keeps image features between jobs; `checkpoint_file` keeps the state of the tuner
    after each epoch, and a job that finds its own there goes on from it with the same result;
    `backbone` saves loading `config.backbone`.
    Raises Cancelled, BackboneError, ConfigError or PromptTooLong.
    """
    listener = listener or Listener()
    clock = StageClock(listener, config.epochs)
    clock.at("encoding")
    backbone = backbone or load_backbone(config.backbone, device=resolve_device(config.device))
    device = backbone.device
    prompts = PromptLearner(
        backbone,
        dataset.class_words,
        n_ctx=config.n_ctx,
        ctx_init=config.ctx_init,
        class_specific=config.class_specific_context,
    )
    lr = config.lr or DEFAULT_LR[config.loss]
    config = config.model_copy(update={"n_ctx": prompts.n_ctx, "lr": lr, "device": str(device)})
    splits = Splits.of(dataset, config)
    features = encode_images(
        backbone,
        dataset,
        augment_views=config.augment_views,
        store=FeatureStore(feature_dir, on_failure=listener.warning) if feature_dir else None,
        progress=lambda done, total: clock.at("encoding", done, total),
        encoded=listener.encoded,
        should_stop=should_stop,
    ).to(device)
    labels = torch.tensor([item.label for item in dataset.items], device=device)

    clock.at("zero_shot")
    zero_shot = zero_shot_embeddings(backbone, dataset.class_words)

    given = labels.cpu().numpy()[splits.train]
    crossfit = CrossFit.plan(splits.train, splits.fit, given, config.loss, lr, config.seed)
    runs = [Run(splits.fit, config.loss, lr, config.seed), *crossfit.runs]
    history = _History(listener, clock, config.epochs)
    if checkpoint_file is not None:
        identity = identity_of(config, backbone.digest, dataset.sha256, dataset.class_words, runs)
        history.keep_in(Checkpoint(checkpoint_file, identity), device)
    contexts = tune_contexts(
        prompts,
        features,
        labels,
        runs,
        Schedule(config.epochs, config.batch_size),
        logit_scale=backbone.logit_scale,
        gradient_scale=lr_scale_for(backbone.text_tower.embedding_std),
        autocast=tuning_dtype(config.precision, device),
        state=history.state,
        on_epoch=history.add,
        should_stop=should_stop,
    )

    clock.at("evaluating")
    with torch.inference_mode():
        classes = prompts.encode(contexts)
        fitted = fit_classifiers(
            classes,
            zero_shot,
            features[splits.train, 0],
            labels[splits.train],
            crossfit,
            logit_scale=backbone.logit_scale,
            classifier=config.classifier,
            should_stop=should_stop,
        )
    judge = _Judge(dataset, splits, features[:, 0], labels)
    audit = judge.audit(fitted)
    metrics: dict[str, Any] = {
        "zero_shot": judge.measure(fitted.zero_shot),
        "prompt": judge.measure(fitted.prompt),
        "tuned": judge.measure(fitted.tuned),
        "served": fitted.served,
        "why": fitted.why,
        "temperatures": fitted.temperatures,
        "blend": dict(zip(_PARTS, fitted.blend.weights, strict=True)),
        "measured_on": splits.measured_on,
        "labels": splits.labels,
        "noise_rate": asdict(audit.noise_rate) if audit.noise_rate else None,
    }
    clock.at("saving")
    manifest = Manifest(
        classes=list(dataset.classes),
        class_words=list(dataset.class_words),
        config=config,
        backbone_digest=backbone.digest,
        activation=backbone.activation,
        dataset_sha256=dataset.sha256,
        served=fitted.served,
        temperatures=fitted.temperatures,
        why=fitted.why,
        metrics=_brief(metrics),
    )
    metrics |= {"history": [asdict(report) for report in history.reports], "seconds": clock.seconds}
    blend = fitted.blend.classifier if config.classifier == "blend" else None
    return TuneResult(config, metrics, audit, TunedModel(contexts[0].cpu(), manifest, blend))


class _History:
    """Reports of the epochs, told to the listener and kept in a checkpoint, if there is one."""

    def __init__(self, listener: Listener, clock: StageClock, epochs: int) -> None:
        self._listener, self._clock, self._epochs = listener, clock, epochs
        self._checkpoint: Checkpoint | None = None
        self.state: TunerState | None = None
        """To go on from."""
        self.reports: list[EpochReport] = []
        self._tell()

    def keep_in(self, checkpoint: Checkpoint, device: torch.device) -> None:
        """Go on from `checkpoint` if it holds something, and save to it from now on."""
        self._checkpoint = checkpoint
        self.state, self.reports = checkpoint.load(device) or (None, [])
        self._tell()

    def add(self, report: EpochReport, state: TunerState) -> None:
        self.reports.append(report)
        if self._checkpoint is not None:
            try:
                self._checkpoint.save(state, self.reports)
            except OSError as error:  # it saves time after a crash, and is never needed
                self._checkpoint = None
                self._listener.warning(
                    f"The state of the tuning cannot be kept ({error.strerror or error}); if this "
                    "job is interrupted, it starts anew."
                )
        self._listener.metrics(asdict(report))
        self._tell()

    def _tell(self) -> None:
        self._clock.at("tuning", len(self.reports), self._epochs, len(self.reports))


@dataclass(frozen=True)
class _Judge:
    """Features (N, D) and labels (N,) of a data set, to hold classifiers against."""

    dataset: Dataset
    splits: Splits
    features: Tensor
    labels: Tensor

    def measure(self, classifier: LinearClassifier) -> dict[str, Any]:
        """Evaluation of a classifier on the rows that accuracy is measured on."""
        rows = torch.from_numpy(self.splits.measured).to(self.labels.device)
        probabilities = classifier.probabilities(self.features[rows])
        found = evaluate(probabilities, self.labels[rows], self.dataset.classes).to_dict()
        if len(self.dataset.classes) > MAX_CONFUSION_CLASSES:
            found["confusion"] = None
        return found

    def audit(self, fitted: Fitted) -> AuditReport:
        """Ranked labels of the training rows."""
        rows = torch.from_numpy(self.splits.train).to(self.labels.device)
        return audit_fitted(
            [self.dataset.items[row].path for row in self.splits.train],
            self.dataset.classes,
            self.labels[rows],
            self.features[rows],
            fitted,
        )


def _brief(metrics: dict[str, Any]) -> dict[str, Any]:
    """What the artefact keeps: all but the confusion matrices, which grow with C squared."""
    return {
        name: {key: part for key, part in value.items() if key != "confusion"}
        if isinstance(value, dict)
        else value
        for name, value in metrics.items()
    }
