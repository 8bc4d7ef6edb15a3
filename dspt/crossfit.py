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

from dspt.config import DEFAULT_LR, LossName
from dspt.data import stratified_folds
from dspt.tuner import Run

FOLDS = 4
AUDIT_LOSS: LossName = "gce"
"""Ranks wrong labels best: ROC-AUC 0.865 over 12 noisy sets on the built-in backbone, where DSPT
has 0.831, MAE 0.834, CE 0.802 and the mean of all four 0.862."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class CrossFit:
    """The folds of the training rows, and the runs that judge them."""

    judged: tuple[Rows, ...]
    """Positions, within the training rows, of what each fold's runs were not tuned on."""
    losses: tuple[LossName, ...]
    """The loss of the classifier that is served, and the one that ranks wrong labels best."""
    runs: tuple[Run, ...]
    """One per fold and loss, fold by fold."""

    @classmethod
    def plan(
        cls, train: Rows, sampled: Rows, labels: Rows, loss: LossName, lr: float, seed: int
    ) -> Self:
        """Folds over all `train` rows; each is judged by runs on the `sampled` rows outside it.

        train, sampled: rows of the features; labels: (N,) class of each `train` row as given;
        loss, lr: those of the classifier to be served.
        """
        rates = {AUDIT_LOSS: DEFAULT_LR[AUDIT_LOSS], loss: lr}
        losses = (loss, *(rates.keys() - {loss}))
        judged = _folds(labels, np.isin(train, sampled), seed)
        outside = [np.setdiff1d(sampled, train[fold]) for fold in judged]
        runs = [Run(rows, each, rates[each], seed) for rows in outside for each in losses]
        return cls(judged, losses, tuple(runs))

    def probabilities(self, classes: Tensor, features: Tensor, logit_scale: float) -> Tensor:
        """Out-of-sample probabilities by each of `losses`: (losses, N, C) for N training rows.

        classes: (R, C, D), the class embeddings of `runs`; features: (N, D).
        """
        by_fold = classes.view(len(self.judged), len(self.losses), *classes.shape[1:])
        found = classes.new_empty(len(self.losses), len(features), classes.shape[1])
        for fold, embeddings in zip(self.judged, by_fold, strict=True):
            at = torch.from_numpy(fold).to(features.device)
            found[:, at] = (logit_scale * features[at] @ embeddings.mT).softmax(-1)
        return found


def _folds(labels: Rows, sampled: NDArray[np.bool_], seed: int) -> tuple[Rows, ...]:
    """Stratified folds of all rows that also divide the sampled ones evenly.

    Dealt together, few shots could all fall into one fold and leave its runs nothing to learn from.
    """
    chosen, rest = np.flatnonzero(sampled), np.flatnonzero(~sampled)
    folds = [chosen[fold] for fold in stratified_folds(labels[chosen], FOLDS, seed)]
    if len(rest) < 2:
        parts = [rest]
    else:
        parts = [rest[fold] for fold in stratified_folds(labels[rest], len(folds), seed)]
    for i, part in enumerate(parts):
        folds[i] = np.sort(np.concatenate([folds[i], part]))
    return tuple(folds)
