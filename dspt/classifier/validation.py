"""Images with correct labels, apart from those tuned on and measured on.

They calibrate the classifiers and take part in the choice of the served one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dspt.classifier.linear import LinearClassifier
from dspt.kit.balance import class_weights
from dspt.labels.noise_model import log_likelihood, symmetric_transition_matrix
from dspt.labels.temperature import fit_temperature

_WRONG = 0.01
"""Assumed share of wrong labels: without one, a single mistake would decide the temperature."""


@dataclass(frozen=True)
class Validation:
    """Features (N, F) and labels (N,) of at least one validation image."""

    features: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def temperature(self, classifier: LinearClassifier) -> float:
        """Return the divisor that calibrates the logits, 1.0 if no other is clearly better."""
        logits = classifier.logits(self.features)
        return fit_temperature(logits, self.labels, self._noise(logits))

    def log_likelihood(self, classifier: LinearClassifier) -> float:
        """Return the mean log p(label) of a calibrated classifier; every class counts the same."""
        log_p = classifier.logits(self.features).log_softmax(1)
        everyone = torch.ones_like(self.labels, dtype=torch.bool)
        weights = class_weights(self.labels, everyone, smoothing=0)
        return float((log_likelihood(log_p, self.labels, self._noise(log_p)) * weights).mean())

    @staticmethod
    def _noise(like: Tensor) -> Tensor:
        return symmetric_transition_matrix(_WRONG, like.shape[1], like)
