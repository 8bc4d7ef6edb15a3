"""Photos without labels move the class means of a fitted ensemble: a few more steps of EM.

Each step predicts the classes of these photos by the whole ensemble, and fits the LDA again: to the
training images as before, and to the photos, each weighed by its probability of each class. The
weights of the ensemble stay, and so does all that was found about the labels.

Nigam et al., "Text Classification from Labeled and Unlabeled Documents using EM" (Machine Learning
2000), who also weigh the unlabelled part down; on CLIP features, TransCLIP (Zanella et al., NeurIPS
2024).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from dspt.classifier.lda import ShrunkLDA
from dspt.classifier.linear import LinearClassifier

_STEPS = 3
_SHARE = 1.0
"""Total weight of the photos, as a multiple of that of the training images. A photo never weighs
more than an image."""


@dataclass(frozen=True)
class UnlabelledLDA:
    """An LDA in an ensemble, to be fitted to training images and to photos without labels."""

    lda: ShrunkLDA
    """Of the N images, and then of the U photos."""
    guess: Tensor
    """(N, C): weight of each image in each class."""
    photos: Tensor
    """(U, F)."""
    factor: Tensor
    """Of the LDA's directions in the ensemble."""
    combine: Callable[[LinearClassifier], LinearClassifier]
    """Makes the ensemble from its LDA, whose columns are the last of the F."""

    @classmethod
    def of(
        cls,
        images: Tensor,
        train: Tensor,
        guess: Tensor,
        photos: Tensor,
        width: int,
        factor: Tensor,
        combine: Callable[[LinearClassifier], LinearClassifier],
    ) -> Self:
        """images: (N, F); train: rows to fit on; width: columns of the LDA, the last of the F."""
        features = torch.cat([images, photos])[:, -width:]
        rows = _with_photos(train, len(images), len(photos))
        # Photos of few classes, or of other things, would move the centre away from the classes.
        weights = features.new_zeros(len(features))
        weights[train] = len(rows) / len(train)
        lda = ShrunkLDA.of(features, rows, weights)
        return cls(lda, guess, photos, factor, combine)

    def labelled_only(self, train: Tensor) -> LinearClassifier:
        """Return the LDA without the photos, times its weight; arguments as for `fit`."""
        return self._fit(train, 0)

    def fit(self, train: Tensor) -> LinearClassifier:
        """Return the LDA, times its weight. train: rows of the images to fit on."""
        return self._fit(train, _STEPS)

    def _fit(self, train: Tensor, steps: int) -> LinearClassifier:
        images, photos = len(self.guess), len(self.photos)
        new, rows = self.lda.features[images:], _with_photos(train, images, photos)
        share = min(1.0, _SHARE * len(train) / photos)

        def directions(by_photos: Tensor) -> tuple[Tensor, Tensor]:
            found = self.lda.directions(rows, torch.cat([self.guess, share * by_photos]))
            return found, (new @ found.T).std().clamp_min(1e-6)

        first, spread = directions(self.guess.new_zeros(photos, self.guess.shape[1]))
        lda = self.lda.classifier(self.factor * first)
        for _ in range(steps):
            found, now = directions(self.combine(lda).probabilities(self.photos))
            # The first LDA was not fitted to the photos, the new one is: it keeps the scale.
            lda = self.lda.classifier(self.factor * spread / now * found)
        return lda


def _with_photos(train: Tensor, images: int, photos: int) -> Tensor:
    """The rows of training images, and of all photos, which follow the images."""
    return torch.cat([train, torch.arange(images, images + photos, device=train.device)])
