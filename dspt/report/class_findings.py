"""Find classes whose figures or names deserve attention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from dspt.data.class_words import is_code
from dspt.data.dataset import Dataset
from dspt.data.splits import Splits
from dspt.kit.balance import FAR_SMALLER
from dspt.kit.text import listed, printable
from dspt.report.finding import HealthFinding

_MIN_PHOTOS = 4
"""With fewer photos of a class, too few hits of zero-shot may be chance."""
_SIGNIFICANT = 0.05
_CLASSES_SHOWN = 10


def class_findings(
    dataset: Dataset, splits: Splits, zero_shot: NDArray[np.int64] | None
) -> list[HealthFinding]:
    """Find classes that are not measured, far smaller, unknown to zero-shot, or without a name.

    zero_shot: (N,), its predictions for the training images; None if they are not known.
    """
    classes, n = dataset.classes, len(dataset.classes)
    every = np.array([item.label for item in dataset.items])
    labels = every[splits.train]
    tuned = np.isin(splits.train, splits.sampled)
    # A class without images in test/ is reported with the data set.
    held_out = splits.measured_on == "held_out"
    seen = {item.label for item in dataset.items if item.split == splits.measured_on}
    counts = np.bincount(every[splits.measured], minlength=n)
    unmeasured = [
        name
        for label, name in enumerate(classes)
        if not counts[label] and (held_out or label in seen)
    ]
    known = np.zeros(n, np.bool_)
    found = [
        unmeasured_finding(unmeasured) if unmeasured else None,
        imbalance_finding(classes, np.bincount(labels[tuned], minlength=n)),
    ]
    if zero_shot is not None:
        state = zero_shot_state(n, labels[tuned], zero_shot[tuned])
        found.append(zero_shot_finding(classes, state))
        known = state != 0  # reported, or better than chance
    codes = [
        name
        for name, words, tested in zip(classes, dataset.class_words, known, strict=True)
        if not tested and is_code(words)
    ]
    found.append(names_finding(codes) if codes else None)
    return [each for each in found if each is not None]


def unmeasured_finding(classes: Sequence[str]) -> HealthFinding:
    """Return the finding that these classes have no images that accuracy is measured on."""
    text = (
        f"Not measured, because no image is left to measure on: {_listed(classes)}. The accuracy "
        "does not apply to these classes; add images of them."
    )
    return HealthFinding.of("unmeasured", text, classes=classes)


def imbalance_finding(classes: Sequence[str], photos: NDArray[np.int64]) -> HealthFinding | None:
    """Find classes that are far smaller than the largest one; None if there are none.

    photos: (C,), different training photos of each class.
    """
    small = [c for c in np.argsort(photos, kind="stable") if photos[c] * FAR_SMALLER <= max(photos)]
    if not small:
        return None
    named = [f"{classes[c]} ({photos[c]})" for c in small]
    largest = int(photos.argmax())
    text = (
        f"Classes with far fewer training photos than {printable(classes[largest])} "
        f"({photos[largest]:,}): {_listed(named)}. Small classes are given more weight; add "
        "photos of them, their results depend on few."
    )
    return HealthFinding.of("imbalance", text, classes=[classes[c] for c in small])


def zero_shot_state(
    n_classes: int, labels: NDArray[np.int64], predicted: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return for each class whether zero-shot finds it: 1 yes, -1 no better than chance, 0 unknown.

    labels, predicted: (N,), the recorded labels of training photos and zero-shot's predictions.
    Chance is how often zero-shot predicts the class for photos of other classes; a class is found
    if its photos have significantly more hits (one-sided binomial test).
    """
    state = np.zeros(n_classes, np.int64)
    for c in range(n_classes):
        own = labels == c
        n, hits = int(own.sum()), int((predicted[own] == c).sum())
        if n < _MIN_PHOTOS or own.all():
            continue
        chance = float((predicted[~own] == c).mean())
        # P(at least so many hits by chance)
        state[c] = -1 if hits == 0 or bdtrc(hits - 1, n, chance) > _SIGNIFICANT else 1
    return state


def zero_shot_finding(classes: Sequence[str], state: NDArray[np.int64]) -> HealthFinding | None:
    """Find classes for which zero-shot is no better than chance; None if there are none."""
    missed = [name for name, found in zip(classes, state, strict=True) if found < 0]
    if not missed:
        return None
    text = (
        f"Zero-shot is no better than chance for {len(missed)} of {len(classes)} classes: "
        f"{_listed(missed)}. Their names say little to the backbone; `class_names` replaces names "
        "by words that describe the images."
    )
    return HealthFinding.of("zero_shot", text, classes=missed)


def names_finding(classes: Sequence[str]) -> HealthFinding:
    """Return the finding that the names of these classes are numbers or codes."""
    text = (
        f"Names without a meaning for the backbone: {_listed(classes)}. `class_names` replaces "
        "names by words that describe the images."
    )
    return HealthFinding.of("names", text, classes=classes)


def _listed(names: Sequence[str]) -> str:
    return listed(names, _CLASSES_SHOWN, printable)
