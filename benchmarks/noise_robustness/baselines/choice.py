"""Choose a setting by cross-validation on noisy labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from benchmarks.noise_robustness.methods import Task
from dspt.data import stratified_folds

FOLDS = 5

T = TypeVar("T")


def best_setting(
    task: Task,
    settings: Sequence[T],
    fit: Callable[[Tensor, Tensor], Callable[[Tensor, T], Tensor]],
) -> T:
    """Return the setting that agrees with most noisy labels out of sample; the first of equals.

    fit: (n, D) features and (n,) labels -> a function of (m, D) features and a setting, that
    returns scores (m, C).
    """
    features, given = task.features[:, 0], task.given
    right = [0] * len(settings)
    for rows in stratified_folds(given.cpu().numpy(), FOLDS, task.seed):
        fold = torch.from_numpy(rows).to(given.device)
        rest = torch.ones_like(given, dtype=torch.bool)
        rest[fold] = False
        score = fit(features[rest], given[rest])
        for i, setting in enumerate(settings):
            right[i] += int((score(features[fold], setting).argmax(1) == given[fold]).sum())
    return settings[right.index(max(right))]
