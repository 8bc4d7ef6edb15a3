"""The blend of text and image evidence: what it gains, resists and never looks at."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from gaussians import SCALE, Task, averaged, task
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import dspt.blend as blending
from dspt.blend import Blend, TextClassifier, calibrated_log_likelihood, fit_blend
from dspt.class_means import Centred
from dspt.label_noise import even_noise, wrong_share
from dspt.linear import LinearClassifier

SEEDS = range(4)


def blended(of: Task, fit: Tensor | None = None) -> Blend:
    return fit_blend(of.features, of.given, of.texts, of.folds, fit)


def class_means(of: Task) -> LinearClassifier:
    """Those of the given labels, all of which are believed."""
    everyone = torch.ones_like(of.given, dtype=torch.bool)
    centred = Centred.of(of.features, everyone)
    weights = F.one_hot(of.given, len(of.zero_shot)).float()
    return centred.classifier(centred.directions(everyone, weights))


def same(one: Blend, other: Blend) -> bool:
    """Whether the classifiers, the noise and the weights are the same to the bit."""
    return (
        torch.equal(one.classifier.matrix, other.classifier.matrix)
        and torch.equal(one.classifier.bias, other.classifier.bias)
        and torch.equal(one.noise, other.noise)
        and one.weights == other.weights
        and one.log_likelihood == other.log_likelihood
    )


# ---------------------------------------------------------------------------------- what it gains


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5])
def test_beats_every_part_and_recovers_the_noise_rate(rate: float) -> None:
    def measure(seed: int) -> list[float]:
        of = task(seed, rate=rate)
        found = blended(of)
        parts = [of.zero_shot, of.prompts[0], class_means(of)]
        planted = float((of.given != of.truth).float().mean())
        assert wrong_share(found.posterior, of.given) == pytest.approx(planted, abs=0.04)
        assert float(1 - found.noise.diagonal().mean()) == pytest.approx(planted, abs=0.04)
        right = (found.posterior.argmax(1) == of.truth).float().mean()
        assert right >= (of.given == of.truth).float().mean() - 0.01
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
    n, n_classes = len(of.given), len(of.zero_shot)
    assert found.judged.all()
    assert found.posterior.shape == found.log_p.shape == (n, n_classes)
    torch.testing.assert_close(found.log_p.exp().sum(1), torch.ones(n))
    torch.testing.assert_close(found.posterior.sum(1), torch.ones(n))
    torch.testing.assert_close(found.noise.sum(1), torch.ones(n_classes))
    joint = found.log_p.exp() @ found.noise
    expected = joint.gather(1, of.given[:, None]).log().mean()
    assert found.log_likelihood == pytest.approx(float(expected), abs=1e-5)
    expected = found.log_p.exp() * found.noise[:, of.given].T
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
        assert wrong_share(found.posterior, of.given) == pytest.approx(0.5, abs=0.05)


def test_without_zero_shot_as_an_annotator_the_swapped_labels_win(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blending, "_ZERO_SHOT_SAY", 0.0)
    for seed in SEEDS:
        of = task(seed, **SWAPPED)
        found = blended(of)
        assert of.accuracy(found.classifier) < of.accuracy(of.zero_shot) - 0.15
        assert wrong_share(found.posterior, of.given) < 0.4  # the labels look right


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


# ---------------------------------------------------------------------------- what it never sees


@pytest.mark.parametrize("per_class", [4, 30])  # fewer and more images than dimensions
@pytest.mark.parametrize("swapped", [False, True])
def test_images_that_are_not_learned_from_change_nothing(per_class: int, swapped: bool) -> None:
    """Their features and labels become others; the classifier stays the same to the bit."""
    of = task(3, rate=0.5, per_class=per_class, swapped=swapped)
    fit = torch.arange(len(of.given)) % 3 != 0
    expected = blended(of, fit)
    assert expected.judged.any()
    assert not expected.judged[~fit].any()
    # all alike, and as far from all classes as zero-shot can tell
    features, given = of.features.clone(), of.given.clone()
    features[~fit] = -F.normalize(of.zero_shot.mean(0), dim=0)
    given[~fit] = (given[~fit] + 1) % len(of.zero_shot)
    assert same(blended(dataclasses.replace(of, given=given), fit), expected)
    assert same(blended(dataclasses.replace(of, features=features), fit), expected)
    features[~fit] = float("nan")
    found = blended(dataclasses.replace(of, features=features, given=given), fit)
    assert same(found, expected)
    # nor do they change what is made of the others
    assert torch.equal(found.log_p[fit], expected.log_p[fit])
    assert torch.equal(found.posterior[fit], expected.posterior[fit])


def test_images_that_are_not_learned_from_are_judged() -> None:
    of = task(3, rate=0.25)
    fit = torch.arange(len(of.given)) % 3 != 0
    found = blended(of, fit)
    right = found.posterior[~fit].argmax(1) == of.truth[~fit]
    assert float(right.float().mean()) > 0.8
    assert torch.isfinite(found.log_p).all()


def test_an_image_is_not_judged_by_models_that_have_seen_its_label() -> None:
    """With its label changed, what others say of it is as before but for shared weights."""
    of = task(4, rate=0.0)
    given = of.given.clone()
    given[0] = (given[0] + 2) % 5
    before, after = blended(of).log_p[0], blended(dataclasses.replace(of, given=given)).log_p[0]
    assert int(before.argmax()) == int(after.argmax()) == int(of.truth[0])
    torch.testing.assert_close(before.exp(), after.exp(), atol=0.02, rtol=0)


# -------------------------------------------------------------------------------------- too little


def test_one_image_per_class_leaves_nothing_to_judge_by() -> None:
    of = task(1, per_class=1)
    found = blended(of)
    assert not found.judged.any()
    assert found.log_likelihood != found.log_likelihood  # NaN
    assert found.weights == pytest.approx([*[torch.tensor(-1.5).exp().item()] * 2, 1.0])
    assert torch.equal(found.posterior, F.one_hot(of.given, 5).float())
    torch.testing.assert_close(found.noise, even_noise(0.3, 5, found.noise))
    assert of.accuracy(found.classifier) > of.accuracy(of.zero_shot)


def test_classes_with_one_image_keep_its_label() -> None:
    of = task(1, rate=0.25)
    single = (of.given == 0).nonzero()[:, 0]
    fit = torch.ones_like(of.given, dtype=torch.bool)
    fit[single[1:]] = False
    found = blended(of, fit)
    assert not found.judged[single].any()
    assert found.judged[of.given != 0].all()
    assert found.posterior[single[0]].tolist() == [1, 0, 0, 0, 0]
    # the others of the class can be judged: it has an image in another fold
    of_other_folds = [i for i in single[1:].tolist() if i % 4 != int(single[0]) % 4]
    assert (found.posterior[of_other_folds, 0] < 1).all()
    assert torch.isfinite(found.classifier.matrix).all()


def test_a_class_without_any_image_is_told_by_its_words() -> None:
    of = task(1, zero_shot_error=0.5, prompt_error=0.4)
    fit = of.given != 2
    found = blended(of, fit)
    of_class = of.test_truth == 2
    right = found.classifier.logits(of.test).argmax(1) == of.test_truth
    assert float(right[of_class].float().mean()) > 0.7
    assert float(right[~of_class].float().mean()) > 0.85
    # an image with its label, which cannot be judged, keeps it
    assert torch.equal(found.posterior[~fit], F.one_hot(of.given[~fit], 5).float())


@pytest.mark.parametrize("rate", [0.0, 0.25])
def test_two_classes(rate: float) -> None:
    def measure(seed: int) -> list[float]:
        of = task(seed, n_classes=2, rate=rate, zero_shot_error=1.5, prompt_error=1.2)
        found = blended(of)
        accuracies = [of.accuracy(c) for c in (found.classifier, of.zero_shot, of.prompts[0])]
        planted = float((of.given != of.truth).float().mean())
        return [*accuracies, wrong_share(found.posterior, of.given), planted]

    found, zero_shot, prompt, wrong, planted = averaged(measure, SEEDS)
    assert found > max(zero_shot, prompt)
    assert wrong == pytest.approx(planted, abs=0.05)


def test_images_that_are_all_the_same_give_a_classifier() -> None:
    of = task(1, per_class=4)
    same_images = of.features[:1].expand(len(of.given), -1).contiguous()
    found = blended(dataclasses.replace(of, features=same_images))
    assert torch.isfinite(found.classifier.matrix).all()
    assert torch.isfinite(found.posterior).all()


def test_text_that_is_sure_of_everything() -> None:
    """Logits of thousands, half of them wrong."""
    of = task(1, rate=0.25)
    texts = [TextClassifier(1000 * t.matrix, 1000 * t.held_out) for t in of.texts]
    found = fit_blend(of.features, of.given, texts, of.folds)
    assert torch.isfinite(found.classifier.matrix).all()
    assert of.accuracy(found.classifier) > max(map(of.accuracy, (of.zero_shot, of.prompts[0])))


# --------------------------------------------------------------------------------------- machinery


def test_repeats_to_the_bit() -> None:
    of = task(5, rate=0.5)
    assert same(blended(of), blended(of))


def test_all_images_are_learned_from_unless_told() -> None:
    of = task(5, rate=0.5)
    assert same(blended(of), blended(of, torch.ones_like(of.given, dtype=torch.bool)))


class _Precisions(TorchDispatchMode):
    """Remembers the floating point types of all that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for one in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(one, Tensor) and one.is_floating_point():
                self.seen.add(one.dtype)
        return found


