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


def test_a_rounded_classifier_answers_as_before_but_in_near_ties() -> None:
    """The shape of an RN50: 1,024 columns of the embedding and 2,048 of penultimate features."""
    generator = torch.Generator().manual_seed(1)
    parts = [torch.randn(500, width, generator=generator) for width in (1024, 2048)]
    features = torch.cat([torch.nn.functional.normalize(part, dim=1) for part in parts], dim=1)
    matrix = 8 * torch.randn(100, 3072, generator=generator)
    linear = LinearClassifier(matrix, torch.randn(100, generator=generator))
    rounded = linear.rounded()
    assert not torch.equal(rounded.matrix, linear.matrix)
    assert rounded.matrix.dtype == torch.float32
    assert torch.equal(rounded.rounded().matrix, rounded.matrix)
    before, after = linear.probabilities(features), rounded.probabilities(features)
    assert (before - after).abs().max() < 0.005
    first, second = before.topk(2).values.T
    clear = first - second > 0.01
    assert torch.equal(before.argmax(1)[clear], after.argmax(1)[clear])
    assert clear.double().mean() > 0.95


def test_a_matrix_that_float16_cannot_hold_stays_as_it_is() -> None:
    linear = LinearClassifier(torch.tensor([[1e5, 0.1], [1.0, 2.0]]), torch.zeros(2))
    assert torch.equal(linear.rounded().matrix, linear.matrix)
