"""The methods, on features that lie around the class embeddings of a small text tower."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from tuning import WORDS, task

from benchmarks.noise_robustness import linear, methods
from benchmarks.noise_robustness.methods import Fitted, Task
from benchmarks.noise_robustness.settings import LOSSES, Recipe
from dspt.backbones import Backbone
from dspt.config import TuneConfig
from dspt.labels.inject import flip_labels
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings

RECIPE = Recipe.of("project", epochs=3)


def few(backbone: Backbone, given: Tensor | None = None, **change: Any) -> Task:
    features, labels = task(backbone, 48)
    whole = Task(
        backbone=backbone,
        prompts=PromptLearner(backbone, WORDS),
        features=features,
        given=labels if given is None else given,
        zero_shot=zero_shot_embeddings(backbone, WORDS),
        seed=1,
        autocast=None,
    )
    return replace(whole, **change)


def accuracy(fitted: Fitted, features: Tensor, labels: Tensor) -> float:
    return float((fitted.score(features).argmax(1) == labels).float().mean())


def test_zero_shot_scores_by_the_untuned_prompt(tiny: Backbone) -> None:
    given = few(tiny)
    expected = 30.0 * given.features[:, 0] @ zero_shot_embeddings(tiny, WORDS).T
    torch.testing.assert_close(methods.zero_shot(given).score(given.features[:, 0]), expected)


def test_losses_tuned_as_a_batch_are_those_tuned_alone(tiny: Backbone) -> None:
    given = few(tiny)
    test = given.features[:, 0]
    together = methods.tuned_losses(given, LOSSES, RECIPE)
    assert list(together) == list(LOSSES)
    scores = {loss: fitted.score(test) for loss, fitted in together.items()}
    for loss in LOSSES:
        alone = methods.tuned_losses(given, [loss], RECIPE)[loss].score(test)
        torch.testing.assert_close(scores[loss], alone, rtol=1e-4, atol=1e-4)
    for one, other in pairwise(LOSSES):
        assert not torch.allclose(scores[one], scores[other], atol=1e-2)


def test_rates_of_the_recipe_are_used(tiny: Backbone) -> None:
    given = few(tiny)
    still = replace(RECIPE, lr=dict.fromkeys(LOSSES, 0.0))
    test = given.features[:, 0]
    untuned = methods.zero_shot(given).score(test)
    moved = methods.tuned_losses(given, ["ce"], RECIPE)["ce"].score(test) - untuned
    unmoved = methods.tuned_losses(given, ["ce"], still)["ce"].score(test) - untuned
    assert unmoved.norm() < 0.05 * moved.norm()  # by the warm-up epoch


def test_the_default_says_what_it_serves_and_why(tiny: Backbone) -> None:
    given = few(tiny)
    fitted = methods.default(given, TuneConfig(epochs=3))["default"]
    assert fitted.served in ("tuned", "zero_shot")
    assert fitted.why is not None
    assert "48 training images" in fitted.why
    assert accuracy(fitted, given.features[:, 0], given.given) > 0.5


def test_cross_validation_judges_each_image_without_its_own_label(tiny: Backbone) -> None:
    """An image moved to another class is still seen as what it was by the folds' models."""
    given = few(tiny).given
    changed = given.clone()
    changed[0] = (given[0] + 1) % 3
    c, probabilities = linear.cross_validate(few(tiny, changed), 100.0)
    assert c == 100.0
    assert probabilities.shape == (48, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert probabilities[0].argmax() == given[0]


def test_cross_validation_takes_the_strength_that_agrees_best(
    tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "GRID", (0.3, 3.0, 10.0))  # the last two agree equally well
    given = few(tiny)
    agreement = {}
    for c in linear.GRID:
        found = linear.cross_validate(given, c)[1].argmax(1)
        agreement[c] = (found == given.given.numpy()).mean()
    best = max(agreement.values())
    chosen = linear.cross_validate(given, None)[0]
    assert chosen == next(c for c, share in agreement.items() if share == best) == 3.0
    one_shot = few(tiny, features=given.features[:3], given=given.given[:3])
    assert linear.cross_validate(one_shot, None)[0] == 0.3


def test_cleanlab_leaves_wrong_labels_out(tiny: Backbone) -> None:
    labels = torch.arange(60) % 3
    features = torch.eye(16)[labels] + 0.1 * torch.randn(
        60, 16, generator=torch.Generator().manual_seed(1)
    )
    clean = few(tiny, labels, features=features[:, None])
    flips = flip_labels(clean.given.numpy(), 3, 0.25, "symmetric", "global", seed=1)
    noisy = replace(clean, given=torch.from_numpy(flips.labels.copy()))
    c, probabilities = linear.cross_validate(noisy, 10.0)
    plain = linear.logistic(noisy, c)
    filtered = linear.logistic_cleanlab(noisy, c, probabilities)
    assert plain.why == "C = 10"
    assert filtered.why is not None
    left_out = re.fullmatch(r"C = 10, (\d+) of 60 removed", filtered.why)
    assert left_out is not None
    assert 15 <= int(left_out[1]) <= 18  # 15 are wrong
    assert accuracy(filtered, features, labels) == 1
    # surer of the right class than the fit that had to learn the wrong labels too
    right = labels[:, None]
    assert (filtered.score(features) > plain.score(features)).gather(1, right).all()


@pytest.mark.parametrize("given", [[0, 1, 2], [0, 0, 1], [2, 2, 2]])
def test_one_shot_and_classes_that_no_label_names(tiny: Backbone, given: list[int]) -> None:
    features = few(tiny).features[:3]
    single = few(tiny, torch.tensor(given), features=features)
    c, probabilities = linear.cross_validate(single, None)
    both = linear.logistic(single, c), linear.logistic_cleanlab(single, c, probabilities)
    for fitted in both:
        scores = fitted.score(features[:, 0])
        assert scores.shape == (3, 3)
        absent = sorted({0, 1, 2} - set(given))
        assert (scores[:, absent] == 0).all()
