"""Weights of several classifiers' logits, fitted to labels of which some are wrong."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dspt.kit.balance import class_weights
from dspt.labels.noise_model import fit_noise, log_likelihood, symmetric_transition_matrix

FIRST_RATE = 0.3  # of wrong labels, before anything is known
TEXT_WEIGHT, LDA_WEIGHT = -1.5, 0.0  # logarithms, where a fit starts
SMOOTHING = 6.0
"""Images added to each class before the classes are balanced. Chosen on pairs of classes with 24
and 1 to 3 images of two data sets, and confirmed on a third. The mean of few images is longer than
the true one; so with equal weights, the centre between a large and a small class would be too close
to the small class, and hardly an image would be assigned to it."""
_PRIOR_STD = 1.0
"""Standard deviation of the logarithm of a weight around where it starts."""
_FIT_STEPS = 15
_RANGE = (-10.0, 5.0)  # of logarithms: a line search may try any value
_MAX_FITTED = 2048
"""Most images that the weights are fitted to; more cost time and change nothing."""


def calibrated_log_likelihood(logits: Tensor, labels: Tensor, rows: Tensor) -> float:
    """Mean log p(label) of one classifier, under the noise matrix that suits it best.

    logits: (N, C), held out; their scale is fitted too; rows: (N,) bool, images to average over,
    weighted by the size of their classes. NaN if there are none.
    """
    weights = class_weights(labels, rows, SMOOTHING)
    log_p, noise = fit_texts([logits], labels, rows, weights)
    return float((log_likelihood(log_p, labels, noise) * weights)[rows].mean())


def fit_texts(
    logits: Sequence[Tensor], labels: Tensor, rows: Tensor, balance: Tensor
) -> tuple[Tensor, Tensor]:
    """Fit weights and noise alternately; returns log probabilities (N, C) and the noise matrix."""
    stacked = torch.stack(list(logits))
    noise = symmetric_transition_matrix(FIRST_RATE, stacked.shape[2], stacked)
    start = stacked.new_full((len(stacked),), TEXT_WEIGHT)
    for _ in range(3):
        weights = fit_weights(stacked, labels, rows, noise, start, balance)
        log_p = mix(weights, stacked)
        noise = fit_noise(log_p[rows], labels[rows], noise, balance[rows])
    return log_p, noise


def mix(weights: Tensor, logits: Tensor) -> Tensor:
    """(J,), (J, N, C) -> log probabilities (N, C)."""
    mixed: Tensor = torch.tensordot(weights, logits, dims=1)
    return mixed.log_softmax(1)


def fit_weights(
    logits: Tensor,
    labels: Tensor,
    rows: Tensor,
    noise: Tensor,
    start: Tensor,
    balance: Tensor,
) -> Tensor:
    """Positive weights (J,) of logits (J, N, C) that make the labels of `rows` likeliest.

    balance: (N,), how much each image counts. Classes without a label in `rows` are left out: the
    images of the others can only speak against them.

    L-BFGS on the logarithms, with a Gaussian prior around `start`.
    """
    chosen = rows.nonzero()[:, 0]
    chosen = chosen[:: max(1, -(-len(chosen) // _MAX_FITTED))]
    labels, balance = labels[chosen], balance[chosen]
    present = torch.bincount(labels).nonzero()[:, 0]
    logits, log_noise = logits[:, chosen][..., present], noise.log()[present][:, labels].T
    # L-BFGS reads its variables all the time, so they are on the CPU. A GPU sends one tensor back
    # for each evaluation.
    logarithms = start.cpu().clone()
    optimizer = torch.optim.LBFGS([logarithms], max_iter=_FIT_STEPS, line_search_fn="strong_wolfe")

    def cost() -> float:
        tried = logarithms.to(start.device, non_blocking=True)
        weights = tried.clamp(*_RANGE).exp()
        log_p = mix(weights, logits)
        evidence = log_p + log_noise
        # d cost / d logits = p - posterior
        slope = (log_p.exp() - evidence.softmax(1)) * balance[:, None]
        pull = (tried - start) / _PRIOR_STD**2
        gradient = (logits * slope).sum((1, 2)) * weights + pull
        penalty = 0.5 * (pull * (tried - start)).sum()
        value = penalty - (evidence.logsumexp(1) * balance).sum()
        found = torch.cat([value[None], gradient]).cpu()
        logarithms.grad = found[1:]
        return float(found[0])

    optimizer.step(cost)  # type: ignore[no-untyped-call]
    return logarithms.clamp(*_RANGE).exp().to(start.device)
