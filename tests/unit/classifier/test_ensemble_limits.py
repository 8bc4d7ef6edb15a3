"""The blend: images that it must not learn from, too few of them, and its arithmetic."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from gaussians import averaged, blended, task
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from dspt.classifier.ensemble import Ensemble, TextClassifier, fit_ensemble
from dspt.classifier.linear import LinearClassifier
from dspt.labels.noise_model import symmetric_transition_matrix, wrong_share

SEEDS = range(2)


def same(one: Ensemble, other: Ensemble) -> bool:
    """Whether the classifiers, the noise and the weights are the same to the bit."""
    return (
        torch.equal(one.classifier.matrix, other.classifier.matrix)
        and torch.equal(one.classifier.bias, other.classifier.bias)
        and torch.equal(one.noise, other.noise)
        and one.weights == other.weights
        and one.log_likelihood == other.log_likelihood
    )


# ---------------------------------------------------------------------------- what it never sees


@pytest.mark.parametrize("per_class", [4, 30])  # fewer and more images than dimensions
@pytest.mark.parametrize("swapped", [False, True])
def test_images_that_are_not_learned_from_change_nothing(per_class: int, swapped: bool) -> None:
    """Their features and labels become others; the classifier stays the same to the bit."""
    of = task(3, rate=0.5, per_class=per_class, swapped=swapped)
    fit = torch.arange(len(of.labels)) % 3 != 0
    expected = blended(of, fit)
    assert expected.scored.any()
    assert not expected.scored[~fit].any()
    # all alike, and as far from all classes as zero-shot can tell
    features, labels = of.features.clone(), of.labels.clone()
    features[~fit] = -F.normalize(of.zero_shot.mean(0), dim=0)
    labels[~fit] = (labels[~fit] + 1) % len(of.zero_shot)
    assert same(blended(dataclasses.replace(of, labels=labels), fit), expected)
    assert same(blended(dataclasses.replace(of, features=features), fit), expected)
    features[~fit] = float("nan")
    found = blended(dataclasses.replace(of, features=features, labels=labels), fit)
    assert same(found, expected)
    # nor do they change what is made of the others
    assert torch.equal(found.log_p[fit], expected.log_p[fit])
    assert torch.equal(found.posterior[fit], expected.posterior[fit])


def test_images_that_are_not_learned_from_are_judged() -> None:
    of = task(3, rate=0.25)
    fit = torch.arange(len(of.labels)) % 3 != 0
    found = blended(of, fit)
    right = found.posterior[~fit].argmax(1) == of.truth[~fit]
    assert float(right.float().mean()) > 0.8
    assert torch.isfinite(found.log_p).all()


def test_an_image_is_not_judged_by_models_that_have_seen_its_label() -> None:
    """With its label changed, what others say of it is as before but for shared weights."""
    of = task(4, rate=0.0)
    labels = of.labels.clone()
    labels[0] = (labels[0] + 2) % 5
    before, after = blended(of).log_p[0], blended(dataclasses.replace(of, labels=labels)).log_p[0]
    assert int(before.argmax()) == int(after.argmax()) == int(of.truth[0])
    torch.testing.assert_close(before.exp(), after.exp(), atol=0.02, rtol=0)


# -------------------------------------------------------------------------------------- too little


def test_one_image_per_class_leaves_nothing_to_judge_by() -> None:
    of = task(1, per_class=1)
    found = blended(of)
    assert not found.scored.any()
    assert found.log_likelihood != found.log_likelihood  # NaN
    assert found.weights == pytest.approx([*[torch.tensor(-1.5).exp().item()] * 2, 1.0])
    assert torch.equal(found.posterior, F.one_hot(of.labels, 5).float())
    torch.testing.assert_close(found.noise, symmetric_transition_matrix(0.3, 5, found.noise))
    assert of.accuracy(found.classifier) > of.accuracy(of.zero_shot)


@pytest.mark.parametrize(("seconds", "judged"), [(1, 0), (2, 4)])
def test_few_classes_of_two_images_do_not_speak_for_all(seconds: int, judged: int) -> None:
    """2 of 6 images are too few to judge by; 4 of 7 are enough."""
    of = task(1, per_class=2, rate=0.0)
    fit = torch.zeros_like(of.labels, dtype=torch.bool)
    fit[::2] = True
    fit[1 : 2 * seconds : 2] = True
    found = blended(of, fit)
    assert int(found.scored.sum()) == judged


def test_classes_with_one_image_keep_its_label() -> None:
    of = task(1, rate=0.25)
    single = (of.labels == 0).nonzero()[:, 0]
    fit = torch.ones_like(of.labels, dtype=torch.bool)
    fit[single[1:]] = False
    found = blended(of, fit)
    assert not found.scored[single].any()
    assert found.scored[of.labels != 0].all()
    assert found.posterior[single[0]].tolist() == [1, 0, 0, 0, 0]
    # the others of the class can be judged: it has an image in another fold
    of_other_folds = [i for i in single[1:].tolist() if i % 4 != int(single[0]) % 4]
    assert (found.posterior[of_other_folds, 0] < 1).all()
    assert torch.isfinite(found.classifier.matrix).all()


def test_a_class_without_images_is_classified_by_its_words() -> None:
    of = task(1, zero_shot_error=0.5, prompt_error=0.4)
    fit = of.labels != 2
    found = blended(of, fit)
    of_class = of.test_truth == 2
    right = found.classifier.logits(of.test).argmax(1) == of.test_truth
    assert float(right[of_class].float().mean()) > 0.7
    assert float(right[~of_class].float().mean()) > 0.85
    # an image with its label, which cannot be judged, keeps it
    assert torch.equal(found.posterior[~fit], F.one_hot(of.labels[~fit], 5).float())


@pytest.mark.parametrize("rate", [0.0, 0.25])
def test_two_classes(rate: float) -> None:
    def measure(seed: int) -> list[float]:
        of = task(seed, n_classes=2, rate=rate, zero_shot_error=1.5, prompt_error=1.2)
        found = blended(of)
        accuracies = [of.accuracy(c) for c in (found.classifier, of.zero_shot, of.prompts[0])]
        planted = float((of.labels != of.truth).float().mean())
        return [*accuracies, wrong_share(found.posterior, of.labels), planted]

    found, zero_shot, prompt, wrong, planted = averaged(measure, SEEDS)
    assert found > max(zero_shot, prompt)
    assert wrong == pytest.approx(planted, abs=0.05)


def test_images_that_are_all_the_same_give_a_classifier() -> None:
    of = task(1, per_class=4)
    same_images = of.features[:1].expand(len(of.labels), -1).contiguous()
    found = blended(dataclasses.replace(of, features=same_images))
    assert torch.isfinite(found.classifier.matrix).all()
    assert torch.isfinite(found.posterior).all()


def test_text_that_is_sure_of_everything() -> None:
    """Logits of thousands, half of them wrong."""
    of = task(1, rate=0.25)
    texts = [TextClassifier(1000 * t.matrix, 1000 * t.held_out_logits) for t in of.texts]
    found = fit_ensemble(of.features, of.labels, texts, of.folds)
    assert torch.isfinite(found.classifier.matrix).all()
    assert of.accuracy(found.classifier) > max(map(of.accuracy, (of.zero_shot, of.prompts[0])))


# --------------------------------------------------------------------------------------- machinery


def test_repeats_to_the_bit() -> None:
    of = task(5, rate=0.5)
    assert same(blended(of), blended(of))


def test_all_images_are_used_for_tuning_by_default() -> None:
    of = task(5, rate=0.5)
    assert same(blended(of), blended(of, torch.ones_like(of.labels, dtype=torch.bool)))


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
    texts = [TextClassifier(t.matrix.cuda(), t.held_out_logits.cuda()) for t in of.texts]
    folds = [fold.cuda() for fold in of.folds]
    found = fit_ensemble(of.features.cuda(), of.labels.cuda(), texts, folds)
    for tensor in (found.classifier.matrix, found.classifier.bias, found.posterior, found.scored):
        assert tensor.device.type == "cuda"
    served = LinearClassifier(found.classifier.matrix.cpu(), found.classifier.bias.cpu())
    agree = served.logits(of.test).argmax(1) == expected.classifier.logits(of.test).argmax(1)
    assert float(agree.float().mean()) > 0.99
    assert found.weights == pytest.approx(expected.weights, rel=0.05)
