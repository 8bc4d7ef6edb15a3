"""The blend of text and image evidence: what it gains, and what it resists."""

from __future__ import annotations

import dataclasses
from typing import Any

import gaussians
import pytest
import torch
from gaussians import Task, averaged, blended, task, with_penultimate
from torch.nn import functional as F

import dspt.classifier.ensemble as blending
from dspt.classifier.lda import ShrunkLDA
from dspt.classifier.linear import LinearClassifier
from dspt.labels.noise_model import wrong_share

SEEDS = range(1)


def class_means(of: Task) -> LinearClassifier:
    """Those of the given labels, all of which are believed."""
    everyone = torch.ones_like(of.labels, dtype=torch.bool)
    (classes, dim), width = of.zero_shot.shape, of.features.shape[1]
    centred = ShrunkLDA.of(of.features[:, dim % width :], everyone)
    weights = F.one_hot(of.labels, classes).float()
    found = centred.classifier(centred.directions(everyone, weights))
    return LinearClassifier(F.pad(found.matrix, (dim % width, 0)), found.bias)


# ---------------------------------------------------------------------------------- what it gains


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5])
def test_beats_every_part_and_recovers_the_noise_rate(rate: float) -> None:
    def measure(seed: int) -> list[float]:
        of = task(seed, rate=rate)
        found = blended(of)
        parts = [of.zero_shot, of.prompts[0], class_means(of)]
        planted = float((of.labels != of.truth).float().mean())
        assert wrong_share(found.posterior, of.labels) == pytest.approx(planted, abs=0.04)
        assert float(1 - found.noise.diagonal().mean()) == pytest.approx(planted, abs=0.04)
        right = (found.posterior.argmax(1) == of.truth).float().mean()
        assert right >= (of.labels == of.truth).float().mean() - 0.01
        return [of.accuracy(found.classifier), *(of.accuracy(part) for part in parts)]

    found, *parts = averaged(measure, SEEDS)
    # with clean labels the class means alone are about as good
    assert found > max(parts) - (0.01 if rate == 0 else 0)
    assert found >= 0.87
    if rate == 0.5:
        assert found > max(parts) + 0.05


def test_says_what_it_was_fitted_to() -> None:
    of = task(1, rate=0.25)
    found = blended(of)
    n, n_classes = len(of.labels), len(of.zero_shot)
    assert found.scored.all()
    assert found.posterior.shape == found.log_p.shape == (n, n_classes)
    torch.testing.assert_close(found.log_p.exp().sum(1), torch.ones(n))
    torch.testing.assert_close(found.posterior.sum(1), torch.ones(n))
    torch.testing.assert_close(found.noise.sum(1), torch.ones(n_classes))
    joint = found.log_p.exp() @ found.noise
    expected = joint.gather(1, of.labels[:, None]).log().mean()
    assert found.log_likelihood == pytest.approx(float(expected), abs=1e-5)
    expected = found.log_p.exp() * found.noise[:, of.labels].T
    torch.testing.assert_close(found.posterior, expected / expected.sum(1, keepdim=True))
    assert len(found.weights) == 3
    assert all(weight > 0 for weight in found.weights)


def test_what_is_served_is_close_to_what_was_judged() -> None:
    """Calibrated: on fresh images its confidence is about its accuracy."""
    of = task(1, rate=0.25)
    found = blended(of)
    confidence = found.classifier.probabilities(of.test).amax(1).mean()
    assert float(confidence) == pytest.approx(of.accuracy(found.classifier), abs=0.06)


def test_the_held_out_side_of_a_text_does_not_reach_the_matrix_but_by_weights() -> None:
    """The matrix is the weighed sum of the matrices of its parts."""
    of = task(2, rate=0.25)
    found = blended(of)
    rest = found.classifier.matrix.clone()
    for weight, text in zip(found.weights, of.texts, strict=False):
        rest -= weight * text.matrix
    # what is left are class means: in them no image counts but by its distance from the centre
    bias = -(rest @ of.features.mean(0))
    torch.testing.assert_close(found.classifier.bias, bias, atol=1e-3, rtol=1e-3)


# -------------------------------------------------------------------------- what it has to resist

SWAPPED: dict[str, Any] = {
    "n_classes": 10,
    "per_class": 60,
    "rate": 0.5,
    "swapped": True,
    "spread": 0.2,
    "zero_shot_error": 0.9,
    "prompt_error": None,
}
"""Half of every class carries the label of the next; the prompt has learned from the labels."""


def test_the_truth_wins_over_labels_swapped_half_of_the_time() -> None:
    for seed in SEEDS:
        of = task(seed, **SWAPPED)
        found = blended(of)
        assert of.accuracy(found.classifier) > of.accuracy(of.zero_shot) + 0.02
        assert of.accuracy(of.zero_shot) > of.accuracy(of.prompts[0])
        assert wrong_share(found.posterior, of.labels) == pytest.approx(0.5, abs=0.05)


def test_without_zero_shot_as_an_annotator_the_swapped_labels_win(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blending, "_AGREEMENT_WEIGHT", 0.0)
    for seed in SEEDS:
        of = task(seed, **SWAPPED)
        found = blended(of)
        assert of.accuracy(found.classifier) < of.accuracy(of.zero_shot) - 0.15
        assert wrong_share(found.posterior, of.labels) < 0.4  # the labels look right


