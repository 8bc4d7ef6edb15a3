"""Cross-fitting: every training image is judged by models that were not tuned on it.

Northcutt, Jiang & Chuang (JAIR 2021) rank labels by out-of-sample probabilities. The folds' models
are further runs of the one tuning, batched with the classifier that is served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dspt.config import LossName
from dspt.data import stratified_folds
from dspt.tuner import Run

FOLDS = 4
LOSSES: tuple[LossName, ...] = ("ce", "gce", "mae", "dspt")
"""Their mean ranks wrong labels better than any one of them."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class CrossFit:
    """The folds of the training rows, and the runs that judge them."""

    judged: tuple[Rows, ...]
    """Positions, within the training rows, of what each fold's runs were not tuned on."""
    runs: tuple[Run, ...]
    """One per fold and loss, fold by fold."""

    @classmethod
    def plan(cls, train: Rows, sampled: Rows, labels: Rows, seed: int) -> Self:
        """Folds over all `train` rows; each is judged by runs on the `sampled` rows outside it.

        train, sampled: rows of the features; labels: (N,) class of each `train` row as given.
        """
        judged = tuple(stratified_folds(labels, FOLDS, seed))
        outside = [np.setdiff1d(sampled, train[fold]) for fold in judged]
        runs = [Run(rows, loss, seed) for rows in outside for loss in LOSSES]
        return cls(judged, tuple(runs))

    def probabilities(self, classes: Tensor, features: Tensor, logit_scale: float) -> Tensor:
        """Out-of-sample probabilities of every loss: (losses, N, C) for the N training rows.

        classes: (R, C, D), the class embeddings of `runs`; features: (N, D).
        """
        by_fold = classes.view(len(self.judged), len(LOSSES), *classes.shape[1:])
        found = classes.new_empty(len(LOSSES), len(features), classes.shape[1])
        for fold, embeddings in zip(self.judged, by_fold, strict=True):
            at = torch.from_numpy(fold).to(features.device)
            found[:, at] = (logit_scale * features[at] @ embeddings.mT).softmax(-1)
        return found