def test_all_arithmetic_is_float32() -> None:
    """Some accelerators have no float64."""
    of = task(1, rate=0.25, per_class=8)
    with _Precisions() as precisions:
        found = blended(of)
    assert precisions.seen == {torch.float32}
    for tensor in (found.classifier.matrix, found.classifier.bias, found.log_p, found.noise):
        assert tensor.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_comes_to_the_same_classifier() -> None:
    of = task(1, rate=0.25)
    expected = blended(of)
    texts = [TextClassifier(t.matrix.cuda(), t.held_out.cuda()) for t in of.texts]
    folds = [fold.cuda() for fold in of.folds]
    found = fit_blend(of.features.cuda(), of.given.cuda(), texts, folds)
    for tensor in (found.classifier.matrix, found.classifier.bias, found.posterior, found.judged):
        assert tensor.device.type == "cuda"
    served = LinearClassifier(found.classifier.matrix.cpu(), found.classifier.bias.cpu())
    agree = served.logits(of.test).argmax(1) == expected.classifier.logits(of.test).argmax(1)
    assert float(agree.float().mean()) > 0.99
    assert found.weights == pytest.approx(expected.weights, rel=0.05)


def cost_by_autograd(
    logits: Tensor, given: Tensor, fit: Tensor, noise: Tensor, start: Tensor
) -> Callable[[Tensor], tuple[float, Tensor]]:
    """The cost of the logarithms of weights and its gradient, in float64."""

    def cost(at: Tensor) -> tuple[float, Tensor]:
        at = at.double().detach().requires_grad_()
        log_p = torch.tensordot(at.exp(), logits.double(), dims=1).log_softmax(1)
        likelihood = (log_p.exp() @ noise.double()).gather(1, given[:, None])[fit].log().sum()
        value = 0.5 * ((at - start) / blending._PRIOR_STD).square().sum() - likelihood
        (gradient,) = torch.autograd.grad(value, at)
        return value.item(), gradient

    return cost


