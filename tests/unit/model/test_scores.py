"""Classification in numpy gives the scores that torch gives."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dspt.errors import ArtifactError
from dspt.model.scores import ClassScores, ensemble_scores
from tests.unit.models import artifact_of, blend, tuned_model

MODEL = dataclasses.replace(tuned_model(), blend=blend())


def features(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return F.normalize(torch.randn(count, 512, generator=generator), dim=-1)


def scores_of_model() -> ClassScores:
    found = ensemble_scores(artifact_of(MODEL), (512, 512), "toy")
    assert found is not None
    return found


@pytest.mark.parametrize("count", [1, 8])
def test_probabilities_are_those_of_torch(count: int) -> None:
    rows, scores = features(count), scores_of_model()
    expected = blend().probabilities(rows)
    found = scores.probabilities(rows.numpy())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=5e-6)
    for top_k in (1, 3, 10, 50):
        best = expected.topk(min(top_k, 10), dim=-1)
        for row, indices, values in zip(
            scores.top(rows.numpy(), top_k), best.indices.tolist(), best.values, strict=True
        ):
            assert [label for label, _ in row] == [scores.classes[i] for i in indices]
            np.testing.assert_allclose([score for _, score in row], values.numpy(), atol=5e-6)


def test_class_embeddings_are_not_in_the_artefact() -> None:
    artifact = artifact_of(MODEL)
    assert ensemble_scores(artifact.untuned(), (512, 512), "toy") is None
    assert ensemble_scores(artifact_of(tuned_model()), (512, 512), "toy") is None


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(ArtifactError, match=r"width 512, but features of toy have width 16 or 48"):
        ensemble_scores(artifact_of(MODEL), (16, 48), "toy")


def test_a_matrix_of_embeddings_reads_the_first_columns_of_wider_features() -> None:
    rows = features(8)
    wide = torch.cat([rows, features(8)], dim=1).numpy()
    scores = ensemble_scores(artifact_of(MODEL), (512, 1024), "toy")
    assert scores is not None
    np.testing.assert_array_equal(scores.probabilities(wide), scores.probabilities(rows.numpy()))
