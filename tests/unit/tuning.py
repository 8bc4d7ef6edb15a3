"""Small tasks to tune on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dspt.backbones.base import Backbone
from dspt.config import LossName
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings
from dspt.prompt.schedule import Run, Schedule
from dspt.prompt.trainer import tune_contexts

WORDS = ["dog", "fire truck", "steam locomotive"]
LOSSES: list[LossName] = ["dspt", "ce", "gce", "mae"]
SCALE = 30.0


def rows(*of: int) -> NDArray[np.int64]:
    return np.array(of, dtype=np.int64)


def first(n: int) -> NDArray[np.int64]:
    return np.arange(n, dtype=np.int64)


def on(
    of: int | NDArray[np.int64], loss: LossName = "ce", *, lr: float = 0.1, seed: int = 1
) -> Run:
    """A run on these rows, or on the first so many."""
    return Run(first(of) if isinstance(of, int) else of, loss, lr, seed)


def task(
    backbone: Backbone, n: int = 24, *, views: int = 1, ease: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Features (n, views, D) around the class embeddings of WORDS, and their labels in turn.

    ease: distance of the classes; 1 is that of the embeddings, less pulls them together.
    """
    generator = torch.Generator().manual_seed(4)
    labels = torch.arange(n) % len(WORDS)
    centres = zero_shot_embeddings(backbone, WORDS)
    middle = centres.mean(0)
    apart = ease * (centres - middle)
    noise = torch.randn(n, views, centres.shape[1], generator=generator) / centres.shape[1] ** 0.5
    noise *= apart.norm(dim=1).mean()
    return F.normalize(middle + apart[labels][:, None] + noise, dim=-1), labels


def tune(
    prompts: PromptLearner,
    features: Tensor,
    labels: Tensor,
    runs: list[Run],
    schedule: Schedule | None = None,
    **options: Any,
) -> Tensor:
    schedule = schedule or Schedule(epochs=5, batch_size=8)
    options = {"logit_scale": SCALE, "gradient_scale": 1.0} | options
    return tune_contexts(prompts, features, labels, runs, schedule, **options)


class Steps:
    """Features that remember which rows each step asked for."""

    def __init__(self, features: Tensor) -> None:
        self.features, self.asked = features, []
        self.device, self.shape = features.device, features.shape

    def __getitem__(self, rows_and_views: tuple[Tensor, Tensor]) -> Tensor:
        self.asked.append(rows_and_views[0].clone())
        return self.features[rows_and_views]
