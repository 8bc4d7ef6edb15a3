"""Logistic regression on the frozen features: what a practitioner would do without a prompt.

Also after cleanlab's filter (Northcutt et al., JAIR 2021): labels that out-of-sample probabilities
contradict are removed, and the classifier is fitted again on the rest.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from benchmarks.noise_robustness.methods import Fitted, Task
from dspt.data import stratified_folds

GRID = (3.0, 10.0, 1.0, 30.0, 0.3, 100.0)
"""Inverse regularisation strengths to try; the first of equals wins. From about 3, the best for the
built-in backbone, to 30, that of CLIP's authors (0.316 for features ten times as long). With one
shot per class cross-validation cannot rank them."""
FOLDS = 5
MAX_ITERATIONS = 1000

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


class Model(Protocol):
    """A fitted classifier of scikit-learn."""

    classes_: Labels

    def predict_proba(self, X: Array) -> Array: ...  # noqa: N803


@dataclass(frozen=True)
class CrossValidated:
    """The strength and its out-of-sample probabilities."""

    c: float
    probabilities: Array
    """(N, C)"""


def cross_validate(task: Task, c: float | None) -> CrossValidated:
    """Return out-of-sample probabilities of the training images from FOLDS folds.

    c: inverse regularisation strength; None selects the one of GRID that agrees with most noisy
    labels out of sample, as LogisticRegressionCV does.
    """
    features, given = _arrays(task)
    folds = stratified_folds(given, FOLDS, task.seed)
    best: tuple[float, CrossValidated] | None = None
    for strength in GRID if c is None else (c,):
        found = np.zeros((len(given), task.n_classes))
        for fold in folds:
            rest = np.setdiff1d(np.arange(len(given)), fold)
            model = _fit(features[rest], given[rest], strength)
            found[fold] = _probabilities(model, features[fold], task.n_classes)
        agreement = float((found.argmax(1) == given).mean())
        if best is None or agreement > best[0]:
            best = agreement, CrossValidated(strength, found)
    assert best is not None
    return best[1]


def logistic(task: Task, validated: CrossValidated) -> Fitted:
    """Fit on all noisy labels."""
    features, given = _arrays(task)
    why = f"C = {validated.c:g}"
    return _fitted(_fit(features, given, validated.c), task.n_classes, why)


def logistic_cleanlab(task: Task, validated: CrossValidated) -> Fitted:
    """Fit on the labels that cleanlab does not call an issue; on all if too few remain."""
    features, given = _arrays(task)
    kept = ~issues(given, validated.probabilities)
    why = f"C = {validated.c:g}, {int((~kept).sum())} of {len(kept)} removed"
    if len(np.unique(given[kept])) < 2:
        kept[:] = True
        why = f"C = {validated.c:g}, not filtered: fewer than two classes would remain"
    return _fitted(_fit(features[kept], given[kept], validated.c), task.n_classes, why)


def issues(given: Labels, probabilities: Array) -> NDArray[np.bool_]:
    """Return (N,) the labels that cleanlab's filter calls issues, with its default settings."""
    if len(np.unique(given)) < 2:  # cleanlab refuses
        return np.zeros(len(given), dtype=bool)
    with warnings.catch_warnings():  # about classes with few images
        warnings.simplefilter("ignore", UserWarning)
        found = find_label_issues(given, probabilities, n_jobs=1)
    return np.asarray(found, dtype=bool)


def _fitted(model: Model, n_classes: int, why: str) -> Fitted:
    def score(test: Tensor) -> Tensor:
        found = _probabilities(model, test.double().cpu().numpy(), n_classes)
        return torch.from_numpy(found).to(test.device)

    return Fitted(score, why=why)


def _arrays(task: Task) -> tuple[Array, Labels]:
    """Return centre crops (N, D) and noisy labels (N,)."""
    return task.features[:, 0].double().cpu().numpy(), task.given.cpu().numpy()


def _fit(features: Array, given: Labels, c: float) -> Model:
    if len(np.unique(given)) < 2:  # a fold of very few shots
        constant: Model = DummyClassifier(strategy="prior").fit(features, given)
        return constant
    with warnings.catch_warnings():  # an early stop does not harm the classifier
        warnings.simplefilter("ignore", ConvergenceWarning)
        model: Model = LogisticRegression(C=c, max_iter=MAX_ITERATIONS).fit(features, given)
    return model


def _probabilities(model: Model, features: Array, n_classes: int) -> Array:
    """Return (T, n_classes); a class without training labels has 0."""
    found = np.zeros((len(features), n_classes))
    found[:, model.classes_] = model.predict_proba(features)
    return found
