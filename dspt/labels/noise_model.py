"""What given labels say about true ones, when some of them are wrong.

The given label of an image is drawn from its true class by a noise matrix: T[k, j] is the
probability that an image of class k carries label j (Patrini et al., CVPR 2017, eq. 1). From a
classifier's probabilities and the labels, the matrix and the posterior of the true class are found
by expectation maximisation, as Dawid & Skene (1979) do for annotators.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 5  # of expectation maximisation; the classifier changes more than the matrix does after
_PRIOR_IMAGES = 2.0
"""Strength of the prior that wrong labels fall evenly on the other classes, as a share of the
images of a class: with 16 shots a free matrix would have more entries than there are images."""
_MIN_RATE = 0.005


def symmetric_transition_matrix(rate: float, n_classes: int, like: Tensor) -> Tensor:
    """(C, C) matrix with `rate` of the labels wrong, spread evenly over the other classes."""
    eye = torch.eye(n_classes, dtype=like.dtype, device=like.device)
    return (1 - rate) * eye + rate / (n_classes - 1) * (1 - eye)


def log_likelihood(log_p: Tensor, given: Tensor, noise: Tensor) -> Tensor:
    """log p(given label | image): (N,). log_p: (N, C) of the true class; noise: (C, C)."""
    return (log_p + noise.log()[:, given].T).logsumexp(1)


def true_label_posterior(log_p: Tensor, given: Tensor, noise: Tensor) -> Tensor:
    """Posterior of the true class, after the classifier and the given label: (N, C)."""
    return (log_p + noise.log()[:, given].T).softmax(1)


def wrong_share(posterior: Tensor, given: Tensor) -> float:
    """Expected share of wrong labels. posterior: (N, C) of the true class."""
    return float(1 - posterior.gather(1, given[:, None]).mean())


def fit_noise(log_p: Tensor, given: Tensor, noise: Tensor) -> Tensor:
    """The noise matrix under which the given labels are likeliest, starting from `noise`.

    log_p: (N, C) by models that have not seen the label. Returns (C, C), rows sum to 1.
    """
    n, n_classes = log_p.shape
    if not n:
        return noise
    labels = torch.nn.functional.one_hot(given, n_classes).to(log_p)
    for _ in range(_ROUNDS):
        posterior = true_label_posterior(log_p, given, noise)
        # A classifier that knows nothing would put all blame on the labels.
        rate = min(max(wrong_share(posterior, given), _MIN_RATE), 1 - 1.2 / n_classes)
        counts = posterior.T @ labels
        counts += (
            _PRIOR_IMAGES * n / n_classes * symmetric_transition_matrix(rate, n_classes, log_p)
        )
        noise = counts / counts.sum(1, keepdim=True)
    return noise
