"""How the parts of a blend are weighed, and how likely a text classifier alone is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from gaussians import SCALE, task
from torch import Tensor

import dspt.classifier.weights as fitting
from dspt.classifier.weights import calibrated_log_likelihood
from dspt.labels.noise_model import symmetric_transition_matrix

SEEDS = range(4)


def cost_by_autograd(
    logits: Tensor,
    labels: Tensor,
    fit: Tensor,
    noise: Tensor,
    start: Tensor,
    balance: Tensor,
) -> Callable[[Tensor], tuple[float, Tensor]]:
    """The cost of the logarithms of weights and its gradient, in float64."""

    def cost(at: Tensor) -> tuple[float, Tensor]:
        at = at.double().detach().requires_grad_()
        log_p = torch.tensordot(at.exp(), logits.double(), dims=1).log_softmax(1)
        of_label = (log_p.exp() @ noise.double()).gather(1, labels[:, None])[:, 0]
        likelihood = (of_label.log() * balance)[fit].sum()
        value = 0.5 * ((at - start) / fitting._PRIOR_STD).square().sum() - likelihood
        (gradient,) = torch.autograd.grad(value, at)
        return value.item(), gradient

    return cost


def weighing(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Logits of three classifiers, labels, rows to fit to, noise, start, and weights of images."""
    of = task(seed, rate=0.25)
    generator = torch.Generator().manual_seed(seed)
    third = torch.randn(of.texts[0].held_out_logits.shape, generator=generator)
    logits = torch.stack([*(text.held_out_logits for text in of.texts), third])
    noise = symmetric_transition_matrix(0.2, 5, logits)
    fit = torch.arange(len(of.labels)) % 5 != 0
    balance = torch.linspace(0.5, 1.5, 5)[of.labels]
    return logits, of.labels, fit, noise, torch.tensor([-1.5, -1.5, 0.0]), balance


def test_the_gradient_of_the_weights_is_autograds(monkeypatch: pytest.MonkeyPatch) -> None:
    case = weighing(1)
    theirs = cost_by_autograd(*case)
    checked = 0

    class Probe:
        """In the place of the optimizer: asks for cost and gradient where it likes."""

        def __init__(self, parameters: list[Tensor], **options: Any) -> None:
            [self.at] = parameters

        def step(self, cost: Callable[[], float]) -> None:
            nonlocal checked
            generator = torch.Generator().manual_seed(2)
            for _ in range(5):
                self.at.copy_(case[4] + torch.randn(3, generator=generator))
                ours = cost()
                value, gradient = theirs(self.at)
                assert ours == pytest.approx(value, rel=1e-5)
                assert self.at.grad is not None
                torch.testing.assert_close(self.at.grad.double(), gradient, rtol=1e-4, atol=1e-3)
                checked += 1

    monkeypatch.setattr(torch.optim, "LBFGS", Probe)
    fitting.fit_weights(*case)
    assert checked == 5


@pytest.mark.parametrize("seed", SEEDS)
def test_the_weights_are_those_of_least_cost(seed: int) -> None:
    case = weighing(seed)
    weights = fitting.fit_weights(*case)
    theirs = cost_by_autograd(*case)
    value, gradient = theirs(weights.log())
    assert float(gradient.norm()) < 0.2  # of a cost of about 100
    for i in range(3):
        for step in (-0.3, 0.3):
            moved = weights.log()
            moved[i] += step
            assert theirs(moved)[0] > value
    assert weights[2] < 0.5  # the third knows nothing: it began at 1


def test_weights_of_many_images_are_fitted_to_some(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels, fit, noise, start, balance = weighing(1)
    monkeypatch.setattr(fitting, "_MAX_FITTED", 50)
    found = fitting.fit_weights(logits, labels, fit, noise, start, balance)
    rows = fit.nonzero()[::3, 0]  # 120 images: every third
    expected = fitting.fit_weights(
        logits[:, rows], labels[rows], fit[rows], noise, start, balance[rows]
    )
    assert torch.equal(found, expected)


@pytest.mark.parametrize("tried", [-1000.0, 1000.0])
def test_a_line_search_that_runs_away_sees_finite_costs(
    monkeypatch: pytest.MonkeyPatch, tried: float
) -> None:
    class RunsAway:
        def __init__(self, parameters: list[Tensor], **options: Any) -> None:
            [self.at] = parameters

        def step(self, cost: Callable[[], float]) -> None:
            self.at.fill_(tried)
            assert math.isfinite(cost())
            assert self.at.grad is not None
            assert torch.isfinite(self.at.grad).all()
            assert (self.at.grad.sign() == math.copysign(1, tried)).all()  # it leads back

    monkeypatch.setattr(torch.optim, "LBFGS", RunsAway)
    assert torch.isfinite(fitting.fit_weights(*weighing(1)).log()).all()


def test_without_images_the_weights_stay_where_they_start() -> None:
    logits, labels, fit, noise, start, balance = weighing(1)
    weights = fitting.fit_weights(logits, labels, torch.zeros_like(fit), noise, start, balance)
    assert torch.equal(weights, start.exp())


def test_a_class_without_images_takes_no_part() -> None:
    """Whatever a classifier says of it: the images of other classes would only speak against."""
    logits, labels, fit, noise, start, balance = weighing(1)
    fit &= labels != 2
    found = fitting.fit_weights(logits, labels, fit, noise, start, balance)
    changed = logits.clone()
    changed[..., 2] += 100
    assert torch.equal(fitting.fit_weights(changed, labels, fit, noise, start, balance), found)


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
