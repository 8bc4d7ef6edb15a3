"""Logistic regression on the frozen features: what a practitioner would do without a prompt.

Also after cleanlab's filter (Northcutt et al., JAIR 2021): labels that out-of-sample probabilities
contradict are removed, and the classifier is fitted again on the rest.

scikit-learn and cleanlab take seconds to import, so the functions that need them do it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.noise_robustness.baselines.fitting import cross_validated
from benchmarks.noise_robustness.methods import Fitted, Task

GRID = (3.0, 10.0, 1.0, 30.0, 0.3, 100.0)
"""Inverse regularisation strengths to try; the first of equals wins. From about 3, the best for the
built-in backbone, to 30, that of CLIP's authors (0.316 for features ten times as long). With one
shot per class cross-validation cannot rank them."""
MAX_ITERATIONS = 1000

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def cross_validate(task: Task, c: float | None) -> tuple[float, Array]:
    """Return `c`, and out-of-sample probabilities (N, C) of the training images.

    c: inverse regularisation strength; None selects the one of GRID that agrees with most noisy
    labels out of sample, as LogisticRegressionCV does.
    """

    def fitted(features: Tensor, given: Tensor) -> Callable[[Tensor, float], Tensor]:
        return lambda images, c: _fit(features, given, c, task.n_classes)(images)

    strength, found = cross_validated(task, GRID if c is None else (c,), fitted)
    return strength, found.cpu().numpy()


def logistic(task: Task, c: float) -> Fitted:
    """Fit on all noisy labels."""
    return Fitted(_fit(task.features[:, 0], task.given, c, task.n_classes), why=f"C = {c:g}")


def logistic_cleanlab(task: Task, c: float, probabilities: Array) -> Fitted:
    """Fit on the labels that cleanlab does not call an issue; on all if too few remain."""
    kept = torch.from_numpy(~issues(task.given.cpu().numpy(), probabilities))
    why = f"C = {c:g}, {int((~kept).sum())} of {len(kept)} removed"
    if task.given[kept].bincount().count_nonzero() < 2:
        kept[:] = True
        why = f"C = {c:g}, not filtered: fewer than two classes would remain"
    features, given = task.features[kept, 0], task.given[kept]
    return Fitted(_fit(features, given, c, task.n_classes), why=why)


def issues(given: Labels, probabilities: Array) -> NDArray[np.bool_]:
    """Return (N,) the labels that cleanlab's filter calls issues, with its default settings."""
    if len(np.unique(given)) < 2:  # cleanlab refuses
        return np.zeros(len(given), dtype=bool)
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():  # about classes with few images
        warnings.simplefilter("ignore", UserWarning)
        found = find_label_issues(given, probabilities, n_jobs=1)
    return np.asarray(found, dtype=bool)


def _fit(features: Tensor, given: Tensor, c: float, n_classes: int) -> Callable[[Tensor], Tensor]:
    """Return a function that gives the probabilities; a class without training labels has 0."""
    from sklearn.dummy import DummyClassifier
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    x, y = features.double().cpu().numpy(), given.cpu().numpy()
    if len(np.unique(y)) < 2:  # a fold of very few shots
        model: Any = DummyClassifier(strategy="prior").fit(x, y)
    else:
        with warnings.catch_warnings():  # an early stop does not harm the classifier
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=c, max_iter=MAX_ITERATIONS).fit(x, y)

    def score(images: Tensor) -> Tensor:
        found = np.zeros((len(images), n_classes))
        found[:, model.classes_] = model.predict_proba(images.double().cpu().numpy())
        return torch.from_numpy(found).to(images.device)

    return score
