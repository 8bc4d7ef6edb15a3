"""Methods that rank labels by suspicion; all see the same features and noisy labels.

ours            the service's audit (dspt.labels.audit)
cleanlab_*      cleanlab's scores of out-of-sample probabilities by logistic regression: the peer
ours_cleanlab_* cleanlab's scores of our out-of-sample probabilities

The parts of the audit by themselves: benchmarks/results/audit_rankings.md.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray

CleanlabScore = Literal["self_confidence", "normalized_margin", "confidence_weighted_entropy"]
CLEANLAB_SCORES: tuple[CleanlabScore, ...] = get_args(CleanlabScore)
METHODS = (
    "ours",
    *(f"cleanlab_{name}" for name in CLEANLAB_SCORES),
    *(f"ours_cleanlab_{name}" for name in CLEANLAB_SCORES),
)
FLAGGERS = ("ours", "cleanlab", "ours_cleanlab")
"""Methods that also decide which labels are wrong; cleanlab by confident learning."""

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def by_cleanlab(probabilities: Array, given: Labels, name: CleanlabScore) -> Array:
    """Return 1 - cleanlab's label quality, with its default settings.

    Its weighted entropy is bounded below, and rates labels that are almost certain as bad.
    """
    quality = get_label_quality_scores(given, safe(probabilities), method=name)
    found: Array = 1 - np.asarray(quality, dtype=np.float64)
    return found


def safe(probabilities: Array) -> Array:
    """Return rows that sum to 1 to the last digit, without zeros: cleanlab takes logarithms."""
    found: Array = np.clip(probabilities, 1e-12, None)
    found /= found.sum(1, keepdims=True)
    return found
