"""A linear classifier from the mean image features of each class.

Linear discriminant analysis with a covariance that is shrunk towards a multiple of the identity
(Friedman, JASA 1989); training-free on CLIP features in Wang et al., "A Hard-to-Beat Baseline for
Training-free CLIP-based Adaptation", ICLR 2024. Class means are robust to label noise: wrong labels
that are spread evenly move all means towards the common mean and no boundary changes.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        scatter = (features.T * weights.sum(1)) @ features
        return _directions(weights.sum(0), weights.T @ features, scatter)

    def classifier(self, directions: Tensor) -> LinearClassifier:
        """Convert directions (C, r) to the (C, D) classifier of the original features."""
        matrix = directions if self.basis is None else directions @ self.basis.T
        return LinearClassifier(matrix, -(matrix @ self.centre))


@dataclass(frozen=True)
class CrossFittedLDA:
    """The LDA that is fitted to the images outside of each fold, for weights that change.

    All sums over images are made once per fold and added up. The scatter does not depend on the
    weights, as those of an image add up to 1.
    """

    features: Tensor
    """(N, r), see ShrunkLDA."""
    folds: Sequence[Tensor]
    """Rows of each fold, together 0..N-1."""
    train: Sequence[Tensor]
    """Rows of each fold to fit on."""
    outside: Tensor
    """(folds, folds): 1 where the second fold is another than the first, else 0."""
    scatter: Tensor
    """(folds, r, r): of the images outside of each fold, around the common centre."""

    @classmethod
    def of(cls, lda: ShrunkLDA, folds: Sequence[Tensor], train: Sequence[Tensor]) -> Self:
        """Compute the scatter."""
        n, width = len(folds), lda.features.shape[1]
        outside = 1 - torch.eye(n, dtype=lda.features.dtype, device=lda.features.device)
        parts = lda.features.new_empty(n, width, width)
        for part, rows in zip(parts, train, strict=True):
            own = lda.features[rows]
            torch.mm(own.T, own, out=part)
        return cls(lda.features, folds, train, outside, torch.tensordot(outside, parts, dims=1))

    def logits(self, weights: Tensor) -> Tensor:
        """Return the logits (N, C) of all images, each by the LDA outside of its fold.

        weights: (N, C), of each image in each class; rows sum to 1.
        """
        n_classes = weights.shape[1]
        counts = weights.new_empty(len(self.folds), n_classes)
        sums = weights.new_empty(len(self.folds), n_classes, self.features.shape[1])
        for fold, rows in enumerate(self.train):
            own = weights[rows]
            counts[fold] = own.sum(0)
            torch.mm(own.T, self.features[rows], out=sums[fold])
        counts, sums = self.outside @ counts, torch.tensordot(self.outside, sums, dims=1)
        logits = torch.empty_like(weights)
        for fold, rows in enumerate(self.folds):
            directions = _directions(counts[fold], sums[fold], self.scatter[fold])
            logits[rows] = self.features[rows] @ directions.T
        return logits


def _directions(counts: Tensor, sums: Tensor, scatter: Tensor) -> Tensor:
    """See ShrunkLDA.directions.

    counts: (C,), total weight of each class; sums: (C, r) and scatter: (r, r), of the weighted
    images.
    """
    means = sums / counts[:, None].clamp_min(1e-6)
    within = torch.addmm(scatter, (means * counts[:, None]).T, means, alpha=-1)
    # With one image per class there is no variance within classes.
    spread = scatter.diagonal().sum()
    variance = within.diagonal().sum().clamp_min(_MIN_WITHIN * spread + 1e-12)
    within.diagonal().add_(variance / counts.sum().clamp_min(1e-6))
    found: Tensor = torch.linalg.solve_ex(within, means.T).result.T  # waits for no check
    length = (found * means).sum(1, keepdim=True).clamp_min(1e-12).sqrt()
    return found / length
