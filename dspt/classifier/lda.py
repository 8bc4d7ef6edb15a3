"""A linear classifier from the mean image features of each class.

Linear discriminant analysis with a covariance that is shrunk towards a multiple of the identity
(Friedman, JASA 1989); training-free on CLIP features in Wang et al., "A Hard-to-Beat Baseline for
Training-free CLIP-based Adaptation", ICLR 2024. Means bear wrong labels well: those that fall
evenly move all class means towards the common one, and no boundary changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from dspt.classifier.linear import LinearClassifier

SHRINKAGE = 3.0
"""Multiple of the mean variance that is added to the covariance's diagonal. 3 and 10 did equally
well on 18 noise cells of three data sets; 1, choosing among several, or no covariance at all cost
1 to 6 points. With few images of each class the off-diagonal entries are mostly chance."""
_LEAST_WITHIN = 1e-3
"""Variance within classes, as a share of all, below which it is not believed."""


@dataclass(frozen=True)
class Centred:
    """Features less their mean, in as few dimensions as hold all that may be learned from.

    Class means lie in the span of the images, so with fewer images than dimensions nothing is lost
    and systems of equations shrink from D to the number of images.
    """

    features: Tensor
    """(N, r)"""
    centre: Tensor
    """(D,)"""
    basis: Tensor | None
    """(D, r), orthonormal columns; None: r = D, as they are."""

    @classmethod
    def of(cls, features: Tensor, fit: Tensor) -> Self:
        """features: (N, D); fit: (N,) bool, images that may be learned from."""
        centre = features[fit].mean(0)
        centred = features - centre
        if int(fit.sum()) >= features.shape[1]:
            return cls(centred, centre, None)
        _, _, rows = torch.linalg.svd(centred[fit], full_matrices=False)
        return cls(centred @ rows.T, centre, rows.T)

    def directions(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Class directions (C, r), of unit length in the metric of the covariance.

        rows: (N,) bool, images to learn from; weights: (N, C), how much each counts for each class.
        A class without images has direction 0.
        """
        features, weights = self.features[rows], weights[rows]
        counts = weights.sum(0)[:, None]
        means = weights.T @ features / counts.clamp_min(1e-6)
        within = (features.T * weights.sum(1)) @ features - (means * counts).T @ means
        spread = (features.square().sum(1) * weights.sum(1)).sum()
        # One image per class leaves nothing within classes.
        variance = within.diagonal().sum().clamp_min(_LEAST_WITHIN * spread + 1e-12)
        within.diagonal().add_(SHRINKAGE * variance / len(self.centre))
        found: Tensor = torch.linalg.solve(within, means.T).T
        length = (found * means).sum(1, keepdim=True).clamp_min(1e-12).sqrt()
        return found / length

    def classifier(self, directions: Tensor) -> LinearClassifier:
        """The same logits from uncentred features: directions (C, r) to a (C, D) classifier."""
        matrix = directions if self.basis is None else directions @ self.basis.T
        return LinearClassifier(matrix, -(matrix @ self.centre))
