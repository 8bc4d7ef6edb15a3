"""ELR: early-learning regularisation of a linear classifier on frozen features.

Liu et al., "Early-Learning Regularization Prevents Memorization of Noisy Labels", NeurIPS 2020,
eq. 6: cross-entropy + lambda log(1 - <p, t>), where t is a running average of the predictions of an
image. lambda = 3 and beta = 0.7 are theirs for CIFAR-10.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.noise_robustness.baselines.fitting import train
from benchmarks.noise_robustness.methods import Fitted, Task, by_embeddings

LAMBDA, BETA = 3.0, 0.7


def elr(task: Task) -> Fitted:
    """Train on all noisy labels."""
    n, width = len(task.given), task.features.shape[2]
    weights = torch.zeros(task.n_classes, width).to(task.features)
    targets = torch.zeros(n, task.n_classes).to(task.features)

    def loss(images: Tensor, rows: Tensor) -> Tensor:
        logits = task.logit_scale * images @ weights.T
        return elr_loss(logits, task.given[rows], targets, rows)

    train(task, [weights], loss)
    return Fitted(by_embeddings(weights, task.logit_scale))


def elr_loss(logits: Tensor, labels: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
    """Return the loss, and update the running averages targets[rows] in place."""
    p = logits.softmax(1).clamp(1e-4, 1 - 1e-4)
    now = p.detach() / p.detach().sum(1, keepdim=True)
    targets[rows] = BETA * targets[rows] + (1 - BETA) * now
    early = torch.log(1 - (targets[rows] * p).sum(1)).mean()
    return F.cross_entropy(logits, labels) + LAMBDA * early
