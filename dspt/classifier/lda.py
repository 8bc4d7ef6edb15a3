"""A linear classifier from the mean image features of each class.

Linear discriminant analysis with a covariance that is shrunk towards a multiple of the identity
(Friedman, JASA 1989); training-free on CLIP features in Wang et al., "A Hard-to-Beat Baseline for
Training-free CLIP-based Adaptation", ICLR 2024. Class means are robust to label noise: wrong labels
that are spread evenly move all means towards the common mean and no boundary changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from dspt.classifier.linear import LinearClassifier

_MIN_WITHIN = 1e-3
"""Lower bound of the variance within classes, as a share of the total variance."""


@dataclass(frozen=True)
class ShrunkLDA:
    """Centred features in as few dimensions as hold all training images.

    Class means lie in the span of the images, so with fewer images than dimensions nothing is lost
    and the systems of equations shrink from D to the number of images.
    """

    features: Tensor
    """(N, r)"""
    centre: Tensor
    """(D,)"""
    basis: Tensor | None
    """(D, r), orthonormal columns. None: r = D, the features are not projected."""

    @classmethod
    def of(cls, features: Tensor, rows: Tensor, weights: Tensor | None = None) -> Self:
        """Centre and project.

        features: (N, D); rows: the training images, indices or (N,) bool; weights: (N,), of the
        images in the centre, mean 1 over the training images. Default: all images count the same.
        """
        weighted = features if weights is None else features * weights[:, None]
        centre = weighted[rows].mean(0)
        centred = features - centre
        trained = centred[rows]
        if len(trained) >= features.shape[1]:
            return cls(centred, centre, None)
        basis, _ = torch.linalg.qr(trained.T)
        return cls(centred @ basis, centre, basis)

    def directions(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Class directions (C, r), of unit length in the metric of the covariance.

        rows: images to fit on, indices or (N,) bool; weights: (N, C), of each image in each class.
        A class without images has direction 0. The covariance is shrunk by D / N times its mean
        variance (Wang et al.): with few images, entries off the diagonal are mostly chance.
        """
        features, weights = self.features[rows], weights[rows]
        counts = weights.sum(0)[:, None]
        means = weights.T @ features / counts.clamp_min(1e-6)
        within = (features.T * weights.sum(1)) @ features - (means * counts).T @ means
        spread = (features.square().sum(1) * weights.sum(1)).sum()
        # With one image per class there is no variance within classes.
        variance = within.diagonal().sum().clamp_min(_MIN_WITHIN * spread + 1e-12)
        within.diagonal().add_(variance / counts.sum().clamp_min(1e-6))
        found: Tensor = torch.linalg.solve_ex(within, means.T).result.T  # waits for no check
        length = (found * means).sum(1, keepdim=True).clamp_min(1e-12).sqrt()
        return found / length

    def classifier(self, directions: Tensor) -> LinearClassifier:
        """Convert directions (C, r) to the (C, D) classifier of the original features."""
        matrix = directions if self.basis is None else directions @ self.basis.T
        return LinearClassifier(matrix, -(matrix @ self.centre))
