"""The share of wrong labels in a data set, with an interval.

The estimate is the mean posterior probability that a label is wrong. It is uncertain for three
reasons. Other images would have given another estimate and another noise matrix; the bootstrap
measures this (Efron, 1979). Whether a label is wrong is known as a probability only. The model may
be wrong, which no resampling shows: where the evidence is weak, wrong labels between similar
classes look correct, so the true share is above the estimate far more often than below.

The widths for the last reason are measured, not derived. On 96 runs with planted noise (five data
sets with the built-in backbone, 4 or 16 images per class, 0 to 75 % of the labels wrong) an
interval for the first two reasons alone contained the true share in 68 % of the runs; with these
widths it is 94 %, and two thirds where every second label is that of the next class. The mean
width is 28 points. `python -m benchmarks.audit_quality` measures the coverage again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dspt.kit.device import sent
from dspt.labels.noise_model import fit_noise, true_label_posterior, wrong_share

_QUANTILE = 1.645
"""95 % quantile of the normal distribution: one side of a 90 % interval."""
_WIDER_BELOW = 1.7
"""Factor on the standard error below the estimate."""
_DOUBT_ABOVE = 2.0
"""Multiple of the mean p (1 - p) that the true share may lie above the estimate."""
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
    low = estimate - _QUANTILE * _WIDER_BELOW * error
    high = estimate + _QUANTILE * error + _DOUBT_ABOVE * doubt
    return NoiseRate(estimate, max(low, 0.0), min(high, 1.0))


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
