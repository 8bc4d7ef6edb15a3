"""Tip-Adapter-F: a cache of the training images, whose keys are fine-tuned.

Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification", ECCV 2022:
logits = zero-shot + alpha * exp(-beta (1 - cosine to each key)) @ labels. 20 epochs of AdamW at
0.001 on the keys. alpha and beta come from a validation set there; here the noisy labels choose
them for the cache that is not fine-tuned.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.noise_robustness.baselines.fitting import batches, cross_validated
from benchmarks.noise_robustness.methods import Fitted, Task

SETTINGS = tuple(product((1.0, 0.3, 3.0), (5.5, 1.0, 3.0, 7.0)))
"""(alpha, beta) to try, the first of them the authors' start values."""
EPOCHS, RATE, BATCH = 20, 0.001, 256


def tip_adapter_f(task: Task) -> Fitted:
    """Fine-tune the keys on all noisy labels."""

    def fit(keys: Tensor, labels: Tensor) -> Callable[[Tensor, tuple[float, float]], Tensor]:
        return lambda images, setting: cache_logits(task, images, keys, labels, *setting)

    (alpha, beta), _ = cross_validated(task, SETTINGS, fit)
    features, given = task.features[:, 0], task.given
    keys = features.clone().requires_grad_(True)
    optimizer = torch.optim.AdamW([keys], lr=RATE, eps=1e-4)
    order = list(batches(len(given), EPOCHS, BATCH, task.seed))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(order))
    for rows in order:
        logits = cache_logits(task, features[rows], keys, given, alpha, beta)
        optimizer.zero_grad()
        F.cross_entropy(logits, given[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    tuned = keys.detach()
    return Fitted(
        lambda images: cache_logits(task, images, tuned, given, alpha, beta),
        why=f"alpha = {alpha:g}, beta = {beta:g}",
    )


def cache_logits(
    task: Task, images: Tensor, keys: Tensor, labels: Tensor, alpha: float, beta: float
) -> Tensor:
    """Return zero-shot's logits plus those of the cache. images: (m, D), keys: (n, D)."""
    values = F.one_hot(labels, task.n_classes).to(images)
    cache = torch.exp(beta * (images @ keys.T - 1)) @ values
    return task.logit_scale * images @ task.zero_shot.T + alpha * cache
