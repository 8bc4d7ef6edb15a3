"""Methods that rank labels by suspicion; all see the same features and noisy labels.

ours            the service's audit (dspt.labels.audit)
zero_shot       p(label) by the untuned CLIP
prompt          p(label) by prompts tuned with the service's loss on the other folds
prompt_gce      the same, tuned with GCE 0.7
suppression     |DSPT gradient| / |cross-entropy gradient| under those of `prompt`
neighbours      share of the nearest images that carry the same label
cleanlab_*      cleanlab's scores of out-of-sample probabilities by logistic regression: the peer
ours_cleanlab_* cleanlab's scores of our out-of-sample probabilities

Neighbours are 10 in cosine similarity of the features less their mean.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from torch import Tensor

CleanlabScore = Literal["self_confidence", "normalized_margin", "confidence_weighted_entropy"]
CLEANLAB_SCORES: tuple[CleanlabScore, ...] = get_args(CleanlabScore)
METHODS = (
    "ours",
    *(f"cleanlab_{name}" for name in CLEANLAB_SCORES),
    *(f"ours_cleanlab_{name}" for name in CLEANLAB_SCORES),
    "zero_shot",
    "prompt",
    "prompt_gce",
    "suppression",
    "neighbours",
)
FLAGGERS = ("ours", "cleanlab", "ours_cleanlab")
"""Methods that also decide which labels are wrong; cleanlab by confident learning."""
NEIGHBOURS = 10

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def by_probability(probabilities: Tensor, given: Tensor) -> Array:
    """Return 1 - p(label): (N,)."""
    chosen = probabilities.double().gather(1, given[:, None])[:, 0]
    found: Array = (1 - chosen).cpu().numpy()
    return found


def by_neighbours(features: Tensor, given: Tensor) -> Array:
    """Return the share of the NEIGHBOURS nearest images with another label. features: (N, D)."""
    unit = torch.nn.functional.normalize(features - features.mean(0), dim=1)
    nearness = (unit @ unit.T).fill_diagonal_(-torch.inf)
    nearest = nearness.topk(min(NEIGHBOURS, len(given) - 1), dim=1).indices
    found: Array = (given[nearest] != given[:, None]).double().mean(1).cpu().numpy()
    return found


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
