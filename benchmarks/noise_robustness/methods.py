"""The methods that tune prompts, each as a function from few, partly mislabelled shots to scores.

A method sees features and given labels of the training images alone. It returns how to score other
images, so that nothing of the test part can reach the fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.noise_robustness.settings import Recipe
from dspt.backbones import Backbone
from dspt.classifier.fit import fit
from dspt.config import LossName, TuneConfig
from dspt.prompt.learner import PromptLearner
from dspt.prompt.trainer import Run, Schedule, lr_scale_for, tune_contexts


@dataclass(frozen=True)
class Task:
    """What a method is given."""

    backbone: Backbone
    prompts: PromptLearner
    features: Tensor
    """(N, V, D), unit length: V views of each training image, the centre crop first."""
    given: Tensor
    """(N,) labels, some of them wrong."""
    zero_shot: Tensor
    """(C, D) class embeddings of the untuned prompt."""
    n_classes: int
    logit_scale: float
    seed: int
    autocast: torch.dtype | None
    """Arithmetic of the text tower while tuning; None for float32."""
    should_stop: Callable[[], bool]


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier."""

    score: Callable[[Tensor], Tensor]
    """(T, D) features -> (T, C) scores, the highest for the class predicted."""
    served: str | None = None
    """What the default chose."""
    why: str | None = None


def zero_shot(task: Task) -> Fitted:
    """The prompt "a photo of a {class}.", untuned."""
    return Fitted(by_embeddings(task.zero_shot, task.logit_scale))


def tuned_losses(task: Task, losses: Sequence[LossName], recipe: Recipe) -> dict[str, Fitted]:
    """One prompt per loss, all tuned as one batch. Raises Cancelled."""
    rows = np.arange(len(task.given))
    runs = [Run(rows, loss, recipe.lr[loss], task.seed) for loss in losses]
    classes = _tune(task, runs, Schedule(recipe.epochs, recipe.batch_size))
    return {
        loss: Fitted(by_embeddings(embeddings, task.logit_scale))
        for loss, embeddings in zip(losses, classes, strict=True)
    }


def default(task: Task, config: TuneConfig) -> Fitted:
    """What the service does when nothing is set (dspt.pipeline), on features at hand."""
    _, fitted = fit(
        task.backbone,
        task.prompts,
        task.zero_shot,
        task.features,
        task.given,
        config,
        should_stop=task.should_stop,
    )
    return Fitted(fitted.served_classifier.logits, fitted.served, fitted.why)


def by_embeddings(classes: Tensor, logit_scale: float) -> Callable[[Tensor], Tensor]:
    """Logits by class embeddings (C, D)."""
    return lambda features: logit_scale * features @ classes.T


def _tune(task: Task, runs: Sequence[Run], schedule: Schedule) -> Tensor:
    """Class embeddings (R, C, D) of tuned contexts."""
    contexts = tune_contexts(
        task.prompts,
        task.features,
        task.given,
        runs,
        schedule,
        logit_scale=task.logit_scale,
        gradient_scale=lr_scale_for(task.backbone.text_tower.embedding_std),
        autocast=task.autocast,
        should_stop=task.should_stop,
    )
    with torch.inference_mode():
        return task.prompts.encode(contexts)
