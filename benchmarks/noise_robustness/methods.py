"""The methods that tune prompts: functions from few shots with noisy labels to a scoring function.

A method sees only features and noisy labels of the training images; it returns how to score other
images, so that nothing of the test part can reach the fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.noise_robustness.grid import Job
from benchmarks.noise_robustness.settings import UNLABELLED, Recipe, Settings
from dspt.backbones import Backbone, load_backbone
from dspt.classifier.fit import fit
from dspt.classifier.linear import LinearClassifier
from dspt.config import LossName, TuneConfig
from dspt.kit.device import resolve_device, tuning_dtype
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings
from dspt.prompt.schedule import Run, Schedule
from dspt.prompt.trainer import lr_scale_for, tune_contexts


@dataclass(frozen=True)
class Task:
    """Input of a method."""

    backbone: Backbone
    prompts: PromptLearner
    features: Tensor
    """(N, V, F): V views of each training image, the centre crop first."""
    given: Tensor
    """(N,) noisy labels."""
    zero_shot: Tensor
    """(C, D) class embeddings of the untuned prompt."""
    seed: int
    autocast: torch.dtype | None
    """Precision of the text tower during tuning; None for float32."""

    @property
    def n_classes(self) -> int:
        return len(self.zero_shot)

    @property
    def logit_scale(self) -> float:
        return self.backbone.logit_scale

    @property
    def embeddings(self) -> Tensor:
        """(N, V, D): the first part of `features`."""
        return self.features[..., : self.zero_shot.shape[1]]


class Bench:
    """A backbone with the class words and features of one data set at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._backbone = load_backbone(settings.backbone, device=resolve_device(settings.device))
        self._file: Path | None = None
        self._prompts: dict[tuple[int | None, str, bool], PromptLearner] = {}
        self._zero_shot: Tensor
        self.features: dict[str, Tensor]
        """As `encode_set` writes them."""

    def load(self, job: Job) -> None:
        """Prepare for the data set of `job`."""
        if job.file != self._file:
            self._prompts.clear()
            self._zero_shot = zero_shot_embeddings(self._backbone, job.class_words)
            self.features = load_file(job.file, device=str(self._backbone.device))
            self._file = job.file

    def service_task(self, job: Job) -> Task:
        """Return the task with the context that the service tunes."""
        config = self._settings.tune_config(job.cell.seed)
        return self.task(
            job, config.n_ctx, config.ctx_init, config.class_specific_context, config.augment_views
        )

    def unlabelled(self, job: Job) -> Tensor:
        """Return the features (U, F) of the training images that `job` does not draw."""
        self.load(job)
        rows = torch.ones(len(self.features["train"]), dtype=torch.bool)
        rows[job.positions] = False
        return self.features["train"][rows, 0].to(self._backbone.device)

    def task(
        self, job: Job, n_ctx: int | None, ctx_init: str, class_specific: bool, views: int
    ) -> Task:
        """Return the task of `job` with this context and number of augmented views."""
        self.load(job)
        backbone = self._backbone
        key = (n_ctx, ctx_init, class_specific)
        if key not in self._prompts:
            self._prompts[key] = PromptLearner(
                backbone,
                job.class_words,
                n_ctx=n_ctx,
                ctx_init=ctx_init,
                class_specific=class_specific,
            )
        return Task(
            backbone=backbone,
            prompts=self._prompts[key],
            features=self.features["train"][job.positions, : 1 + views].to(backbone.device),
            given=torch.tensor(job.given, device=backbone.device),
            zero_shot=self._zero_shot,
            seed=job.cell.seed,
            autocast=tuning_dtype(self._settings.precision, backbone.device),
        )


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier."""

    score: Callable[[Tensor], Tensor]
    """(T, F) features -> (T, C) scores, the highest for the class predicted."""
    served: str | None = None
    """What the default method chose."""
    why: str | None = None


def zero_shot(task: Task) -> Fitted:
    """Return the classifier of the untuned prompt "a photo of a {class}."."""
    return Fitted(by_embeddings(task.zero_shot, task.logit_scale))


def tuned_losses(task: Task, losses: Sequence[LossName], recipe: Recipe) -> dict[str, Fitted]:
    """Tune one prompt per loss, all as one batch."""
    rows = np.arange(len(task.given))
    contexts = tune_contexts(
        task.prompts,
        task.embeddings,
        task.given,
        [Run(rows, loss, recipe.lr[loss], task.seed) for loss in losses],
        Schedule(recipe.epochs, recipe.batch_size),
        logit_scale=task.logit_scale,
        gradient_scale=lr_scale_for(task.backbone.text_tower.embedding_std),
        autocast=task.autocast,
    )
    with torch.inference_mode():
        classes = task.prompts.encode(contexts)
    return {
        loss: Fitted(by_embeddings(embeddings, task.logit_scale))
        for loss, embeddings in zip(losses, classes, strict=True)
    }


def default(task: Task, config: TuneConfig, unlabelled: Tensor | None = None) -> dict[str, Fitted]:
    """Return what the service does by default (dspt.pipeline), from features.

    unlabelled: (U, F) of images without labels. With them, also what it does with them: both from
    the same tuning.
    """
    _, fitted = fit(
        task.backbone,
        task.prompts,
        task.zero_shot,
        task.features,
        task.given,
        config,
        unlabelled=unlabelled,
    )
    served = Fitted(fitted.served_classifier.logits, fitted.served, fitted.why)
    if fitted.served == "zero_shot" or fitted.labelled_only is None:
        return {"default": served, UNLABELLED: served}
    labelled_only = replace(served, score=fitted.labelled_only.logits)
    return {"default": labelled_only, UNLABELLED: served}


def by_embeddings(classes: Tensor, logit_scale: float) -> Callable[[Tensor], Tensor]:
    """Return the logits of class embeddings (C, D)."""
    return LinearClassifier.from_text(classes, logit_scale).logits
