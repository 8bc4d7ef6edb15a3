"""GDA: Gaussian discriminant analysis on frozen features, alone and with zero-shot.

Wang et al., "A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation", ICLR 2024: class
means and a shared covariance, shrunk towards the identity. The weight of GDA beside zero-shot comes
from a validation set there, from the noisy labels here.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.noise_robustness.baselines.fitting import cross_validated
from benchmarks.noise_robustness.methods import Fitted, Task

ALPHAS = (1.0, 0.1, 10.0, 0.01, 100.0, 0.001, 0.0001)
"""Weights of GDA to try; the first of equals wins."""
_MIN_RIDGE = 1e-6  # with one image per class there is no covariance


def gda(task: Task) -> Fitted:
    """Fit to all noisy labels."""
    score = discriminant(task.features[:, 0], task.given, task.n_classes)
    return Fitted(score)


def gda_text(task: Task) -> Fitted:
    """Add GDA to zero-shot's logits, with the weight that cross-validation chooses."""

    def fit(features: Tensor, labels: Tensor) -> Callable[[Tensor, float], Tensor]:
        score = discriminant(features, labels, task.n_classes)
        text = task.logit_scale * task.zero_shot
        return lambda images, alpha: images @ text.T + alpha * score(images)

    alpha, _ = cross_validated(task, ALPHAS, fit)
    score = fit(task.features[:, 0], task.given)
    return Fitted(lambda images: score(images, alpha), why=f"alpha = {alpha:g}")


def discriminant(features: Tensor, labels: Tensor, n_classes: int) -> Callable[[Tensor], Tensor]:
    """Return the discriminant scores; a class without images has the lowest possible score.

    The precision matrix is D ((n - 1) S + tr(S) I)^-1, with the covariance S (Wang et al., eq. 5).
    """
    n, width = features.shape
    x = features.double()
    one_hot = F.one_hot(labels, n_classes).double()
    counts = one_hot.sum(0)[:, None]
    means = one_hot.T @ x / counts.clamp_min(1)
    centred = x - means[labels]
    scatter = centred.T @ centred
    ridge = (scatter.trace() / max(n - 1, 1)).clamp_min(_MIN_RIDGE)
    weights = width * torch.linalg.solve(scatter + ridge * torch.eye(width).to(scatter), means.T).T
    bias = -0.5 * (weights * means).sum(1)
    bias = bias.masked_fill(counts[:, 0] == 0, -1e9).to(features)
    matrix = weights.to(features)
    return lambda images: images @ matrix.T + bias
