"""The temperature that calibrates a classifier, fitted to labels of which some are wrong.

CLIP's logit scale suits its pretraining and not a handful of classes, so its confidence is off.
Dividing the logits by one scalar fixes the calibration without changing a prediction (Guo et al.,
ICML 2017). The scalar is fitted to held-out labels under a noise matrix that was estimated
beforehand: fitted together, the matrix would explain the classifier's errors as wrong labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dspt.labels.noise_model import log_of_labels

_CANDIDATES = torch.exp2(torch.linspace(-3, 3, 49))
_MIN_GAIN = 2.0
"""Least gain in log-likelihood over all images. A temperature that only fits chance gains 0.5 on
average, and more than 2 in one case of twenty (Wilks, 1938)."""


def fit_temperature(logits: Tensor, labels: Tensor, noise: Tensor) -> float:
    """Return the best divisor of the logits, or 1.0 if no other value is clearly better.

    logits: (N, C) by models that were not trained on the image; labels: (N,), some of them wrong;
    noise: (C, C), see dspt.labels.noise_model.
    """
    if not len(labels):
        return 1.0

    log_noise = log_of_labels(noise, labels)

    def evidence(temperature: float) -> Tensor:
        return ((logits / temperature).log_softmax(1) + log_noise).logsumexp(1).sum()

    candidates = [*_CANDIDATES.tolist(), 1.0]
    *found, plain = torch.stack([evidence(each) for each in candidates]).tolist()  # read at once
    gain, best = max(zip(found, candidates, strict=False), key=lambda pair: pair[0])
    return best if gain - plain > _MIN_GAIN else 1.0