def weighing(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Logits of three classifiers, labels, rows to fit to, noise and start."""
    of = task(seed, rate=0.25)
    generator = torch.Generator().manual_seed(seed)
    third = torch.randn(of.texts[0].held_out.shape, generator=generator)
    logits = torch.stack([*(text.held_out for text in of.texts), third])
    noise = even_noise(0.2, 5, logits)
    fit = torch.arange(len(of.given)) % 5 != 0
    return logits, of.given, fit, noise, torch.tensor([-1.5, -1.5, 0.0])


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
                self.at.copy_(case[-1] + torch.randn(3, generator=generator))
                ours = cost()
                value, gradient = theirs(self.at)
                assert ours == pytest.approx(value, rel=1e-5)
                assert self.at.grad is not None
                torch.testing.assert_close(self.at.grad.double(), gradient, rtol=1e-4, atol=1e-3)
                checked += 1

    monkeypatch.setattr(torch.optim, "LBFGS", Probe)
    blending._fit_weights(*case)
    assert checked == 5


@pytest.mark.parametrize("seed", SEEDS)
def test_the_weights_are_those_of_least_cost(seed: int) -> None:
    case = weighing(seed)
    weights = blending._fit_weights(*case)
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
    logits, given, fit, noise, start = weighing(1)
    monkeypatch.setattr(blending, "_MAX_FITTED", 50)
    found = blending._fit_weights(logits, given, fit, noise, start)
    rows = fit.nonzero()[::3, 0]  # 120 images: every third
    expected = blending._fit_weights(logits[:, rows], given[rows], fit[rows], noise, start)
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
    assert torch.isfinite(blending._fit_weights(*weighing(1)).log()).all()


def test_without_images_the_weights_stay_where_they_start() -> None:
    logits, given, fit, noise, start = weighing(1)
    weights = blending._fit_weights(logits, given, torch.zeros_like(fit), noise, start)
    assert torch.equal(weights, start.exp())


# ----------------------------------------------------------------------------- one text, calibrated


def test_the_likelihood_of_a_text_does_not_depend_on_its_scale() -> None:
    """CLIP's logits are far too sure for some data sets; how sure it is should not decide."""
    of = task(1, rate=0.25)
    everyone = torch.ones_like(of.given, dtype=torch.bool)
    held_out = of.texts[0].held_out
    one, other = (
        calibrated_log_likelihood(factor * held_out, of.given, everyone) for factor in (1.0, 1.5)
    )
    assert one == pytest.approx(other, abs=0.01)


def test_the_better_text_is_likelier_under_any_noise() -> None:
    for rate in (0.0, 0.25, 0.5):
        of = task(1, rate=rate, zero_shot_error=1.2, prompt_error=0.4)
        everyone = torch.ones_like(of.given, dtype=torch.bool)
        worse, better = (
            calibrated_log_likelihood(t.held_out, of.given, everyone) for t in of.texts
        )
        assert better > worse + 0.01
        assert better < 0


def test_only_the_images_to_judge_by_count() -> None:
    of = task(1, rate=0.25)
    fit = torch.arange(len(of.given)) % 3 != 0
    held_out, given = of.texts[0].held_out.clone(), of.given.clone()
    before = calibrated_log_likelihood(held_out, given, fit)
    held_out[~fit] = SCALE * 1000
    given[~fit] = 0
    assert calibrated_log_likelihood(held_out, given, fit) == before
    nothing = calibrated_log_likelihood(held_out, given, torch.zeros_like(fit))
    assert nothing != nothing  # NaN
