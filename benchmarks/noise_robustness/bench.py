"""Tasks from jobs; keeps the prompts and features of the data set that was used last."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.noise_robustness.encode import Features
from benchmarks.noise_robustness.grid import Job
from benchmarks.noise_robustness.methods import Task
from benchmarks.noise_robustness.settings import Settings
from dspt.backbones import load_backbone
from dspt.kit.device import resolve_device, tuning_dtype
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings


class Bench:
    """A backbone with the class words and features of one data set at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._backbone = load_backbone(settings.backbone, device=resolve_device(settings.device))
        self._words: tuple[str, ...] | None = None
        self._file: Path | None = None
        self._prompts: dict[tuple[int | None, str, bool], PromptLearner] = {}
        self._zero_shot: Tensor
        self.features: Features

    def load(self, job: Job) -> None:
        """Prepare for the data set of `job`."""
        if job.class_words != self._words:
            self._prompts.clear()
            self._zero_shot = zero_shot_embeddings(self._backbone, job.class_words)
            self._words = job.class_words
        if job.file != self._file:
            self.features = Features.load(job.file, self._backbone.device)
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
        rows = torch.ones(len(self.features.train), dtype=torch.bool)
        rows[job.positions] = False
        return self.features.train[rows, 0].to(self._backbone.device)

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
            features=self.features.train[job.positions, : 1 + views].to(backbone.device),
            given=torch.tensor(job.given, device=backbone.device),
            zero_shot=self._zero_shot,
            seed=job.cell.seed,
            autocast=tuning_dtype(self._settings.precision, backbone.device),
        )
