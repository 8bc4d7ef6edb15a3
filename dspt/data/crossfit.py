"""Cross-fitting: every training image is judged by models that were not tuned on it.

Northcutt, Jiang & Chuang (JAIR 2021) rank labels by out-of-sample probabilities. The folds' models
are further runs of the one tuning, batched with the prompt that is served.
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
from dspt.prompt.trainer import Run

FOLDS = 4

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class CrossFit:
    """The folds of the training rows, and the runs that judge them."""

    judged: tuple[Rows, ...]
    """Positions, within the training rows, of what each fold's run was not tuned on."""
    learned: NDArray[np.bool_]
    """(N,): which training rows anything may be learned from; the others are only judged."""
    runs: tuple[Run, ...]
    """One per fold."""

    @classmethod
    def plan(
        cls, train: Rows, fit: Rows, given: Rows, loss: LossName, lr: float, seed: int
    ) -> Self:
        """Folds over all `train` rows; each is judged by a run on the `fit` rows outside it.

        train, fit: rows of the features; given: (N,) class of each `train` row as given; loss, lr:
        those of the prompt to be served.
        """
        learned = np.isin(train, fit)
        judged = _folds(given, learned, seed)
        runs = [Run(np.setdiff1d(fit, train[fold]), loss, lr, seed) for fold in judged]
        return cls(judged, learned, tuple(runs))

    def held_out_logits(self, classes: Tensor, features: Tensor, logit_scale: float) -> Tensor:
        """Logits of the training images by models not tuned on them: (N, C).

        classes: (folds, C, D), the class embeddings of `runs`; features: (N, D).
        """
        found = features.new_empty(len(features), classes.shape[1])
        for fold, embeddings in zip(self.judged, classes, strict=True):
            at = torch.from_numpy(fold).to(features.device)
            found[at] = logit_scale * features[at] @ embeddings.T
        return found


def _folds(given: Rows, learned: NDArray[np.bool_], seed: int) -> tuple[Rows, ...]:
    """Stratified folds of all rows that also divide those to learn from evenly.

    Dealt together, few shots could all fall into one fold and leave its run nothing to learn from.
    """
    chosen, rest = np.flatnonzero(learned), np.flatnonzero(~learned)
    folds = [chosen[fold] for fold in stratified_folds(given[chosen], FOLDS, seed)]
    if len(rest) < 2:
        parts = [rest]
    else:
        parts = [rest[fold] for fold in stratified_folds(given[rest], len(folds), seed)]
    for i, part in enumerate(parts):
        folds[i] = np.sort(np.concatenate([folds[i], part]))
    return tuple(folds)
