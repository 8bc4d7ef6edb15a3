"""Warn of classes whose figures or names deserve attention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from dspt.kit.text import printable

FAR_SMALLER = 5
"""A class is far smaller if the largest class has at least this many times its photos."""
_MIN_PHOTOS = 4
"""With fewer photos of a class, too few hits of zero-shot may be chance."""
_SIGNIFICANT = 0.05
_CLASSES_SHOWN = 10


def unmeasured_warning(classes: Sequence[str]) -> str:
    """Return the warning that these classes have no images that accuracy is measured on."""
    return (
        f"Not measured, because no image is left to measure on: {_listed(classes)}. The accuracy "
        "does not apply to these classes; add images of them."
    )


def imbalance_warning(classes: Sequence[str], photos: NDArray[np.int64]) -> str | None:
    """Warn of classes that are far smaller than the largest one; None if there are none.

    photos: (C,), different training photos of each class.
    """
    small = [c for c in np.argsort(photos, kind="stable") if photos[c] * FAR_SMALLER <= max(photos)]
    if not small:
        return None
    named = [f"{classes[c]} ({photos[c]})" for c in small]
    largest = int(photos.argmax())
    return (
        f"Classes with far fewer training photos than {printable(classes[largest])} "
        f"({photos[largest]:,}): {_listed(named)}. All classes count the same in tuning; add "
        "photos of the small ones, their results depend on few."
    )


def zero_shot_warning(
    classes: Sequence[str], labels: NDArray[np.int64], predicted: NDArray[np.int64]
) -> str | None:
    """Warn of classes that zero-shot finds no better than chance; None if there are none.

    labels, predicted: (N,), the recorded labels of training photos and zero-shot's predictions.
    Chance is how often zero-shot predicts the class for photos of other classes; a class is found
    if its photos have significantly more hits (one-sided binomial test).
    """
    missed = []
    for c, name in enumerate(classes):
        own = labels == c
        n, hits = int(own.sum()), int((predicted[own] == c).sum())
        if n < _MIN_PHOTOS or own.all():
            continue
        chance = float((predicted[~own] == c).mean())
        # P(at least so many hits by chance)
        if hits == 0 or bdtrc(hits - 1, n, chance) > _SIGNIFICANT:
            missed.append(name)
    if not missed:
        return None
    return (
        f"Zero-shot is no better than chance for {len(missed)} of {len(classes)} classes: "
        f"{_listed(missed)}. Their names say little to the backbone; `class_names` replaces names "
        "by words that describe the images."
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _CLASSES_SHOWN
    listed = ", ".join(printable(name) for name in names[:_CLASSES_SHOWN])
    return f"{listed} and {more:,} more" if more > 0 else listed
