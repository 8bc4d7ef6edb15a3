"""What a practitioner would do without a prompt: logistic regression on the frozen features.

With cleanlab's filter (Northcutt et al., JAIR 2021) before it as well: labels that out-of-sample
probabilities contradict are left out, and the classifier is fitted anew on the rest.
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
from dspt.errors import Cancelled

GRID = (3.0, 10.0, 1.0, 30.0, 0.3, 100.0)
"""Inverse regularisation strengths tried, the first of equals taken: around 3, which is best on the
built-in backbone, to 30, where CLIP's authors found theirs (0.316 for features ten times as long).
With one shot per class cross-validation cannot tell them apart."""
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
    """The strength in use and the out-of-sample probabilities that it gives."""

    c: float
    probabilities: Array
    """(N, C)"""


def cross_validate(task: Task, c: float | None) -> CrossValidated:
    """Out-of-sample probabilities of the training images, FOLDS folds.

    c: inverse regularisation strength; None takes the one of GRID that agrees with most given
    labels out of sample (scikit-learn's rule in LogisticRegressionCV).
    Raises Cancelled.
    """
    features, given = _arrays(task)
    folds = stratified_folds(given, FOLDS, task.seed)
    best: tuple[float, CrossValidated] | None = None
    for strength in GRID if c is None else (c,):
        found = np.zeros((len(given), task.n_classes))
        for fold in folds:
            if task.should_stop():
                raise Cancelled("cancelled while fitting logistic regression")
            rest = np.setdiff1d(np.arange(len(given)), fold)
            model = _fit(features[rest], given[rest], strength)
            found[fold] = _probabilities(model, features[fold], task.n_classes)
        agreement = float((found.argmax(1) == given).mean())
        if best is None or agreement > best[0]:
            best = agreement, CrossValidated(strength, found)
    assert best is not None
    return best[1]


def logistic(task: Task, validated: CrossValidated) -> Fitted:
    """Fitted on all given labels."""
    features, given = _arrays(task)
    why = f"C = {validated.c:g}"
    return _fitted(_fit(features, given, validated.c), task.n_classes, why)


def logistic_cleanlab(task: Task, validated: CrossValidated) -> Fitted:
    """Fitted on the labels that cleanlab does not call an issue; on all if too few remain."""
    features, given = _arrays(task)
    kept = ~_issues(given, validated.probabilities)
    why = f"C = {validated.c:g}, {int((~kept).sum())} of {len(kept)} left out"
    if len(np.unique(given[kept])) < 2:
        kept[:] = True
        why = f"C = {validated.c:g}, the filter left fewer than two classes and is not applied"
    return _fitted(_fit(features[kept], given[kept], validated.c), task.n_classes, why)


def _issues(given: Labels, probabilities: Array) -> NDArray[np.bool_]:
    if len(np.unique(given)) < 2:  # cleanlab refuses
        return np.zeros(len(given), dtype=bool)
    with warnings.catch_warnings():  # about classes of few images; nothing can be done about it
        warnings.simplefilter("ignore", UserWarning)
        found = find_label_issues(given, probabilities, n_jobs=1)
    return np.asarray(found, dtype=bool)


def _fitted(model: Model, n_classes: int, why: str) -> Fitted:
    def score(test: Tensor) -> Tensor:
        found = _probabilities(model, test.double().cpu().numpy(), n_classes)
        return torch.from_numpy(found).to(test.device)

    return Fitted(score, why=why)


def _arrays(task: Task) -> tuple[Array, Labels]:
    """Centre crops (N, D) and given labels (N,)."""
    return task.features[:, 0].double().cpu().numpy(), task.given.cpu().numpy()


def _fit(features: Array, given: Labels, c: float) -> Model:
    if len(np.unique(given)) < 2:  # a fold of very few shots
        constant: Model = DummyClassifier(strategy="prior").fit(features, given)
        return constant
    with warnings.catch_warnings():  # a fit stopped short is as good a classifier
        warnings.simplefilter("ignore", ConvergenceWarning)
        model: Model = LogisticRegression(C=c, max_iter=MAX_ITERATIONS).fit(features, given)
    return model


def _probabilities(model: Model, features: Array, n_classes: int) -> Array:
    """(T, n_classes); a class that no training label names has 0."""
    found = np.zeros((len(features), n_classes))
    found[:, model.classes_] = model.predict_proba(features)
    return found
