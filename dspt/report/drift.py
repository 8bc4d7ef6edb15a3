"""What a classifier's own held-out photos look like, to compare later photos with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dspt.classifier.linear import LinearClassifier
from dspt.model.drift import LOW_CONFIDENCE, MAX_CLASSES, distances

_FAR = 0.95
"""Quantile of the distances of held-out photos beyond which a photo is far."""


def class_means(features: Tensor, labels: Tensor) -> Tensor | None:
    """Return the mean of each class that has photos, unit length, float16, on the CPU: (K, F).

    features: (N, F); labels: (N,). None if there are more than MAX_CLASSES.
    """
    member = F.one_hot(labels).to(features.dtype)
    member = member[:, member.any(0)]
    if member.shape[1] > MAX_CLASSES:
        return None
    return F.normalize(member.T @ features, dim=1).half().cpu()


def drift_baseline(
    classifier: LinearClassifier, means: Tensor | None, features: Tensor
) -> dict[str, Any]:
    """Return the figures of photos that were not tuned on, for `metrics`.

    features: (N, F), N > 0; means: of `class_means`.
    """
    confidence = classifier.probabilities(features).amax(1)
    found: dict[str, Any] = {
        "images": len(features),
        "low_confidence": float((confidence < LOW_CONFIDENCE).double().mean()),
        "distance": None,
        "far": None,
        "far_beyond": None,
    }
    if means is not None:
        each = torch.from_numpy(distances(means.numpy(), features.cpu().numpy())).double()
        limit = each.quantile(_FAR)
        found |= {
            "distance": float(each.mean()),
            "far": float((each > limit).double().mean()),
            "far_beyond": float(limit),
        }
    return found
