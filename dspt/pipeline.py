"""The whole job on one data set: encode, measure zero-shot, tune, evaluate, audit, choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dspt.artifact import Manifest, TunedModel
from dspt.audit import AuditReport, audit_labels
from dspt.backbones import load_backbone
from dspt.backbones.base import Backbone
from dspt.choice import choose_served
from dspt.config import TuneConfig
from dspt.crossfit import CrossFit
from dspt.data import Dataset
from dspt.device import resolve_device, tuning_dtype
from dspt.evaluation import evaluate
from dspt.feature_store import FeatureStore
from dspt.features import encode_images
from dspt.progress import Listener, Progress, StageClock
from dspt.prompt import Prompts, zero_shot_embeddings
from dspt.splits import Rows, Splits
from dspt.tuner import EpochReport, Run, Schedule, TunerState, step_scale, tune_contexts

__all__ = ["Listener", "Progress", "TuneResult", "tune"]


@dataclass(frozen=True)
class TuneResult:
    """A tuned classifier and all that was measured on the way."""

    config: TuneConfig
    """As asked, with what was left open filled in."""
    metrics: dict[str, Any]
    """zero_shot and tuned (Evaluation), served, why, measured_on, labels, history, seconds."""
    audit: AuditReport
    model: TunedModel


def tune(
    dataset: Dataset,
    config: TuneConfig,
    *,
    listener: Listener | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    feature_dir: Path | None = None,
    backbone: Backbone | None = None,
) -> TuneResult:
    """Tune a classifier on `dataset`, measure it, audit the labels, choose what to serve.

    `feature_dir` keeps image features between jobs; `backbone` saves loading `config.backbone`.
    Raises Cancelled, BackboneError, ConfigError or PromptTooLong.
    """
    listener = listener or Listener()
    clock = StageClock(listener, config.epochs)
    clock.at("encoding")
    backbone = backbone or load_backbone(config.backbone, device=resolve_device(config.device))
    device = backbone.device
    prompts = Prompts(
        backbone,
        dataset.class_words,
        n_ctx=config.n_ctx,
        ctx_init=config.ctx_init,
        class_specific=config.class_specific_context,
    )
    config = config.model_copy(update={"n_ctx": prompts.n_ctx, "device": str(device)})
    splits = Splits.of(dataset, config)
    features = encode_images(
        backbone,
        dataset,
        augment_views=config.augment_views,
        store=FeatureStore(feature_dir) if feature_dir else None,
        progress=lambda done, total: clock.at("encoding", done, total),
        should_stop=should_stop,
    ).to(device)
    labels = torch.tensor([item.label for item in dataset.items], device=device)

    clock.at("zero_shot")
    prior = zero_shot_embeddings(backbone, dataset.class_words)

    clock.at("tuning", epoch=0)
    history: list[dict[str, Any]] = []

    def on_epoch(report: EpochReport, state: TunerState) -> None:
        history.append(asdict(report))
        listener.metrics(history[-1])
        clock.at("tuning", report.epoch, config.epochs, report.epoch)

    train_labels = labels[_index(splits.train, device)]
    crossfit = CrossFit.plan(
        splits.train, splits.sampled, train_labels.cpu().numpy(), config.loss, config.seed
    )
    contexts = tune_contexts(
        prompts,
        features,
        labels,
        [Run(splits.fit, config.loss, config.seed), *crossfit.runs],
        Schedule(config.epochs, config.batch_size, config.lr),
        logit_scale=backbone.logit_scale,
        gradient_scale=step_scale(backbone.text_tower.embedding_std, backbone.logit_scale),
        autocast=tuning_dtype(config.precision, device),
        on_epoch=on_epoch,
        should_stop=should_stop,
    )

    clock.at("evaluating")
    with torch.inference_mode():
        classes = prompts.encode(contexts)
    centre = features[:, 0]
    train, measured = (_index(rows, device) for rows in (splits.train, splits.measured))
    prior_on_train = (backbone.logit_scale * centre[train] @ prior.T).softmax(-1)
    judged = crossfit.probabilities(classes[1:], centre[train], backbone.logit_scale)
    audit = audit_labels(
        [dataset.items[row].path for row in splits.train],
        dataset.classes,
        train_labels,
        judged,
        prior_on_train,
    )
    served, why = choose_served(judged[0], prior_on_train, train_labels)

    def measure(embeddings: torch.Tensor) -> dict[str, Any]:
        probabilities = (backbone.logit_scale * centre[measured] @ embeddings.T).softmax(-1)
        return evaluate(probabilities, labels[measured], dataset.classes).to_dict()

    metrics: dict[str, Any] = {
        "zero_shot": measure(prior),
        "tuned": measure(classes[0]),
        "served": served,
        "why": why,
        "measured_on": splits.measured_on,
        "labels": splits.labels,
    }
    clock.at("saving")
    model = TunedModel(
        contexts[0].cpu(),
        Manifest(
            classes=list(dataset.classes),
            class_words=list(dataset.class_words),
            config=config,
            backbone_digest=backbone.digest,
            activation=backbone.activation,
            dataset_sha256=dataset.sha256,
            served=served,
            why=why,
            metrics=_brief(metrics),
        ),
    )
    metrics |= {"history": history, "seconds": clock.seconds}
    return TuneResult(config, metrics, audit, model)


def _index(rows: Rows, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(rows).to(device)


def _brief(metrics: dict[str, Any]) -> dict[str, Any]:
    """What the artefact keeps: all but the confusion matrices, which grow with C squared."""
    return {
        name: {key: part for key, part in value.items() if key != "confusion"}
        if isinstance(value, dict)
        else value
        for name, value in metrics.items()
    }
