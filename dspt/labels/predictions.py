"""Audit labels with class probabilities of any model: the contract of cleanlab.

The probabilities must be out-of-sample: predicted by models that were not trained on the label, for
example by cross-validation. Their temperature and the noise matrix are fitted to the labels by
turns, because a model that is too sure of itself would explain its own errors as wrong labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dspt.labels.audit import AuditReport, audit_labels
from dspt.labels.noise_model import fit_noise, symmetric_transition_matrix, true_label_posterior
from dspt.labels.noise_rate import estimate_noise_rate
from dspt.labels.temperature import fit_temperature
from dspt.prompt.losses import suppression

_FIRST_RATE = 0.3  # of wrong labels, before anything is known
_ROUNDS = 3
_MIN_PROBABILITY = 1e-12
_SUM_TOLERANCE = 0.01
"""Probabilities that were rounded to two or three digits do not sum to 1 exactly."""
_NAMED = 10  # classes in a message


def audit_probabilities(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    classes: Sequence[Any] | None = None,
    files: Sequence[str] | None = None,
) -> AuditReport:
    """Rank labels by the probability that they are wrong, with predictions made elsewhere.

    labels: (N,) column numbers or class names; probabilities: (N, C), out-of-sample, rows sum to 1;
    classes: C names in the order of the columns. Default: 0 to C - 1, or the sorted labels if they
    are text; files: N names for the report. Default: the row numbers from 0, as text.

    In the report `p_tuned` is the calibrated probability of the recorded label and `p_zero_shot` is
    None. Raises ValueError for arrays that do not fit together and for unknown classes.
    """
    matrix = _checked(probabilities)
    given = np.asarray(labels)
    if given.shape != (len(matrix),):
        raise ValueError(
            f"labels have the shape {given.shape}, but probabilities have {len(matrix)} rows; pass "
            "one label per row"
        )
    if files is not None and len(files) != len(matrix):
        raise ValueError(f"files has {len(files)} names, but probabilities have {len(matrix)} rows")
    names = _class_names(given, matrix.shape[1], classes)
    codes = torch.from_numpy(_codes(given, names))
    return _audit(
        files or [str(row) for row in range(len(matrix))],
        names,
        codes,
        torch.from_numpy(np.log(matrix.clip(_MIN_PROBABILITY))).float(),
    )


def _audit(
    files: Sequence[str], names: Sequence[str], labels: Tensor, log_p: Tensor
) -> AuditReport:
    noise = symmetric_transition_matrix(_FIRST_RATE, len(names), log_p)
    logits = log_p
    for _ in range(_ROUNDS):
        log_p = (logits / fit_temperature(logits, labels, noise)).log_softmax(1)
        noise = fit_noise(log_p, labels, noise)
    posterior = true_label_posterior(log_p, labels, noise)
    return audit_labels(
        files,
        names,
        labels,
        log_p=log_p,
        posterior=posterior,
        suppressed=suppression(log_p, labels),
        noise_rate=estimate_noise_rate(log_p, posterior, labels, noise),
    )


def _checked(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Return (N, C) with rows that sum to 1. Raises ValueError, naming the first bad row."""
    try:
        matrix = np.asarray(probabilities, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"probabilities must be a matrix of numbers: {error}") from error
    if matrix.ndim != 2 or matrix.shape[1] < 2:
        raise ValueError(
            f"probabilities must have the shape (N, C) with at least two classes, not "
            f"{matrix.shape}"
        )
    _refuse(matrix, ~np.isfinite(matrix).all(1), "has a value that is not finite")
    _refuse(
        matrix,
        ((matrix < 0) | (matrix > 1 + _SUM_TOLERANCE)).any(1),
        "has a value below 0 or above 1; apply a softmax to logits first",
    )
    sums = matrix.sum(1, keepdims=True)
    _refuse(sums, (np.abs(sums - 1) > _SUM_TOLERANCE)[:, 0], "does not sum to 1")
    found: NDArray[np.float64] = matrix / sums
    return found


def _refuse(values: NDArray[np.float64], where: ArrayLike, what: str) -> None:
    """Raise ValueError if `where` (N,) is true for a row of `values`."""
    bad = np.asarray(where)
    if bad.any():
        row = int(bad.argmax())
        shown = ", ".join(f"{value:g}" for value in values[row][:_NAMED])
        raise ValueError(
            f"row {row} of the probabilities {what}: {shown} ({int(bad.sum())} of {len(bad)} rows)"
        )


def _class_names(labels: NDArray[Any], n_classes: int, classes: Sequence[Any] | None) -> list[str]:
    """Return C distinct names. Raises ValueError if there are more or fewer."""
    if classes is None:
        if labels.dtype.kind in "biuf":
            return [str(column) for column in range(n_classes)]
        found = sorted({str(label) for label in labels})
        hint = "; pass `classes`, the names in the order of the columns"
    else:
        found, hint = [str(name) for name in classes], ""
    if len(found) != n_classes:
        raise ValueError(
            f"probabilities have {n_classes} columns, but there are {len(found)} classes{hint}"
        )
    if len(set(found)) != n_classes:
        raise ValueError("class names must be distinct")
    return found


def _codes(labels: NDArray[Any], names: Sequence[str]) -> NDArray[np.int64]:
    """Return the column of each label: by name, or the label itself if it is a column number."""
    if labels.dtype.kind in "bf":  # a file of numbers often has the type of its other columns
        whole = np.isfinite(labels) & (labels == np.floor(labels))
        labels = labels.astype(np.int64) if whole.all() else labels
    column_of = {name: column for column, name in enumerate(names)}
    numbers = labels.dtype.kind == "f"
    texts = [f"{label:g}" if numbers else str(label) for label in labels]
    unknown = [row for row, text in enumerate(texts) if text not in column_of]
    if unknown and labels.dtype.kind in "iu":
        unknown = np.flatnonzero((labels < 0) | (labels >= len(names))).tolist()
        if not unknown:
            return labels.astype(np.int64)
    if unknown:
        more = ", ..." if len(names) > _NAMED else ""
        raise ValueError(
            f"label {texts[unknown[0]]!r} in row {unknown[0]} is not a class ({len(unknown)} of "
            f"{len(texts)} labels); the classes are {', '.join(names[:_NAMED])}{more}"
        )
    return np.array([column_of[text] for text in texts], dtype=np.int64)
