"""Classify image features with a class matrix in numpy, as the service does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dspt.backbones.compiled import Features
from dspt.errors import ArtifactError
from dspt.model.format import Artifact

if TYPE_CHECKING:
    from dspt.backbones.base import Backbone


@dataclass(frozen=True)
class ClassScores:
    """`dspt.classifier.linear.LinearClassifier` without torch, with the names of its classes."""

    classes: tuple[str, ...]
    matrix: NDArray[np.float32]
    """(C, F), or (C, D) to read the embedding alone."""
    bias: NDArray[np.float32]
    """(C,)."""

    @property
    def nbytes(self) -> int:
        """Size of matrix and bias in bytes."""
        return self.matrix.nbytes + self.bias.nbytes

    def probabilities(self, features: Features) -> NDArray[np.float32]:
        """(N, F) -> (N, C)."""
        logits = features[:, : self.matrix.shape[1]] @ self.matrix.T + self.bias
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        found: NDArray[np.float32] = logits
        return found

    def top(self, features: Features, top_k: int = 5) -> list[list[tuple[str, float]]]:
        """Return the `top_k` most probable (class, probability) per image; features: (N, F)."""
        scores = self.probabilities(features)
        count = min(top_k, len(self.classes))
        best = np.argpartition(scores, -count, axis=1)[:, -count:]
        found = np.take_along_axis(scores, best, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        labels = np.take_along_axis(best, order, axis=1).tolist()
        values = np.take_along_axis(found, order, axis=1).tolist()
        return [
            [(self.classes[i], score) for i, score in zip(*row, strict=True)]
            for row in zip(labels, values, strict=True)
        ]


def ensemble_scores(
    artifact: Artifact, widths: Collection[int], backbone: str
) -> ClassScores | None:
    """Return the ensemble that an artefact serves; None if it serves class embeddings.

    Class embeddings need the text tower: see `text_scores`. widths: D and F of `backbone`. Raises
    ArtifactError if the ensemble has another width.
    """
    manifest = artifact.manifest
    if manifest.served == "zero_shot" or artifact.matrix is None or artifact.bias is None:
        return None
    width = artifact.matrix.shape[1]
    if width not in widths:
        raise ArtifactError(
            f"the matrix has width {width}, but features of {backbone} have width "
            f"{' or '.join(map(str, sorted(set(widths))))}"
        )
    return ClassScores(tuple(manifest.classes), artifact.matrix, artifact.bias)


def text_scores(backbone: Backbone, artifact: Artifact) -> ClassScores:
    """Return the class embeddings that an artefact serves, computed by the text tower with torch.

    Raises BackboneMismatch or ArtifactError if the artefact is not for this backbone.
    """
    from dspt.model.artifact import from_artifact
    from dspt.model.predict import FeatureClassifier

    linear = FeatureClassifier(from_artifact(artifact), backbone).linear
    classes = tuple(artifact.manifest.classes)
    return ClassScores(classes, linear.matrix.cpu().numpy(), linear.bias.cpu().numpy())
