"""A classifier of image features: a C x D matrix and a bias."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LinearClassifier:
    """Logits of unit-length image features x are x @ matrix.T + bias."""

    matrix: Tensor
    """(C, D) float32."""
    bias: Tensor
    """(C,) float32."""

    @classmethod
    def from_text(cls, classes: Tensor, logit_scale: float) -> LinearClassifier:
        """CLIP's classifier. classes: (C, D) class embeddings, unit length."""
        return cls(logit_scale * classes, classes.new_zeros(len(classes)))

    def with_temperature(self, temperature: float) -> LinearClassifier:
        """The same classifier with its logits divided by `temperature`."""
        return LinearClassifier(self.matrix / temperature, self.bias / temperature)

    def logits(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, C)."""
        return torch.addmm(self.bias, features, self.matrix.T)

    def probabilities(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, C)."""
        return self.logits(features).softmax(-1)
