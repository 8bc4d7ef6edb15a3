"""One cell: every method fitted on the same noisy shots and measured on the same test images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.noise_robustness import methods
from benchmarks.noise_robustness.encode import Features
from benchmarks.noise_robustness.methods import Fitted, Task
from benchmarks.noise_robustness.settings import Cell, Settings
from dspt.backbones import Backbone, load_backbone
from dspt.kit.device import resolve_device, tuning_dtype
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings
from dspt.prompt.losses import suppression

SUPPRESSION_BINS = 20
"""Of equal width over 0..1."""


@dataclass(frozen=True)
class Job:
    """What a process needs to run a cell."""

    cell: Cell
    class_words: tuple[str, ...]
    file: Path
    """Features, as `encode` wrote them."""
    positions: NDArray[np.int64]
    """(N,) rows of the training features."""
    given: NDArray[np.int64]
    """(N,) labels to fit on."""
    true: NDArray[np.int64]
    """(N,) for the figures alone; no method sees it."""


class CellRunner:
    """Runs cells one after the other; keeps the backbone, and prompts and features last used."""

    def __init__(self, settings: Settings, should_stop: Callable[[], bool] = lambda: False) -> None:
        self._settings = settings
        self._should_stop = should_stop
        self._backbone: Backbone | None = None
        self._words: tuple[str, ...] | None = None
        self._prompts: dict[tuple[int | None, str, bool], PromptLearner] = {}
        self._zero_shot = torch.empty(0)
        self._file: Path | None = None
        self._features: Features | None = None

    def __call__(self, job: Job) -> dict[str, Any]:
        """Accuracy (percent) of each method, suppression, seconds; plain values for JSON.

        Raises Cancelled, and what a method raises.
        """
        settings, cell = self._settings, job.cell
        backbone, data = self._load(job)
        given = torch.tensor(job.given, device=backbone.device)
        config = settings.tune_config(cell.seed)
        recipe = settings.recipe
        clock = _Clock()

        def task(n_ctx: int | None, ctx_init: str, class_specific: bool, views: int) -> Task:
            return Task(
                backbone=backbone,
                prompts=self._prompts_of(n_ctx, ctx_init, class_specific),
                features=data.train[job.positions, : 1 + views].to(backbone.device),
                given=given,
                zero_shot=self._zero_shot,
                n_classes=len(job.class_words),
                logit_scale=backbone.logit_scale,
                seed=cell.seed,
                autocast=tuning_dtype(settings.precision, backbone.device),
                should_stop=self._should_stop,
            )

        losses_task = task(recipe.n_ctx, recipe.ctx_init, False, recipe.augment_views)
        fitted: dict[str, Fitted] = {"zero_shot": methods.zero_shot(losses_task)}
        if settings.losses:
            fitted |= methods.tuned_losses(losses_task, settings.losses, recipe)
            clock.lap("losses")
        if "default" in settings.methods:
            of_default = task(
                config.n_ctx, config.ctx_init, config.class_specific_context, config.augment_views
            )
            fitted["default"] = methods.default(of_default, config)
            clock.lap("default")
        if {"logistic", "logistic_cleanlab"} & set(settings.methods):
            # scikit-learn and cleanlab are an optional extra
            from benchmarks.noise_robustness import linear

            validated = linear.cross_validate(losses_task, settings.logistic_c)
            fitted["logistic"] = linear.logistic(losses_task, validated)
            fitted["logistic_cleanlab"] = linear.logistic_cleanlab(losses_task, validated)
            clock.lap("logistic")
        shots = losses_task.features[:, 0]
        wrong = torch.from_numpy(job.given != job.true)
        return {
            "methods": {
                name: _measure(fitted[name], data.test, data.test_labels)
                for name in settings.methods
            },
            "suppression": {
                name: _histograms(suppression(fitted[name].score(shots), given).cpu(), wrong)
                for name in ("zero_shot", "dspt")
                if name in fitted
            },
            "seconds": clock.laps,
        }

    def _load(self, job: Job) -> tuple[Backbone, Features]:
        settings = self._settings
        if self._backbone is None:
            device = resolve_device(settings.device)
            self._backbone = load_backbone(settings.backbone, device=device)
        if job.class_words != self._words:
            self._prompts.clear()
            self._zero_shot = zero_shot_embeddings(self._backbone, job.class_words)
            self._words = job.class_words
        if self._features is None or job.file != self._file:
            self._features = Features.load(job.file, self._backbone.device)
            self._file = job.file
        return self._backbone, self._features

    def _prompts_of(self, n_ctx: int | None, ctx_init: str, class_specific: bool) -> PromptLearner:
        key = (n_ctx, ctx_init, class_specific)
        if key not in self._prompts:
            assert self._backbone is not None
            assert self._words is not None
            self._prompts[key] = PromptLearner(
                self._backbone,
                self._words,
                n_ctx=n_ctx,
                ctx_init=ctx_init,
                class_specific=class_specific,
            )
        return self._prompts[key]


class _Clock:
    """Seconds of each part."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = round(now - self._at, 2)
        self._at = now


def _measure(fitted: Fitted, test: Tensor, labels: Tensor) -> dict[str, Any]:
    right = int((fitted.score(test).argmax(1) == labels).sum())
    found: dict[str, Any] = {"accuracy": 100 * right / len(labels), "correct": right}
    if fitted.served is not None:
        found["served"] = fitted.served
    if fitted.why is not None:
        found["why"] = fitted.why
    return found


def _histograms(ratio: Tensor, wrong: Tensor) -> dict[str, list[int]]:
    """Counts of the suppression of rightly and wrongly labelled images, SUPPRESSION_BINS each."""

    def counts(of: Tensor) -> list[int]:
        # the ratio may pass 1 by a little; the last bin takes that in
        found = torch.histc(of.clamp(0, 1).double(), SUPPRESSION_BINS, 0, 1)
        return [int(n) for n in found]

    return {"clean": counts(ratio[~wrong]), "flipped": counts(ratio[wrong])}
