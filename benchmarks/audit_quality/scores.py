"""Scores of a ranking and of a choice of suspects, given which labels are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

FIRST = 0.1
"""The share of the labels that is reviewed for the recall."""

Suspicion = NDArray[np.float64]
Mask = NDArray[np.bool_]


def rank_scores(suspicion: Suspicion, wrong: Mask) -> dict[str, Any]:
    """Return ROC-AUC, precision at k = number of wrong labels, recall at FIRST.

    suspicion: (N,), high for labels to review first; equal values count as their average over all
    orders. wrong: (N,). Returns an empty dict if no label is wrong, or all are.
    """
    if not wrong.any() or wrong.all():
        return {}
    found = _found(suspicion, wrong)
    k = int(wrong.sum())
    return {
        "auc": float(roc_auc_score(wrong, suspicion)),
        "precision_at_k": float(found[k] / k),
        "recall_at_first": float(np.interp(FIRST * len(wrong), np.arange(len(found)), found) / k),
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
