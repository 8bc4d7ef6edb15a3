"""Shared by the baselines: gradient descent, and a setting by cross-validation on noisy labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.noise_robustness.methods import Task
from dspt.data import stratified_folds

EPOCHS, RATE, BATCH, MOMENTUM, WEIGHT_DECAY = 300, 0.1, 256, 0.9, 5e-4
"""Of `train`: those of CLAP's authors."""
FOLDS = 5

T = TypeVar("T")


def batches(n: int, epochs: int, size: int, seed: int) -> Iterator[Tensor]:
    """Yield the rows of each step: every epoch in a random order, in batches."""
    for epoch in range(epochs):
        order = np.random.default_rng((seed, epoch)).permutation(n)
        for start in range(0, n, size):
            yield torch.from_numpy(order[start : start + size])


def train(task: Task, parameters: list[Tensor], loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Minimise by SGD with momentum and cosine decay, in place.

    loss: centre crops or random views (m, D) of the rows (m,) -> a scalar.
    """
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.SGD(parameters, lr=RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    views = task.features.shape[1]
    random = np.random.default_rng(task.seed)
    steps = list(batches(len(task.given), EPOCHS, BATCH, task.seed))
    for step, rows in enumerate(steps):
        optimizer.param_groups[0]["lr"] = 0.5 * RATE * (1 + math.cos(math.pi * step / len(steps)))
        drawn = torch.from_numpy(random.integers(views, size=len(rows)))
        value = loss(task.features[rows, drawn], rows)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for parameter in parameters:
        parameter.requires_grad_(False)


def cross_validated(
    task: Task,
    settings: Sequence[T],
    fit: Callable[[Tensor, Tensor], Callable[[Tensor, T], Tensor]],
) -> tuple[T, Tensor]:
    """Return the setting that agrees with most noisy labels out of sample; the first of equals.

    And its scores (n, C) out of sample. fit: (n, D) features and (n,) labels -> a function of
    (m, D) features and a setting, that returns scores (m, C).
    """
    features, given = task.features[:, 0], task.given
    folds = stratified_folds(given.cpu().numpy(), FOLDS, task.seed)
    scores: list[list[Tensor]] = [[] for _ in settings]
    for rows in folds:
        fold = torch.from_numpy(rows).to(given.device)
        rest = torch.ones_like(given, dtype=torch.bool)
        rest[fold] = False
        score = fit(features[rest], given[rest])
        for found, setting in zip(scores, settings, strict=True):
            found.append(score(features[fold], setting))
    order = torch.from_numpy(np.concatenate(folds)).argsort().to(given.device)
    whole = [torch.cat(found)[order] for found in scores]
    right = [int((found.argmax(1) == given).sum()) for found in whole]
    best = right.index(max(right))
    return settings[best], whole[best]
