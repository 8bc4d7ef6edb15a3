"""Linear classifiers of image features."""

from __future__ import annotations

import torch

from dspt.classifier.linear import LinearClassifier


def test_logits_and_probabilities_by_hand() -> None:
    linear = LinearClassifier(
        torch.tensor([[2.0, 0.0], [0.0, 4.0], [1.0, 1.0]]), torch.tensor([0.0, -1.0, 0.5])
    )
    features = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    expected = torch.tensor([[2.0, -1.0, 1.5], [1.2, 2.2, 1.9]])
    torch.testing.assert_close(linear.logits(features), expected)
    torch.testing.assert_close(linear.probabilities(features), expected.softmax(1))
    assert linear.logits(features[:0]).shape == (0, 3)


def test_clips_classifier_is_scaled_cosines() -> None:
    torch.manual_seed(1)
    classes, features = (torch.nn.functional.normalize(torch.randn(n, 8), dim=1) for n in (3, 5))
    linear = LinearClassifier.from_text(classes, 30.0)
    torch.testing.assert_close(linear.logits(features), 30.0 * features @ classes.T)
    assert torch.equal(linear.bias, torch.zeros(3))
    assert linear.matrix.dtype == linear.bias.dtype == torch.float32
