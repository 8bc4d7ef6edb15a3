"""One cell: the same few shots ranked by every method, held against the labels that are wrong."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.audit_quality.rankings import (
    CLEANLAB_SCORES,
    by_cleanlab,
    by_neighbours,
    by_probability,
    flagged_by_cleanlab,
)
from benchmarks.audit_quality.scores import flag_scores, rank_scores
from benchmarks.noise_robustness import linear
from benchmarks.noise_robustness.cells import Job
from benchmarks.noise_robustness.encode import Features
from benchmarks.noise_robustness.methods import Task
from benchmarks.noise_robustness.settings import Settings
from dspt.backbones import Backbone
from dspt.classifier.fit import Fitted, fit, held_out_logits
from dspt.config import DEFAULT_LR, LossName
from dspt.data.splits import CrossFit
from dspt.kit.device import tuning_dtype
from dspt.labels.audit import AuditReport
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings
from dspt.prompt.losses import suppression
from dspt.prompt.trainer import Run, Schedule, lr_scale_for, tune_contexts

_PEER: LossName = "gce"
"""Loss of the second set of cross-fitted prompts."""


class Bench:
    """Measures cells one after the other; keeps what cells of one data set share."""

    def __init__(self, settings: Settings, backbone: Backbone) -> None:
        self._settings, self._backbone = settings, backbone
        self._file: Path | None = None
        self._prompts: PromptLearner
        self._zero_shot: Tensor
        self._features: Features

    def measure(self, job: Job) -> dict[str, Any]:
        """Scores of every ranking, suspects, noise rate and seconds; plain values for JSON."""
        start = time.monotonic()
        task = self._task(job)
        fitted, gce = self._fit(task, job.cell.seed)
        names = [str(row) for row in range(len(job.given))]
        classes = [str(c) for c in range(task.n_classes)]
        report = fitted.audit(names, classes, task.given, task.features[:, 0])
        logistic = linear.cross_validate(task, self._settings.logistic_c)
        ours = fitted.ensemble.log_p.double().exp().cpu().numpy()
        wrong = job.given != job.true
        rankings = {
            "ours": _places(report, len(wrong)),
            **_by_all_cleanlab("cleanlab", logistic.probabilities, job.given),
            **_by_all_cleanlab("ours_cleanlab", ours, job.given),
            "zero_shot": by_probability(
                fitted.zero_shot.probabilities(task.features[:, 0]), task.given
            ),
            "prompt": by_probability(fitted.held_out_prompt.softmax(1), task.given),
            "prompt_gce": by_probability(gce.softmax(1), task.given),
            "suppression": 1 - suppression(fitted.held_out_prompt, task.given).cpu().numpy(),
            "neighbours": by_neighbours(task.features[:, 0], task.given),
        }
        flags = {
            "ours": np.isin(names, [entry.file for entry in report.suspects]),
            "cleanlab": flagged_by_cleanlab(logistic.probabilities, job.given),
            "ours_cleanlab": flagged_by_cleanlab(ours, job.given),
        }
        return {
            "rankings": {name: rank_scores(found, wrong) for name, found in rankings.items()},
            "flags": {name: flag_scores(found, wrong) for name, found in flags.items()},
            "can_tell": report.can_tell,
            "noise_rate": asdict(report.noise_rate) if report.noise_rate else None,
            "logistic_c": logistic.c,
            "seconds": round(time.monotonic() - start, 2),
        }

    def _task(self, job: Job) -> Task:
        config = self._settings.tune_config(job.cell.seed)
        backbone = self._backbone
        if job.file != self._file:
            self._file = job.file
            self._features = Features.load(job.file, backbone.device)
            self._zero_shot = zero_shot_embeddings(backbone, job.class_words)
            self._prompts = PromptLearner(
                backbone,
                job.class_words,
                n_ctx=config.n_ctx,
                ctx_init=config.ctx_init,
                class_specific=config.class_specific_context,
            )
        return Task(
            backbone=backbone,
            prompts=self._prompts,
            features=self._features.train[job.positions, : 1 + config.augment_views],
            given=torch.tensor(job.given, device=backbone.device),
            zero_shot=self._zero_shot,
            n_classes=len(job.class_words),
            logit_scale=backbone.logit_scale,
            seed=job.cell.seed,
            autocast=tuning_dtype(self._settings.precision, backbone.device),
            should_stop=lambda: False,
        )

    def _fit(self, task: Task, seed: int) -> tuple[Fitted, Tensor]:
        """Fit what the service fits, and return the logits of cross-fitted GCE prompts too."""
        config = self._settings.tune_config(seed)
        _, fitted = fit(
            task.backbone, task.prompts, task.zero_shot, task.features, task.given, config
        )
        crossfit = CrossFit.plan(task.given.cpu().numpy(), seed)
        contexts = tune_contexts(
            task.prompts,
            task.features,
            task.given,
            [Run(rows, _PEER, DEFAULT_LR[_PEER], seed) for rows in crossfit.training_rows],
            Schedule(config.epochs, config.batch_size),
            logit_scale=task.logit_scale,
            gradient_scale=lr_scale_for(task.backbone.text_tower.embedding_std),
            autocast=task.autocast,
        )
        folds = [torch.from_numpy(rows).to(task.given.device) for rows in crossfit.held_out]
        with torch.inference_mode():
            classes = task.prompts.encode(contexts)
            return fitted, held_out_logits(classes, task.features[:, 0], folds, task.logit_scale)


def _places(report: AuditReport, n: int) -> NDArray[np.float64]:
    """(N,) how far each file is from the end of the audit's list."""
    found = np.empty(n)
    found[[int(entry.file) for entry in report.entries]] = np.arange(n, 0, -1)
    return found


def _by_all_cleanlab(
    prefix: str, probabilities: NDArray[np.float64], given: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    return {f"{prefix}_{name}": by_cleanlab(probabilities, given, name) for name in CLEANLAB_SCORES}
