"""How many wrong labels to expect down the list of an audit.

The scores of the audit are posteriors under a model. Those at the top of a list were selected for
being high, so they are too high on average: the more so with few images per class, few wrong labels
and much doubt. A logistic calibration (Platt, 1999) corrects the mean.

Its constants were fitted on two data sets (clothing, eurosat) and confirmed on a third, caltech101:
16 and 4 images per class, 0 to 50 % wrong labels, 3 seeds, embeddings of the built-in backbone,
without a tuned prompt and without penultimate features. Mean sum of the scores / expected / found
among the first 20: clothing 15.2 / 10.4 / 11.4, eurosat 16.2 / 11.0 / 9.8, caltech101 15.8 / 13.1 /
15.2. `python -m benchmarks.audit_quality` measures it again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BY_SPARSITY = -5.3
"""Shift of the logit by 1 / sqrt(images per class)."""
_BY_MEAN = 2.4
"""Shift of the logit by the mean score."""
_SLOPE, _BY_DOUBT = 0.52, -0.47
"""Factor on the logit of the score, and its change by the doubt: sqrt(mean of s (1 - s))."""
_MIN_SCORE = 1e-3


def wrong_probabilities(scores: ArrayLike, n_classes: int) -> NDArray[np.float64]:
    """Return the calibrated probability that each label of an audit is wrong: (N,).

    scores: (N,), of all entries.
    """
    s = np.asarray(scores, dtype=np.float64).clip(_MIN_SCORE, 1 - _MIN_SCORE)
    if not s.size:
        return s
    doubt = np.sqrt((s * (1 - s)).mean())
    shift = _BY_SPARSITY * np.sqrt(n_classes / s.size) + _BY_MEAN * s.mean()
    logit = shift + (_SLOPE + _BY_DOUBT * doubt) * np.log(s / (1 - s))
    found: NDArray[np.float64] = 1 / (1 + np.exp(-logit))
    return found


def expected_steps(scores: Sequence[float], n_classes: int) -> list[dict[str, float]]:
    """Return the expected wrong labels among the first 10, 20, 50, 100, ... and all entries."""
    n = len(scores)
    if not n:
        return []
    powers = [base * 10**power for power in range(1, len(str(n))) for base in (1, 2, 5)]
    total = wrong_probabilities(scores, n_classes).cumsum()
    firsts = [*(step for step in powers if step < n), n]
    return [{"first": first, "wrong": round(float(total[first - 1]), 2)} for first in firsts]
