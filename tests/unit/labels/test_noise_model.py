"""The noise matrix, and what it makes of labels."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dspt.labels.noise_model import (
    fit_noise,
    log_likelihood,
    symmetric_transition_matrix,
    true_label_posterior,
    wrong_share,
)

SURE = math.log(1e-6)


def certain(classes: Tensor, n_classes: int) -> Tensor:
    """Log probabilities that are sure of these classes: (N, C)."""
    log_p = torch.full((len(classes), n_classes), SURE)
    return log_p.scatter(1, classes[:, None], math.log(1 - 1e-6 * (n_classes - 1)))


# ------------------------------------------------------------------------------------- by hand


def test_even_noise_spreads_over_the_other_classes() -> None:
    found = symmetric_transition_matrix(0.3, 4, torch.zeros(1))
    expected = torch.full((4, 4), 0.1)
    expected.fill_diagonal_(0.7)
    torch.testing.assert_close(found, expected)
    assert found.dtype == torch.float32


def test_two_classes_by_hand() -> None:
    log_p = torch.tensor([[0.8, 0.2], [0.8, 0.2]]).log()
    labels = torch.tensor([1, 0])
    noise = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    # label 1: 0.8 * 0.1 = 0.08 and 0.2 * 0.7 = 0.14; label 0: 0.8 * 0.9 = 0.72 and 0.2 * 0.3
    torch.testing.assert_close(
        true_label_posterior(log_p, labels, noise),
        torch.tensor([[0.08 / 0.22, 0.14 / 0.22], [0.72 / 0.78, 0.06 / 0.78]]),
    )
    torch.testing.assert_close(
        log_likelihood(log_p, labels, noise), torch.tensor([0.22, 0.78]).log()
    )


def test_wrong_share_is_the_mean_doubt() -> None:
    posterior = torch.tensor([[0.9, 0.1, 0.0], [0.5, 0.2, 0.3]])
    assert wrong_share(posterior, torch.tensor([0, 1])) == pytest.approx((0.1 + 0.8) / 2)


def test_labels_that_cannot_be_wrong_are_believed() -> None:
    log_p = torch.tensor([[0.6, 0.4]]).log()
    posterior = true_label_posterior(log_p, torch.tensor([1]), torch.eye(2))
    torch.testing.assert_close(posterior, torch.tensor([[0.0, 1.0]]))


# ------------------------------------------------------------------------------ fitting a matrix


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4, 0.6])
def test_a_sure_classifier_recovers_even_noise(rate: float) -> None:
    """60 images of each of 5 classes, the wrong labels dealt evenly."""
    truth = torch.arange(5).repeat_interleave(60)
    labels = truth.clone()
    for c in range(5):
        wrong = round(60 * rate)
        labels[60 * c : 60 * c + wrong] = (c + 1 + torch.arange(wrong) % 4) % 5
    found = fit_noise(
        certain(truth, 5), labels, symmetric_transition_matrix(0.3, 5, torch.zeros(1))
    )
    # a rate of nothing would rule out what may yet be seen: the prior keeps two thirds of 0.005
    expected = symmetric_transition_matrix(max(rate, 0.005 * 2 / 3), 5, found)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)


def test_one_sided_noise_is_drawn_towards_even_noise() -> None:
    """The prior counts for twice the images of a class, so data have a third of the say."""
    truth = torch.arange(4).repeat_interleave(40)
    labels = torch.where(torch.arange(160) % 2 == 0, truth, (truth + 1) % 4)
    found = fit_noise(
        certain(truth, 4), labels, symmetric_transition_matrix(0.3, 4, torch.zeros(1))
    )
    seen = 0.5 * torch.eye(4) + 0.5 * torch.eye(4).roll(1, 1)
    expected = (seen + 2 * symmetric_transition_matrix(0.5, 4, found)) / 3
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_labels_are_not_blamed_for_all() -> None:
    """Always against the labels: the noise stays below what would turn two classes round."""
    labels = torch.arange(40) % 2
    found = fit_noise(
        certain(1 - labels, 2), labels, symmetric_transition_matrix(0.3, 2, torch.zeros(1))
    )
    # data: all off the diagonal; prior, of twice their weight: 0.4
    torch.testing.assert_close(found, torch.tensor([[0.4, 0.6], [0.6, 0.4]]), atol=1e-3, rtol=0)


def test_a_class_that_no_label_names_has_the_noise_of_all() -> None:
    truth = torch.arange(2).repeat_interleave(30)
    found = fit_noise(certain(truth, 3), truth, symmetric_transition_matrix(0.3, 3, torch.zeros(1)))
    torch.testing.assert_close(
        found[2], symmetric_transition_matrix(0.005, 3, found)[2], atol=1e-3, rtol=0
    )


def test_without_images_nothing_is_learned() -> None:
    start = symmetric_transition_matrix(0.3, 3, torch.zeros(1))
    found = fit_noise(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), start)
    assert torch.equal(found, start)


@settings(deadline=None)
@given(
    st.integers(2, 6),
    st.integers(1, 30),
    st.floats(0, 100),
    st.floats(0.01, 0.6),
    st.integers(0, 2**31 - 1),
)
def test_rows_are_probabilities_whatever_is_seen(
    n_classes: int, n: int, sharpness: float, rate: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = sharpness * torch.randn(n, n_classes, generator=generator)
    labels = torch.randint(n_classes, (n,), generator=generator)
    start = symmetric_transition_matrix(rate, n_classes, logits)
    found = fit_noise(logits.log_softmax(1), labels, start)
    assert found.shape == (n_classes, n_classes)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.sum(1), torch.ones(n_classes))
    assert float(found.min()) > 0  # its logarithm is taken
    posterior = true_label_posterior(logits.log_softmax(1), labels, found)
    torch.testing.assert_close(posterior.sum(1), torch.ones(n))