@pytest.mark.parametrize(("rate", "trust"), [(0.1, None), (0.5, 0.75)])
def test_the_labels_count_beside_the_posteriors(rate: float, trust: float | None) -> None:
    """The fewer labels look wrong, the more: some right ones always look wrong."""
    of = task(1, rate=rate, spread=0.5)
    found = blended(of)
    if trust is None:
        trust = 3 * wrong_share(found.posterior, of.labels)
        assert 0.1 < trust < 0.6
    texts = zip(found.weights, of.texts, strict=False)
    of_lda = found.classifier.matrix - sum(weight * text.matrix for weight, text in texts)
    everyone = torch.ones_like(of.labels, dtype=torch.bool)
    guess = (1 - trust) * F.one_hot(of.labels).float() + trust * found.posterior
    expected = ShrunkLDA.of(of.features, everyone).directions(everyone, guess)
    assert float(F.cosine_similarity(of_lda.ravel(), expected.ravel(), dim=0)) > 0.9999


@pytest.mark.parametrize("penultimate", [False, True])
def test_many_classes_and_a_weak_zero_shot_is_not_just_copied(
    monkeypatch: pytest.MonkeyPatch, penultimate: bool
) -> None:
    """Zero-shot and the prompt confuse all but `known` classes with one another in the same way.

    Half of the labels are wrong, evenly. Then the class means alone are far better than zero-shot.
    """
    classes, known = 40, 16
    monkeypatch.setattr(gaussians, "DIM", 64)
    order = torch.arange(classes)
    order[known:] = order[known:].roll(1)
    errors = {"zero_shot_error": 0.5, "prompt_error": 0.45}
    of = task(1, n_classes=classes, per_class=16, rate=0.5, spread=0.2, **errors)
    of = dataclasses.replace(of, zero_shot=of.zero_shot[order], prompts=of.prompts[:, order])
    if penultimate:
        of = with_penultimate(of, 96, 0.15)
    zero_shot, means = of.accuracy(of.zero_shot), of.accuracy(class_means(of))
    assert zero_shot < known / classes + 0.02 < means
    assert of.accuracy(blended(of).classifier) > means


def test_penultimate_features_take_the_place_of_the_embedding_in_the_class_means() -> None:
    """They separate the classes better. A matrix of both parts is served, texts first."""
    of = task(2, rate=0.25)
    wide = with_penultimate(of, 48, 0.2)
    narrow, found = blended(of), blended(wide)
    assert wide.accuracy(found.classifier) > of.accuracy(narrow.classifier) + 0.03
    texts = sum(w * t.matrix for w, t in zip(found.weights, of.texts, strict=False))
    torch.testing.assert_close(found.classifier.matrix[:, :32], texts)
    of_images = found.classifier.matrix[:, 32:]
    centre = wide.features[:, 32:].mean(0)
    torch.testing.assert_close(found.classifier.bias, -(of_images @ centre), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5])
def test_a_useless_zero_shot_does_no_harm(rate: float) -> None:
    """Class words that say nothing of the images: random embeddings."""

    def measure(seed: int) -> list[float]:
        of = task(seed, rate=rate)
        generator = torch.Generator().manual_seed(99 + seed)
        chance = F.normalize(torch.randn(of.zero_shot.shape, generator=generator), dim=1)
        of = dataclasses.replace(of, zero_shot=chance)
        parts = [of.accuracy(part) for part in (chance, of.prompts[0], class_means(of))]
        return [of.accuracy(blended(of).classifier), *parts]

    found, chance, prompt, means = averaged(measure, SEEDS)
    assert chance < 0.35
    assert found > max(prompt, means) - 0.01


@pytest.mark.parametrize("rate", [0.0, 0.25])
def test_useless_texts_leave_the_class_means(rate: float) -> None:
    def measure(seed: int) -> list[float]:
        of = task(seed, rate=rate)
        generator = torch.Generator().manual_seed(99 + seed)
        chance = F.normalize(torch.randn(of.zero_shot.shape, generator=generator), dim=1)
        of = dataclasses.replace(of, zero_shot=chance, prompts=chance.expand(5, -1, -1))
        return [of.accuracy(blended(of).classifier), of.accuracy(class_means(of))]

    found, means = averaged(measure, SEEDS)
    assert found > means - 0.02


# ------------------------------------------------------------------------------- several optima


def test_the_averaged_posterior_hears_all_optima_and_the_one_taken_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[tuple[float, Any]] = []

    def heard(*arguments: Any) -> tuple[float, Any]:
        found.append(climb(*arguments))
        return found[-1]

    climb = blending._run_em
    monkeypatch.setattr(blending, "_run_em", heard)
    of = task(2, rate=0.5, swapped=True)
    taken = blended(of)
    posteriors = torch.stack([one.posterior for _, one in found])
    assert len(posteriors) == 3
    assert (posteriors - taken.posterior).abs().max() > 0.5  # they disagree
    torch.testing.assert_close(taken.averaged_posterior, (taken.posterior + posteriors.mean(0)) / 2)
