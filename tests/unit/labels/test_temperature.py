"""One number that makes probabilities as right as they say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dspt.labels.noise_model import symmetric_transition_matrix
from dspt.labels.temperature import fit_temperature

CLASSES = 5


def drawn(images: int, rate: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Calibrated logits, labels drawn from them of which `rate` are then wrong, and the noise."""
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, CLASSES, generator=random)
    true = torch.multinomial(logits.softmax(1), 1, generator=random)[:, 0]
    noise = (
        symmetric_transition_matrix(rate, CLASSES, logits)
        if rate
        else torch.eye(CLASSES).clamp_min(1e-9)
    )
    labels = torch.multinomial(noise[true], 1, generator=random)[:, 0]
    return logits, labels, noise


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("temperature", [0.25, 4.0])
def test_logits_that_are_too_large_or_too_small_are_found_out(
    temperature: float, rate: float
) -> None:
    logits, labels, noise = drawn(2000, rate)
    found = fit_temperature(logits * temperature, labels, noise)
    assert found == pytest.approx(temperature, rel=0.2)


def test_wrong_labels_do_not_count_as_doubt() -> None:
    """Without the noise the labels would call for far smaller logits."""
    logits, labels, noise = drawn(2000, 0.4)
    assert fit_temperature(logits, labels, noise) == pytest.approx(1.0, rel=0.2)
    assert fit_temperature(logits, labels, torch.eye(CLASSES).clamp_min(1e-9)) > 1.5


def test_what_chance_may_have_made_is_left_alone() -> None:
    kept = [fit_temperature(*drawn(30, 0.1, seed)) == 1.0 for seed in range(40)]
    assert sum(kept) >= 34


def test_without_images_nothing_is_known() -> None:
    logits, labels, noise = drawn(3, 0.1)
    assert fit_temperature(logits[:0], labels[:0], noise) == 1.0
