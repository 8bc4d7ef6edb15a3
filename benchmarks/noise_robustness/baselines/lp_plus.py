"""LP++: a linear probe whose weights are w_k + alpha_k t_k, a learned image part and the text.

Huang et al., "LP++: A Surprisingly Strong Linear Probe for Few-Shot CLIP", CVPR 2024: step sizes
from Lipschitz constants, start values from class means, full batches, 300 epochs; the alphas take a
step every tenth epoch. The authors keep the best epoch on a validation set; here it is the last.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.noise_robustness.methods import Fitted, Task

EPOCHS, ALPHA_EVERY, ALPHA_START, MOMENTUM = 300, 10, 250.0, 0.9


def lp_plus(task: Task) -> Fitted:
    """Train on all noisy labels."""
    features, given, text = task.features[:, 0], task.given, task.zero_shot
    one_hot = F.one_hot(given, task.n_classes).to(features)
    by_text = features @ text.T
    weights = (one_hot.T @ features).requires_grad_(True)  # sums of the class, as in their code
    bias = features.new_zeros(task.n_classes).requires_grad_(True)
    alpha = start_alpha(by_text, one_hot).requires_grad_(True)
    rate, alpha_rate = step_sizes(features, by_text)
    optimizer = torch.optim.SGD([weights, bias], lr=rate, momentum=MOMENTUM)
    for epoch in range(1, EPOCHS + 1):
        loss = F.cross_entropy(features @ weights.T + bias + alpha * by_text, given)
        optimizer.zero_grad()
        alpha.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if epoch % ALPHA_EVERY == 0:
            assert alpha.grad is not None
            alpha.data -= alpha_rate * alpha.grad
    matrix = weights.detach() + alpha.detach()[:, None] * text
    shift = bias.detach()
    return Fitted(lambda images: images @ matrix.T + shift)


def start_alpha(by_text: Tensor, one_hot: Tensor) -> Tensor:
    """Return (C,): 250 times the mean cosine of the images of a class to their text, for all."""
    own = (one_hot * by_text).sum(0) / one_hot.sum(0).clamp_min(1)
    return (ALPHA_START * own.mean()).repeat(len(own))


def step_sizes(features: Tensor, by_text: Tensor) -> tuple[float, float]:
    """Return the inverse Lipschitz constants of the image part and of the alphas."""
    largest = float(torch.linalg.eigvalsh((features.T @ features).double())[-1])
    n = len(features)
    return 4 * n / largest, n / (4 * float(by_text.square().sum(0).max()))
