"""A linear classifier of image features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LinearClassifier:
    """Logits of image features x are x @ matrix.T + bias.

    A matrix of D columns, as that of a text classifier, reads the embedding, the first D columns of
    wider features (`Backbone.feature_dim`).
    """

    matrix: Tensor
    """(C, D) or (C, F), float32."""
    bias: Tensor
    """(C,) float32."""

    @classmethod
    def from_text(cls, classes: Tensor, logit_scale: float) -> LinearClassifier:
        """Build CLIP's classifier. classes: (C, D) class embeddings, unit length."""
        return cls(logit_scale * classes, classes.new_zeros(len(classes)))

    def with_temperature(self, temperature: float) -> LinearClassifier:
        """Return the same classifier with its logits divided by `temperature`."""
        return LinearClassifier(self.matrix / temperature, self.bias / temperature)

    def rounded(self) -> LinearClassifier:
        """Round the matrix to float16, which halves its artefact; as it is if that overflows."""
        matrix = self.matrix.half().float()
        return LinearClassifier(matrix, self.bias) if bool(matrix.isfinite().all()) else self

    def logits(self, features: Tensor) -> Tensor:
        """(N, F) -> (N, C)."""
        return torch.addmm(self.bias, features[:, : self.matrix.shape[1]], self.matrix.T)

    def probabilities(self, features: Tensor) -> Tensor:
        """(N, F) -> (N, C)."""
        return self.logits(features).softmax(-1)
