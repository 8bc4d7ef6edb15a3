"""Scores of a ranking and of a choice of suspects, given which labels are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

REVIEWED = tuple(share / 20 for share in range(21))
"""Shares of the images reviewed, for the curve of recall."""
FIRST = 0.1
"""The share reviewed whose recall is reported separately."""

Suspicion = NDArray[np.float64]
Mask = NDArray[np.bool_]


def rank_scores(suspicion: Suspicion, wrong: Mask) -> dict[str, Any]:
    """Return ROC-AUC, precision at k = number of wrong labels, recall at FIRST and along REVIEWED.

    suspicion: (N,), high for labels to review first; equal values count as their average over all
    orders. wrong: (N,). Returns an empty dict if no label is wrong, or all are.
    """
    if not wrong.any() or wrong.all():
        return {}
    found = _found(suspicion, wrong)
    k = int(wrong.sum())
    at = [share * len(wrong) for share in REVIEWED]
    recall = np.interp(at, np.arange(len(found)), found) / k
    return {
        "auc": float(roc_auc_score(wrong, suspicion)),
        "precision_at_k": float(found[k] / k),
        "recall_at_first": float(recall[REVIEWED.index(FIRST)]),
        "recall": [round(float(value), 4) for value in recall],
    }


def flag_scores(flagged: Mask, wrong: Mask) -> dict[str, Any]:
    """Count the labels called wrong, the wrong ones among them, and all wrong and clean labels."""
    return {
        "flagged": int(flagged.sum()),
        "right": int((flagged & wrong).sum()),
        "wrong": int(wrong.sum()),
        "clean": int((~wrong).sum()),
    }


def _found(suspicion: Suspicion, wrong: Mask) -> NDArray[np.float64]:
    """Return (N + 1,) the expected number of wrong labels among the first 0, 1, ... N."""
    _, group = np.unique(-suspicion, return_inverse=True)
    size = np.bincount(group)
    share = np.bincount(group, weights=wrong) / size
    return np.concatenate([[0.0], np.cumsum(np.repeat(share, size))])
