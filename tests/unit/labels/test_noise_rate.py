"""The share of wrong labels and its interval."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor

from dspt.labels import noise_rate
from dspt.labels.noise_model import (
    fit_noise,
    symmetric_transition_matrix,
    true_label_posterior,
    wrong_share,
)
from dspt.labels.noise_rate import NoiseRate, estimate_noise_rate, swapped_pairs


def sample(
    n: int, n_classes: int, rate: float, sharpness: float, seed: int = 0
) -> tuple[Tensor, Tensor, float]:
    """log_p (N, C) of a calibrated classifier, given labels, and the share that is wrong."""
    generator = torch.Generator().manual_seed(seed)
    log_p = (sharpness * torch.randn(n, n_classes, generator=generator)).log_softmax(1)
    truth = torch.multinomial(log_p.exp(), 1, generator=generator)[:, 0]
    flip = torch.rand(n, generator=generator) < rate
    other = (truth + torch.randint(1, n_classes, (n,), generator=generator)) % n_classes
    return log_p, torch.where(flip, other, truth), float(flip.float().mean())


def estimate(log_p: Tensor, given: Tensor, seed: int = 0) -> NoiseRate:
    noise = symmetric_transition_matrix(0.3, log_p.shape[1], log_p)
    for _ in range(4):
        noise = fit_noise(log_p, given, noise)
    found = estimate_noise_rate(
        log_p, true_label_posterior(log_p, given, noise), given, noise, seed=seed
    )
    assert found is not None
    return found


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.25, 0.5])
def test_the_interval_holds_the_truth_in_nine_of_ten_samples(rate: float) -> None:
    held = 0
    for seed in range(10):
        log_p, given, wrong = sample(160, 10, rate, 4.0, seed)
        found = estimate(log_p, given)
        assert 0 <= found.low <= found.estimate <= found.high <= 1
        held += found.low - 0.005 <= wrong <= found.high
    assert held >= 9


def test_the_estimate_is_the_expected_share_of_wrong_labels() -> None:
    log_p, given, _ = sample(200, 5, 0.3, 3.0)
    noise = symmetric_transition_matrix(0.3, 5, log_p)
    posterior = true_label_posterior(log_p, given, noise)
    found = estimate_noise_rate(log_p, posterior, given, noise)
    assert found is not None
    assert found.estimate == pytest.approx(wrong_share(posterior, given))


def swapped(n: int, n_classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """log_p (N, C) and labels: half of each class has the label of the next one.

    The classifier has learned that: each image is of the class or of the next one, as likely.
    """
    generator = torch.Generator().manual_seed(seed)
    truth = torch.arange(n) % n_classes
    given = (truth + torch.randint(2, (n,), generator=generator)) % n_classes
    logits = 0.5 * torch.randn(n, n_classes, generator=generator)
    logits[torch.arange(n), truth] += 4
    logits[torch.arange(n), (truth + 1) % n_classes] += 4
    return logits.log_softmax(1), given


def test_if_half_of_each_class_has_the_label_of_the_next_the_interval_holds_the_truth() -> None:
    below, held = 0, 0
    for seed in range(10):
        log_p, given = swapped(160, 10, seed)
        true = float((given != torch.arange(160) % 10).float().mean())
        found = estimate(log_p, given)
        below += found.estimate < true - 0.1
        held += found.low <= true <= found.high
    assert below == 10  # the photos say as little about the labels as if the classes looked alike
    assert held >= 9


def test_swapped_pairs_are_named_and_the_most_frequent_is_the_first() -> None:
    labels = torch.tensor([0] * 12 + [1] * 12 + [2] * 6)
    predicted = labels.clone()
    predicted[:4], predicted[12:16] = 1, 0  # 8 of 0 and 1
    predicted[24:26] = 1  # 2 of 1 and 2
    log_p = torch.eye(4)[predicted].clamp_min(1e-3).log()
    assert swapped_pairs(log_p, labels) == [(0, 1), (1, 2)]
    predicted[24] = 3  # one image is no pair, and what remains is less than a third
    predicted[25] = 2
    log_p = torch.eye(4)[predicted].clamp_min(1e-3).log()
    assert swapped_pairs(log_p, labels) == []


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_wrong_labels_spread_over_all_classes_are_no_swaps(rate: float) -> None:
    for seed in range(10):
        log_p, given, _ = sample(160, 10, rate, 4.0, seed)
        assert swapped_pairs(log_p, given) == []


def test_more_images_narrow_it_and_weak_evidence_widens_it() -> None:
    def width(n: int, sharpness: float) -> float:
        found = estimate(*sample(n, 10, 0.25, sharpness)[:2])
        return found.high - found.low

    assert width(1600, 6.0) < 0.6 * width(160, 6.0)
    assert width(160, 1.5) > 1.5 * width(160, 6.0)


def test_the_same_seed_gives_the_same_interval_and_touches_no_other_randomness() -> None:
    log_p, given, _ = sample(160, 10, 0.25, 3.0)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert estimate(log_p, given, 1) == estimate(log_p, given, 1)
    assert estimate(log_p, given, 1) != estimate(log_p, given, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_to_judge_by_gives_nothing() -> None:
    nothing = torch.zeros(0, 4)
    labels = torch.zeros(0, dtype=torch.long)
    assert (
        estimate_noise_rate(nothing, nothing, labels, symmetric_transition_matrix(0.3, 4, nothing))
        is None
    )


def test_a_single_image_gives_a_wide_interval() -> None:
    log_p = torch.tensor([[0.5, 0.5]]).log()
    noise = symmetric_transition_matrix(0.3, 2, log_p)
    given = torch.tensor([0])
    found = estimate_noise_rate(log_p, true_label_posterior(log_p, given, noise), given, noise)
    assert found == NoiseRate(pytest.approx(0.3), 0.0, 1.0)  # type: ignore[arg-type]


def test_a_resample_smaller_than_the_data_gives_an_interval_of_the_same_width(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log_p, given, _ = sample(1600, 10, 0.25, 3.0)
    whole = estimate(log_p, given)
    monkeypatch.setattr(noise_rate, "_MAX_ENTRIES", 4000)
    part = estimate(log_p, given)
    assert part.estimate == whole.estimate
    assert part.high - part.low == pytest.approx(whole.high - whole.low, rel=0.25)


def test_a_thousand_classes_take_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn is bounded, whatever the size of the data set."""
    drawn: list[int] = []

    def counted(log_p: Tensor, given: Tensor, noise: Tensor) -> Tensor:
        drawn.append(log_p.numel())
        return noise

    monkeypatch.setattr(noise_rate, "fit_noise", counted)
    log_p = torch.zeros(16_000, 1000).log_softmax(1)
    given = torch.arange(16_000) % 1000
    start = time.process_time()
    found = estimate_noise_rate(
        log_p, log_p.exp(), given, symmetric_transition_matrix(0.3, 1000, log_p)
    )
    assert found is not None
    assert max(drawn) <= 1_000_000
    assert time.process_time() - start < 20
