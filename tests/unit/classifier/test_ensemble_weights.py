"""How the parts of a blend are weighed, and how likely a text classifier alone is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from gaussians import SCALE, task
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

import dspt.classifier.weights as fitting
from dspt.classifier.weights import FitRows, calibrated_log_likelihood
from dspt.labels.noise_model import log_of_labels, symmetric_transition_matrix

SEEDS = range(2)


def cost_by_autograd(
    logits: Tensor, labels: Tensor, to: FitRows, noise: Tensor, prior: Tensor
) -> Callable[[Tensor], Tensor]:
    """The cost of the logarithms of weights, in float64 and differentiable."""

    def cost(at: Tensor) -> Tensor:
        log_p = torch.tensordot(at.exp(), logits.double(), dims=1).log_softmax(1)
        of_label = (log_p.exp() @ noise.double()).gather(1, labels[:, None])[:, 0]
        likelihood = (of_label.log() * to.balance)[to.rows].sum()
        cost: Tensor = 0.5 * ((at - prior) / fitting._PRIOR_STD).square().sum() - likelihood
        return cost

    return cost


def rows_to_fit(labels: Tensor, mask: Tensor) -> FitRows:
    """The rows of a mask, with weights of the images that differ between the classes."""
    balance = torch.linspace(0.5, 1.5, 5)[labels]
    return dataclasses.replace(FitRows.of(labels, mask), balance=balance)


def weighing(seed: int, scale: float = 1.0) -> tuple[Tensor, Tensor, FitRows, Tensor, Tensor]:
    """Logits of three classifiers, labels, rows to fit to, noise and prior."""
    of = task(seed, rate=0.25)
    generator = torch.Generator().manual_seed(seed)
    third = torch.randn(of.texts[0].held_out_logits.shape, generator=generator)
    logits = scale * torch.stack([*(text.held_out_logits for text in of.texts), third])
    noise = symmetric_transition_matrix(0.2, 5, logits)
    to = rows_to_fit(of.labels, torch.arange(len(of.labels)) % 5 != 0)
    return logits, of.labels, to, noise, torch.tensor([-1.5, -1.5, 0.0])


def test_the_derivatives_of_the_cost_are_autograds() -> None:
    logits, labels, to, noise, prior = weighing(1)
    theirs = cost_by_autograd(logits, labels, to, noise, prior)
    generator = torch.Generator().manual_seed(2)
    for _ in range(5):
        at = (prior + torch.randn(3, generator=generator)).double()
        away = at - prior
        cost, gradient, curvature, bound = fitting.cost_of_weights(
            at.exp(),
            logits[:, to.rows].double(),
            log_of_labels(noise.double(), labels[to.rows]),
            to.balance[to.rows].double(),
        )
        torch.testing.assert_close(cost + 0.5 * away @ away, theirs(at))
        torch.testing.assert_close(gradient + away, jacobian(theirs, at))  # type: ignore[no-untyped-call]
        expected = hessian(theirs, at)  # type: ignore[no-untyped-call]
        torch.testing.assert_close(curvature + torch.eye(3), expected, check_dtype=False)
        for positive in (bound, bound - curvature):
            assert torch.linalg.eigvalsh(positive).min() > -1e-6


@pytest.mark.parametrize("scale", [0.3, 1.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_weights_are_those_of_least_cost(seed: int, scale: float) -> None:
    """As scipy finds them, from the prior and from other weights."""
    from scipy.optimize import minimize

    case = weighing(seed, scale)
    theirs = cost_by_autograd(*case)
    prior = case[-1]

    def cost_and_gradient(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        point = torch.from_numpy(at)
        gradient = jacobian(theirs, point)  # type: ignore[no-untyped-call]
        return float(theirs(point)), gradient.numpy()

    optimum = minimize(cost_and_gradient, prior.double().numpy(), jac=True, options={"gtol": 1e-7})
    found = fitting.fit_weights(*case)
    for weights in (found, fitting.fit_weights(*case, 1.3 * found)):
        assert float(theirs(weights.log().double())) == pytest.approx(optimum.fun, rel=1e-6)
        assert np.allclose(weights.log(), optimum.x, atol=1e-3)


def test_weights_of_many_images_are_fitted_to_some(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels, to, noise, prior = weighing(1)
    monkeypatch.setattr(fitting, "_MAX_FITTED", 50)
    mask = torch.zeros_like(labels, dtype=torch.bool)
    mask[to.rows] = True
    found = fitting.fit_weights(logits, labels, rows_to_fit(labels, mask), noise, prior)
    rows = to.rows[::3]  # 120 images: every third
    those = rows_to_fit(labels[rows], torch.ones_like(rows, dtype=torch.bool))
    assert torch.equal(
        found, fitting.fit_weights(logits[:, rows], labels[rows], those, noise, prior)
    )


@pytest.mark.parametrize("start", [1e-5, 150.0])
def test_a_start_far_from_the_optimum_gives_finite_weights(start: float) -> None:
    weights = fitting.fit_weights(*weighing(1), torch.full((3,), start))
    assert torch.isfinite(weights.log()).all()
    assert bool((weights[:2] > start).all()) == (start < 1)  # it leads back


def test_without_images_the_weights_stay_where_they_start() -> None:
    logits, labels, _, noise, prior = weighing(1)
    nothing = rows_to_fit(labels, torch.zeros_like(labels, dtype=torch.bool))
    assert torch.equal(fitting.fit_weights(logits, labels, nothing, noise, prior), prior.exp())


def test_a_class_without_images_takes_no_part() -> None:
    """Whatever a classifier says of it: the images of other classes would only speak against."""
    logits, labels, _, noise, prior = weighing(1)
    to = rows_to_fit(labels, labels != 2)
    found = fitting.fit_weights(logits, labels, to, noise, prior)
    changed = logits.clone()
    changed[..., 2] += 100
    assert torch.equal(fitting.fit_weights(changed, labels, to, noise, prior), found)


# ----------------------------------------------------------------------------- one text, calibrated


def test_the_likelihood_of_a_text_does_not_depend_on_its_scale() -> None:
    """CLIP's logits are far too sure for some data sets; how sure it is should not decide."""
    of = task(1, rate=0.25)
    everyone = torch.ones_like(of.labels, dtype=torch.bool)
    held_out = of.texts[0].held_out_logits
    one, other = (
        calibrated_log_likelihood(factor * held_out, of.labels, everyone) for factor in (1.0, 1.5)
    )
    assert one == pytest.approx(other, abs=0.01)


def test_the_better_text_is_likelier_under_any_noise() -> None:
    for rate in (0.0, 0.25, 0.5):
        of = task(1, rate=rate, zero_shot_error=1.2, prompt_error=0.4)
        everyone = torch.ones_like(of.labels, dtype=torch.bool)
        worse, better = (
            calibrated_log_likelihood(t.held_out_logits, of.labels, everyone) for t in of.texts
        )
        assert better > worse + 0.01
        assert better < 0


def test_only_the_images_to_judge_by_count() -> None:
    of = task(1, rate=0.25)
    fit = torch.arange(len(of.labels)) % 3 != 0
    held_out, labels = of.texts[0].held_out_logits.clone(), of.labels.clone()
    before = calibrated_log_likelihood(held_out, labels, fit)
    held_out[~fit] = SCALE * 1000
    labels[~fit] = 0
    assert calibrated_log_likelihood(held_out, labels, fit) == before
    nothing = calibrated_log_likelihood(held_out, labels, torch.zeros_like(fit))
    assert nothing != nothing  # NaN
