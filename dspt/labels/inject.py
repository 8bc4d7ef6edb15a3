"""Inject label noise into a clean data set, exactly and reproducibly.

There are two protocols in the literature. Their results are not comparable.

global     NLPrompt (Pan et al., CVPR 2025): int(rate * N) samples of the whole set, drawn at
           random, get another label. A class may lose many images or none.
per_class  PTNL (Wu et al., ICCV 2023) and JoAPR (Guo & Gu, CVPR 2024): of the n images under
           every label, exactly k = round(rate * n) come from other classes. The papers take these
           from outside the few-shot set; here there are no other images, so the classes exchange
           theirs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

NoiseKind = Literal["symmetric", "asymmetric"]
NoiseProtocol = Literal["global", "per_class"]


@dataclass(frozen=True, eq=False)
class FlipMap:
    """Noisy labels, the true ones, and the settings of the noise."""

    labels: NDArray[np.int64]
    """(N,) the labels to train with; read-only."""
    original: NDArray[np.int64]
    """(N,) the true labels; read-only."""
    n_classes: int
    rate: float
    kind: NoiseKind
    protocol: NoiseProtocol
    seed: int

    def __post_init__(self) -> None:
        if self.labels.shape != self.original.shape:
            raise ValueError(f"{self.labels.size} labels for {self.original.size} original ones")
        for array in (self.labels, self.original):
            array.setflags(write=False)

    @property
    def flipped(self) -> NDArray[np.bool_]:
        """(N,) true where the label is wrong."""
        return np.not_equal(self.labels, self.original)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` restores the same map."""
        return {
            "kind": self.kind,
            "protocol": self.protocol,
            "rate": self.rate,
            "seed": self.seed,
            "n_classes": self.n_classes,
            "labels": self.labels.tolist(),
            "original": self.original.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FlipMap:
        """Restore from `to_dict`. Raises ValueError if a field is missing or invalid."""
        missing = [name for name in cls.__dataclass_fields__ if name not in values]
        if missing:
            raise ValueError(f"the flip map lacks {', '.join(missing)}")
        rate, kind, protocol = float(values["rate"]), values["kind"], values["protocol"]
        _check_settings(rate, kind, protocol)
        n_classes = int(values["n_classes"])
        return cls(
            labels=_checked_labels(values["labels"], n_classes),
            original=_checked_labels(values["original"], n_classes),
            n_classes=n_classes,
            rate=rate,
            kind=kind,
            protocol=protocol,
            seed=int(values["seed"]),
        )


def flip_labels(
    labels: ArrayLike,
    n_classes: int,
    rate: float,
    kind: NoiseKind = "symmetric",
    protocol: NoiseProtocol = "global",
    seed: int = 1,
) -> FlipMap:
    """Change a share of the labels to wrong ones.

    labels: (N,) true classes in 0..n_classes-1; rate: share in [0, 1]; seed: >= 0.
    kind: `symmetric` draws among the other classes, `asymmetric` gives (y + 1) mod n_classes.

    global: int(rate * N) labels change; symmetric is uniform over the other classes.
    per_class: k = round(rate * n), halves to even, of the n images of every class change label.
    With symmetric noise every class also receives as many images as it lost, so its size n stays
    the same; with asymmetric noise this holds if all classes have the same size.

    Raises ValueError for arguments out of range, and for per_class symmetric noise if one
    class is so large that the others cannot take its images.
    """
    _check_settings(rate, kind, protocol)
    original = _checked_labels(labels, n_classes)
    rng = np.random.default_rng(seed)
    noisy = original.copy()
    if protocol == "global":
        chosen = rng.choice(len(original), size=_count(rate, len(original)), replace=False)
    else:
        chosen = _per_class(original, n_classes, rate, rng)
    if kind == "asymmetric":
        noisy[chosen] = (original[chosen] + 1) % n_classes
    elif protocol == "global":
        step = rng.integers(1, n_classes, size=len(chosen))
        noisy[chosen] = (original[chosen] + step) % n_classes
    else:
        noisy[chosen] = _exchange(original[chosen], n_classes, rng)
    return FlipMap(noisy, original, n_classes, float(rate), kind, protocol, int(seed))


def _count(rate: float, n: int) -> int:
    # int(0.29 * 100) is 28: the product falls short of 29 by a rounding error.
    return math.floor(rate * n + 1e-9)


def _per_class(
    labels: NDArray[np.int64], n_classes: int, rate: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Indices of round(rate * n) images of every class, in random order."""
    members = [np.flatnonzero(labels == c) for c in range(n_classes)]
    chosen = [rng.choice(m, size=round(rate * len(m)), replace=False) for m in members]
    return rng.permutation(np.concatenate(chosen))


def _exchange(
    leaving: Sequence[int] | NDArray[np.int64], n_classes: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """New labels for images that leave their classes; every class gains as many as it loses.

    Each image draws one of the places that are free in other classes. The remaining images can be
    placed as long as, for every class, its waiting images plus its free places are at most all
    waiting images (Hall's theorem). A class at that limit takes part in every further move.
    """
    waiting = np.bincount(leaving, minlength=n_classes)
    free = waiting.copy()
    total = len(leaving)
    if total and waiting.max() > total - waiting.max():
        largest = int(waiting.argmax())
        leave = int(waiting[largest])
        raise ValueError(
            f"class {largest} must exchange {leave} images, but all other classes together have "
            f"only {total - leave}; use the same number of images of every class, or "
            'protocol "global"'
        )
    result = np.empty(total, dtype=np.int64)
    for i, own in enumerate(leaving):
        places = free.copy()
        places[own] = 0
        at_limit = waiting + free >= total - i
        at_limit[own] = False
        if at_limit.any():
            places[~at_limit] = 0
        target = rng.choice(n_classes, p=places / places.sum())
        result[i] = target
        waiting[own] -= 1
        free[target] -= 1
    return result


def _check_settings(rate: float, kind: str, protocol: str) -> None:
    if not 0 <= rate <= 1:
        raise ValueError(f"rate is {rate}; it must be between 0 and 1")
    for name, value, known in (
        ("kind", kind, get_args(NoiseKind)),
        ("protocol", protocol, get_args(NoiseProtocol)),
    ):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(known)}")


def _checked_labels(labels: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    if n_classes < 2:
        raise ValueError(f"n_classes is {n_classes}; it must be at least 2")
    array = np.asarray(labels)
    if array.ndim != 1 or not (np.issubdtype(array.dtype, np.integer) or array.size == 0):
        raise ValueError(
            "labels must be a one-dimensional array of integers, not "
            f"{array.dtype} of shape {array.shape}"
        )
    if array.size and (array.min() < 0 or array.max() >= n_classes):
        raise ValueError(
            f"labels run from {array.min()} to {array.max()}; with {n_classes} classes they must "
            f"be in 0..{n_classes - 1}"
        )
    return array.astype(np.int64)  # a copy: the array of the caller stays writable
