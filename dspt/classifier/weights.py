"""Weights of several classifiers' logits, fitted to labels of which some are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from dspt.kit.balance import class_weights
from dspt.kit.device import moved
from dspt.labels.noise_model import (
    fit_noise,
    log_likelihood,
    log_of_labels,
    symmetric_transition_matrix,
)

FIRST_RATE = 0.3  # of wrong labels, before anything is known
TEXT_WEIGHT, LDA_WEIGHT = -1.5, 0.0  # logarithms, where a fit starts
SMOOTHING = 6.0
"""Images added to each class before the classes are balanced. Chosen on pairs of classes with 24
and 1 to 3 images of two data sets, and confirmed on a third. The mean of few images is longer than
the true one; so with equal weights, the centre between a large and a small class would be too close
to the small class, and hardly an image would be assigned to it."""
_PRIOR_STD = 1.0
"""Standard deviation of the logarithm of a weight around where it starts."""
_MOST_STEPS = 10
_LONGEST_STEP = 2.0
"""Of a logarithm: far from the optimum the curvature says little."""
_CONVERGED = 1e-3
"""Change of the logarithms at which the fit ends; the error left is about its square."""
_ROUNDING = 1e-6
"""Largest share of the cost that is taken for rounding."""
_SHARES = 9
"""Of the bound in the Hessian, from 0 to 1, that are tried."""
_RANGE = (-10.0, 5.0)  # of logarithms
_MAX_FITTED = 2048
"""Most images that the weights are fitted to; more cost time and change nothing."""


@dataclass(frozen=True)
class FitRows:
    """The images that weights and a noise matrix are fitted to."""

    rows: Tensor
    """(M,) indices."""
    few: Tensor
    """(at most _MAX_FITTED,) indices: the rows that the weights are fitted to."""
    present: Tensor
    """Classes with a label in `few`. Images of the others can only speak against a class without a
    label, so it is left out of the fit of the weights."""
    balance: Tensor
    """(N,): how much each image counts."""

    @classmethod
    def of(cls, labels: Tensor, mask: Tensor) -> Self:
        """Take the images of `mask`, (N,) bool. labels: (N,), both on the CPU."""
        rows = mask.nonzero()[:, 0]
        few = rows[:: max(1, -(-len(rows) // _MAX_FITTED))]
        return cls(
            rows,
            few,
            labels[few].bincount().nonzero()[:, 0],
            class_weights(labels, mask, SMOOTHING),
        )


def calibrated_log_likelihood(logits: Tensor, labels: Tensor, mask: Tensor) -> float:
    """Mean log p(label) of one classifier, under the noise matrix that suits it best.

    logits: (N, C), held out; their scale is fitted too; mask: (N,) bool, images to average over,
    weighted by the size of their classes. NaN if there are none.
    """
    to = moved(FitRows.of(labels.cpu(), mask.cpu()), labels.device)
    log_p, noise = fit_texts([logits], labels, to)
    return float((log_likelihood(log_p, labels, noise) * to.balance)[to.rows].mean())


def fit_texts(logits: Sequence[Tensor], labels: Tensor, to: FitRows) -> tuple[Tensor, Tensor]:
    """Fit weights and noise alternately; returns log probabilities (N, C) and the noise matrix."""
    noise = symmetric_transition_matrix(FIRST_RATE, logits[0].shape[1], logits[0])
    prior = noise.new_full((len(logits),), TEXT_WEIGHT)
    weights = prior.exp()
    for _ in range(3):
        weights = fit_weights(logits, labels, to, noise, prior, weights)
        log_p = mix(weights, logits)
        noise = fit_noise(log_p[to.rows], labels[to.rows], noise, to.balance[to.rows])
    return log_p, noise


def mix(weights: Tensor, logits: Sequence[Tensor]) -> Tensor:
    """(J,), J times (N, C) -> log probabilities (N, C)."""
    mixed = weights[0] * logits[0]
    for weight, more in zip(weights[1:], logits[1:], strict=True):
        mixed.addcmul_(weight, more)
    return mixed.log_softmax(1)


def fit_weights(
    logits: Sequence[Tensor],
    labels: Tensor,
    to: FitRows,
    noise: Tensor,
    prior: Tensor,
    start: Tensor | None = None,
) -> Tensor:
    """Positive weights (J,) of J logits (N, C) that make the labels likeliest.

    prior: (J,), mean of the Gaussian prior of their logarithms; start: (J,), weights to begin with.
    Default: those of the prior.

    Newton's method on the logarithms. A GPU is not waited for: it decides itself which steps to
    take.
    """
    chosen, balance = labels[to.few], to.balance[to.few]
    few = torch.stack([part[to.few][:, to.present] for part in logits])
    log_noise = log_of_labels(noise[to.present], chosen)
    precision = torch.eye(len(prior), dtype=prior.dtype, device=prior.device) / _PRIOR_STD**2

    def cost_at(logarithms: Tensor) -> tuple[Tensor, ...]:
        cost, gradient, *matrices = cost_of_weights(logarithms.exp(), few, log_noise, balance)
        away = logarithms - prior
        pull = precision @ away
        return cost + 0.5 * away @ pull, gradient + pull, *(each + precision for each in matrices)

    at = prior if start is None else start.log()
    found, shorter = cost_at(at), prior.new_ones(())
    for _ in range(_MOST_STEPS):
        cost, *derivatives = found
        step = (shorter * _direction(*derivatives)).clamp(-_LONGEST_STEP, _LONGEST_STEP)
        tried = (at - step).clamp(*_RANGE)
        there = cost_at(tried)
        better = there[0] <= cost + _ROUNDING * cost.abs()  # NaN is not
        close = at.device.type == "cpu" and (tried - at).abs().max() < _CONVERGED
        at = torch.where(better, tried, at)
        if close:
            break
        found = tuple(torch.where(better, new, old) for new, old in zip(there, found, strict=True))
        shorter = torch.where(better, 1.0, shorter / 3)
    return at.exp()


def cost_of_weights(
    weights: Tensor, logits: Tensor, log_noise: Tensor, balance: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Negative log-likelihood of the labels and its derivatives by the logarithms of the weights.

    weights: (J,); logits: (J, N, C); log_noise: (N, C), see `log_of_labels`; balance: (N,).
    Returns the cost, its gradient (J,), its Hessian (J, J), and a diagonal matrix that is no
    smaller than the Hessian.
    """
    # No `einsum`: on a CPU it takes up to 15 times as long as elementwise products.
    log_p = (weights @ logits.flatten(1)).view_as(log_noise).log_softmax(1)
    evidence = log_p + log_noise
    likelihood = evidence.logsumexp(1)
    p, posterior = log_p.exp_(), evidence.sub_(likelihood[:, None]).exp_()
    product = logits * p
    logits = logits - product.sum(2, keepdim=True)  # large ones would lose digits of the covariance
    known = torch.mul(logits, posterior, out=product).sum(2)
    weighted, flat = known * balance, logits.flatten(1)
    p *= balance[:, None]
    under_p = torch.square(logits, out=product).flatten(1) @ p.flatten()
    slope = torch.addcmul(p, posterior, balance[:, None], value=-1)  # d cost / d logits
    # The covariance under p less the one under the posterior.
    torch.mul(logits, slope, out=product)
    covariance = torch.addmm(weighted @ known.T, product.flatten(1), flat.T)
    gradient = -weighted.sum(1) * weights
    bound = len(weights) * under_p * weights.square() + gradient.abs()
    hessian = covariance * weights.outer(weights) + gradient.diag()
    return -(likelihood @ balance), gradient, hessian, bound.diag()


def _direction(gradient: Tensor, hessian: Tensor, bound: Tensor) -> Tensor:
    """Newton's direction (J,), with as little of the bound in the Hessian as makes it definite."""
    factors, failed = torch.linalg.cholesky_ex(torch.lerp(hessian, bound, _shares(gradient)))
    first = (failed > 0).sum()[None]  # with the bound alone it always is
    return torch.cholesky_solve(gradient[:, None], factors.index_select(0, first)[0])[:, 0]


def _shares(like: Tensor) -> Tensor:
    return torch.linspace(0, 1, _SHARES, device=like.device, dtype=like.dtype)[:, None, None]
