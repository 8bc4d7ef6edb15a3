"""How good a ranking or a choice of suspects is, once it is known which labels are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

REVIEWED = tuple(share / 20 for share in range(21))
"""Shares of the images looked at, for the curve of recall."""
FIRST = 0.1
"""The share reviewed of which recall is reported by itself."""

Suspicion = NDArray[np.float64]
Mask = NDArray[np.bool_]


def rank_scores(suspicion: Suspicion, wrong: Mask) -> dict[str, Any]:
    """ROC-AUC, precision at k = number of wrong labels, recall at FIRST and along REVIEWED.

    suspicion: (N,), high for labels to be looked at first; equals are counted as their average
    over all orders. wrong: (N,). Empty where no label is wrong, or all are.
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
    """How many labels are called wrong, how many of them are, and how many clean ones are called
    wrong falsely."""
    return {
        "flagged": int(flagged.sum()),
        "right": int((flagged & wrong).sum()),
        "wrong": int(wrong.sum()),
        "clean": int((~wrong).sum()),
    }


def _found(suspicion: Suspicion, wrong: Mask) -> NDArray[np.float64]:
    """(N + 1,) expected number of wrong labels among the first 0, 1, ... N."""
    _, group = np.unique(-suspicion, return_inverse=True)
    size = np.bincount(group)
    share = np.bincount(group, weights=wrong) / size
    return np.concatenate([[0.0], np.cumsum(np.repeat(share, size))])
