"""The share of wrong labels in a data set, with an interval.

The estimate is the mean posterior probability that a label is wrong. It is uncertain for three
reasons. Other images would have given another estimate and another noise matrix; the bootstrap
measures this (Efron, 1979). Whether a label is wrong is known as a probability only. And if about
half of the labels of a class are those of one other class, the images cannot tell wrong labels from
classes that look alike: both explain them as well, and the fitted model takes most of these labels
for right. The interval then reaches up to the share of images that disagree with their label, all
of which may be wrong (`swapped_pairs`).

The constants were chosen on clothing and eurosat (16 and 4 images per class, seeds 11 to 14, 0 to
50 % wrong labels, the built-in backbone without a tuned prompt; 106 of 112 intervals contained the
true share). With seeds 1 to 4, and caltech101 and Fashion-MNIST besides, 73 of 80 did to half a
point with 16 images, 4 shares being above the interval and 3 below, and 75 of 80 with 4. `python -m
benchmarks.audit_quality` measures it again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dspt.kit.device import sent
from dspt.labels.noise_model import fit_noise, true_label_posterior, wrong_share

_ERRORS = 2.0
"""Standard errors on each side: 1.645 for a 90 % interval, and a fifth more as the model is not
quite right."""
_CONCENTRATED = 1 / 3
"""Share of the images that disagree with their labels in as few pairs of classes as there are
classes, from which on wrong labels cannot be told from classes that look alike."""
_MIN_SWAPS = 2
"""Fewest images of such a pair."""
_RESAMPLES = 20
_MAX_ENTRIES = 1_000_000
"""Most images x classes of a resample; for more, fewer images are drawn and the error scaled."""


@dataclass(frozen=True)
class NoiseRate:
    """The share of wrong labels, 0..1, and a 90 % interval around it."""

    estimate: float
    low: float
    high: float

    def among(self, share: float) -> NoiseRate:
        """Return the rate among more labels, of which all but `share` are known to be right."""
        return NoiseRate(self.estimate * share, self.low * share, self.high * share)


def estimate_noise_rate(
    log_p: Tensor, posterior: Tensor, labels: Tensor, noise: Tensor, *, seed: int = 0
) -> NoiseRate | None:
    """Estimate the share of wrong labels; None if there are no images.

    log_p: (N, C) log probabilities by models that were not trained on the image; posterior: (N, C)
    of the true class, given the image and its label; labels: (N,); noise: (C, C), the noise matrix
    of the posterior. The same seed gives the same interval.
    """
    n = len(log_p)
    if not n:
        return None
    estimate = float(wrong_share(posterior, labels))
    right = posterior.gather(1, labels[:, None])
    doubt = float((right * (1 - right)).mean())
    error = (_refitting_variance(log_p, labels, noise, seed) + doubt / n) ** 0.5
    low, high = estimate - _ERRORS * error, estimate + _ERRORS * error
    if swapped_pairs(log_p, labels):
        wrong = float((log_p.argmax(1) != labels).double().mean())
        high = max(high, wrong + _ERRORS * (wrong * (1 - wrong) / n) ** 0.5)
    return NoiseRate(estimate, max(low, 0.0), min(high, 1.0))


def swapped_pairs(log_p: Tensor, labels: Tensor) -> list[tuple[int, int]]:
    """Return the pairs of classes that labels and predictions swap, the most frequent first.

    log_p: (N, C); labels: (N,). Empty unless a third of the images or more disagree with their
    label in C or fewer pairs: then these labels may be wrong, or their classes may look alike.
    """
    n, n_classes = log_p.shape
    both = torch.stack([log_p.argmax(1), labels]).cpu()
    low, high = both[:, both[0] != both[1]].sort(0).values
    pairs, counts = (low * n_classes + high).unique(return_counts=True)
    order = counts.argsort(descending=True, stable=True)[:n_classes]
    order = order[counts[order] >= _MIN_SWAPS]
    if counts[order].sum() < _CONCENTRATED * n:
        return []
    return [divmod(pair, n_classes) for pair in pairs[order].tolist()]


def _refitting_variance(log_p: Tensor, labels: Tensor, noise: Tensor, seed: int) -> float:
    """Variance of the estimate over resampled images, with a noise matrix fitted to each sample."""
    n, n_classes = log_p.shape
    drawn = min(n, max(1, _MAX_ENTRIES // n_classes))
    generator = torch.Generator().manual_seed(seed)
    samples = [torch.randint(n, (drawn,), generator=generator) for _ in range(_RESAMPLES)]
    shares = []
    for rows in sent(torch.stack(samples), labels.device):
        found = fit_noise(log_p[rows], labels[rows], noise)
        posterior = true_label_posterior(log_p[rows], labels[rows], found)
        shares.append(wrong_share(posterior, labels[rows]))
    return float(torch.stack(shares).double().var()) * drawn / n
