"""Temperature scaling: probabilities that are right as often as they say (Guo et al., ICML 2017).

CLIP's logit scale suits its pretraining, not a handful of classes, so its confidence is off. One
number that divides all logits mends it and changes no prediction. It is fitted to the given labels
of images that the classifier has not seen, wrong ones allowed for by a noise matrix that comes from
elsewhere: fitted along with it, it would blame the classifier's errors on the labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dspt.labels.noise_model import log_likelihood

_CANDIDATES = torch.exp2(torch.linspace(-3, 3, 49))
_WORTH = 2.0
"""Least gain in log-likelihood over all images. A temperature that only fits chance gains 0.5 on
average, and more than 2 once in twenty times (Wilks, 1938)."""


def fit_temperature(logits: Tensor, given: Tensor, noise: Tensor) -> float:
    """What to divide logits by; 1.0 where no other temperature is clearly better.

    logits: (N, C) by models that have not seen the image; given: (N,) labels, of which some may be
    wrong; noise: (C, C), see dspt.labels.noise_model.
    """
    if not len(given):
        return 1.0

    def evidence(temperature: float) -> float:
        return float(log_likelihood((logits / temperature).log_softmax(1), given, noise).sum())

    best = max(_CANDIDATES.tolist(), key=evidence)
    return best if evidence(best) - evidence(1.0) > _WORTH else 1.0
