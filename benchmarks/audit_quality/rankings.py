"""Methods that rank labels by suspicion, all on the same features and noisy labels; their scores.

ours            the service's audit (dspt.labels.audit)
cleanlab_*      cleanlab's scores of out-of-sample probabilities by logistic regression: the peer
ours_cleanlab_* cleanlab's scores of our out-of-sample probabilities

The parts of the audit by themselves: benchmarks/results/audit_rankings.md.

scikit-learn and cleanlab take seconds to import, so the functions that need them do it.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

CleanlabScore = Literal["self_confidence", "normalized_margin", "confidence_weighted_entropy"]
CLEANLAB_SCORES: tuple[CleanlabScore, ...] = get_args(CleanlabScore)
FIRST = 0.1
"""The share of the labels that is reviewed for the recall."""

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]


def by_cleanlab(probabilities: Array, given: Labels, name: CleanlabScore) -> Array:
    """Return 1 - cleanlab's label quality, with its default settings.

    Its weighted entropy is bounded below, and rates labels that are almost certain as bad.
    """
    from cleanlab.rank import get_label_quality_scores

    quality = get_label_quality_scores(given, safe(probabilities), method=name)
    found: Array = 1 - np.asarray(quality, dtype=np.float64)
    return found


def safe(probabilities: Array) -> Array:
    """Return rows that sum to 1 to the last digit, without zeros: cleanlab takes logarithms."""
    found: Array = np.clip(probabilities, 1e-12, None)
    found /= found.sum(1, keepdims=True)
    return found


def rank_scores(suspicion: Array, wrong: Mask) -> dict[str, Any]:
    """Return ROC-AUC, precision at k = number of wrong labels, recall at FIRST.

    suspicion: (N,), high for labels to review first; equal values count as their average over all
    orders. wrong: (N,). Returns an empty dict if no label is wrong, or all are.
    """
    if not wrong.any() or wrong.all():
        return {}
    from sklearn.metrics import roc_auc_score

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


def _found(suspicion: Array, wrong: Mask) -> NDArray[np.float64]:
    """Return (N + 1,) the expected number of wrong labels among the first 0, 1, ... N."""
    _, group = np.unique(-suspicion, return_inverse=True)
    size = np.bincount(group)
    share = np.bincount(group, weights=wrong) / size
    return np.concatenate([[0.0], np.cumsum(np.repeat(share, size))])
