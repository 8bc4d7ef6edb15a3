"""A model of label noise: the true classes of images whose recorded labels are partly wrong.

The recorded label of an image is drawn from its true class by a noise matrix: T[k, j] is the
probability that an image of class k carries label j (Patrini et al., CVPR 2017, eq. 1). Expectation
maximisation estimates the matrix and the posterior of the true class from a classifier's
probabilities and the labels, as Dawid & Skene (1979) do for annotators.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 5  # of expectation maximisation; later rounds change less than a refitted classifier
_PRIOR_IMAGES = 2.0
"""Strength of the prior of symmetric noise, as a multiple of the images of a class: with 16 shots
a free matrix would have more entries than there are images."""
_MIN_RATE = 0.005
_TOGETHER = 1 << 20
"""Images x classes whose posteriors are in memory at once; more leave the processor's cache."""


def symmetric_transition_matrix(rate: float | Tensor, n_classes: int, like: Tensor) -> Tensor:
    """(C, C) matrix in which `rate` of the labels are wrong, evenly over the other classes."""
    matrix = like.new_empty(n_classes, n_classes)
    matrix[:] = rate / (n_classes - 1)
    matrix.diagonal()[:] = 1 - rate
    return matrix


def log_of_labels(noise: Tensor, labels: Tensor) -> Tensor:
    """log p(label | true class) of each image's label: (N, C), its rows contiguous in memory."""
    return noise.T.contiguous().log()[labels]


def log_likelihood(log_p: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
    """log p(label | image): (N,). log_p: (N, C) of the true class; noise: (C, C)."""
    return (log_p + log_of_labels(noise, labels)).logsumexp(1)


def true_label_posterior(log_p: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
    """Posterior of the true class, given the image and its label: (N, C)."""
    return (log_p + log_of_labels(noise, labels)).softmax(1)


def wrong_share(posterior: Tensor, labels: Tensor) -> Tensor:
    """Expected share of wrong labels, a scalar. posterior: (N, C) of the true class."""
    return 1 - posterior.gather(1, labels[:, None]).mean()


def fit_noise(
    log_p: Tensor, labels: Tensor, noise: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Fit the noise matrix under which the labels are likeliest, starting from `noise`.

    log_p: (N, C) by models that were not trained on the label; weights: (N,), mean 1. Default: all
    images count the same. Returns (C, C), rows sum to 1.
    """
    n, n_classes = log_p.shape
    if not n:
        return noise
    if weights is None:
        weights = torch.ones_like(log_p[:, 0])
    together = max(1, _TOGETHER // n_classes)
    parts = [torch.split(each, together) for each in (log_p.exp(), labels, weights)]
    for _ in range(_ROUNDS):
        # [j, k]: images of class k with label j; a product with one-hot labels costs N C^2.
        by_label, likelihoods = torch.zeros_like(noise), noise.T.contiguous()
        for p, its_labels, its_weights in zip(*parts, strict=True):
            joint = p * likelihoods[its_labels]
            joint *= (its_weights / joint.sum(1))[:, None]  # weighted posteriors
            by_label.index_add_(0, its_labels, joint)
        rate = 1 - by_label.diagonal().sum() / n
        # Without this bound, an uninformative classifier would explain every label as wrong.
        rate = rate.clamp_min(_MIN_RATE).clamp_max(1 - 1.2 / n_classes)  # without reading it
        prior = symmetric_transition_matrix(rate, n_classes, log_p)
        counts = by_label.T + _PRIOR_IMAGES * n / n_classes * prior
        noise = counts / counts.sum(1, keepdim=True)
    return noise
