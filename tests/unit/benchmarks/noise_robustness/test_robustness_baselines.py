"""The field's baselines: their equations on tiny cases, and each on a small noisy task."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_robustness_methods import accuracy, few
from torch import Tensor

from benchmarks.noise_robustness.baselines import (
    BASELINES,
    clap,
    elr,
    fit_baseline,
    gda,
    lp_plus,
    nlprompt,
    tip_adapter,
    transclip,
)
from benchmarks.noise_robustness.baselines.fitting import cross_validated
from benchmarks.noise_robustness.methods import Task
from benchmarks.noise_robustness.settings import LABELS, Recipe
from dspt.backbones import Backbone
from dspt.labels.inject import flip_labels

RECIPE = Recipe.of("project", epochs=12)


@pytest.fixture
def clean(tiny: Backbone) -> Task:
    return few(tiny)


@pytest.fixture
def noisy(clean: Task) -> Task:
    flips = flip_labels(clean.given.numpy(), 3, 0.25, "symmetric", "global", seed=2)
    return replace(clean, given=torch.from_numpy(np.array(flips.labels)))


@pytest.mark.parametrize("name", BASELINES)
def test_learns_from_noisy_labels_and_repeats_itself(name: str, clean: Task, noisy: Task) -> None:
    images = clean.features[:, 0]
    fitted = BASELINES[name](noisy, RECIPE)
    scores = fitted.score(images)
    assert scores.shape == (48, 3)
    assert not scores.requires_grad
    assert accuracy(fitted, images, clean.given) >= 0.75
    torch.testing.assert_close(BASELINES[name](noisy, RECIPE).score(images), scores)


def test_baselines_see_the_embeddings_alone(noisy: Task) -> None:
    wider = replace(noisy, features=torch.cat([noisy.features, 9 * noisy.features[..., :4]], 2))
    expected = fit_baseline("gda", noisy, RECIPE).score(noisy.features[:, 0])
    found = fit_baseline("gda", wider, RECIPE).score(wider.features[:, 0])
    torch.testing.assert_close(found, expected)


def test_each_has_a_label() -> None:
    assert set(BASELINES) < set(LABELS)


def test_the_method_of_the_documents_learns_beside_the_baselines(
    clean: Task, noisy: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[4] / "docs" / "benchmarks.md").read_text("utf-8")
    code, entry = re.search(
        r"```python\n(.*?def class_means.*?)```.*?Add `\"class_means\": (.*?)` to", text, re.DOTALL
    ).groups()  # type: ignore[union-attr]  # without a match the document has lost its example
    example: dict[str, Any] = {}
    exec(code, example)
    registered = eval(entry, {"class_means": SimpleNamespace(class_means=example["class_means"])})
    monkeypatch.setitem(BASELINES, "class_means", registered)
    fitted = fit_baseline("class_means", noisy, RECIPE)
    assert accuracy(fitted, clean.features[:, 0], clean.given) >= 0.75


def test_gda_is_the_equation_of_the_paper() -> None:
    features = torch.tensor([[1.0, 0.0], [3.0, 1.0], [-1.0, 1.0], [-3.0, 0.0]])
    labels = torch.tensor([0, 0, 2, 2])
    score = gda.discriminant(features, labels, 3)
    means = torch.tensor([[2.0, 0.5], [-2.0, 0.5]])
    centred = features - means[[0, 0, 1, 1]]
    covariance = centred.T @ centred / 3
    precision = 2 * torch.linalg.inv(3 * covariance + covariance.trace() * torch.eye(2))
    expected = features @ precision @ means.T - 0.5 * (means @ precision @ means.T).diagonal()
    torch.testing.assert_close(score(features)[:, [0, 2]], expected)
    assert (score(features)[:, 1] < -1e8).all()  # a class without images


def test_gda_with_one_image_per_class_is_the_nearest_mean() -> None:
    score = gda.discriminant(torch.eye(3), torch.arange(3), 3)
    assert score(torch.eye(3) + 0.1).argmax(1).tolist() == [0, 1, 2]


def test_gda_is_added_to_zero_shot(noisy: Task) -> None:
    images = noisy.features[:, 0]
    fitted = gda.gda_text(noisy)
    assert fitted.why is not None
    alpha = float(fitted.why.removeprefix("alpha = "))
    assert alpha in gda.ALPHAS
    text = noisy.logit_scale * images @ noisy.zero_shot.T
    torch.testing.assert_close(fitted.score(images), text + alpha * gda.gda(noisy).score(images))


def test_the_setting_that_agrees_best_out_of_sample_is_chosen(clean: Task) -> None:
    seen: list[int] = []

    def fit(features: Tensor, labels: Tensor):  # type: ignore[no-untyped-def]
        seen.append(len(labels))
        return lambda images, sign: sign * images @ clean.zero_shot.T

    assert cross_validated(clean, (-1.0, 1.0), fit)[0] == 1.0
    assert cross_validated(clean, (2.0, 1.0), fit)[0] == 2.0  # the first of equals
    assert sum(48 - n for n in seen[:5]) == 48


def test_the_cache_adds_the_labels_of_similar_images(clean: Task) -> None:
    images = torch.eye(16)[:1]
    keys = torch.stack([images[0], -images[0]])
    found = tip_adapter.cache_logits(clean, images, keys, torch.tensor([2, 1]), 3.0, 2.0)
    text = clean.logit_scale * images @ clean.zero_shot.T
    expected = torch.tensor([[0.0, 3 * math.exp(-4), 3.0]])
    torch.testing.assert_close(found - text, expected)


def test_claps_penalty_is_zero_shots_mean_probability_of_the_label(clean: Task) -> None:
    of = replace(clean, features=clean.features[:3], given=torch.tensor([0, 0, 2]))
    p = (of.logit_scale * of.features[:, 0] @ of.zero_shot.T).softmax(1)
    expected = torch.stack([(p[0, 0] + p[1, 0]) / 2, torch.tensor(0.0), p[2, 2]])
    torch.testing.assert_close(clap.penalties(of), expected)


def test_the_step_sizes_and_start_of_lp_plus() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    text = torch.tensor([[0.5, 0.0], [0.0, 1.0]])
    by_text = features @ text.T
    one_hot = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert lp_plus.step_sizes(features, by_text) == pytest.approx((4 * 3 / 2, 3 / (4 * 1.0)))
    assert lp_plus.start_alpha(by_text, one_hot).tolist() == [250 * 0.75] * 2


def test_elr_is_the_equation_of_the_paper() -> None:
    logits = torch.tensor([[0.0, math.log(3)]])
    targets = torch.zeros(2, 2)
    found = elr.elr_loss(logits, torch.tensor([0]), targets, torch.tensor([1]))
    assert targets.tolist() == [[0, 0], pytest.approx([0.3 * 0.25, 0.3 * 0.75])]
    inner = 0.3 * (0.25**2 + 0.75**2)
    assert float(found) == pytest.approx(math.log(4) + 3 * math.log(1 - inner))


def test_transported_labels_are_balanced() -> None:
    """All images prefer class 0; the half that does so least goes to class 1."""
    logits = torch.stack([torch.tensor([3.0, 2.0, 1.0, 0.5]), torch.zeros(4)], 1)
    assert nlprompt.transported(logits).tolist() == [0, 0, 1, 1]


def test_nlprompt_reports_how_many_labels_it_calls_clean(clean: Task) -> None:
    fitted = nlprompt.nlprompt(clean, Recipe.of("project", epochs=1))
    assert fitted.why is not None
    plan = nlprompt.transported(clean.logit_scale * clean.features[:, 0] @ clean.zero_shot.T)
    assert fitted.why == f"{int((plan == clean.given).sum())} called clean"


def test_transclip_uses_the_density_of_a_gaussian_and_the_nearest_neighbours() -> None:
    generator = torch.Generator().manual_seed(1)
    images, means = torch.randn(4, 3, generator=generator), torch.eye(3)[:2]
    variance = torch.tensor([0.5, 1.0, 2.0])
    normal = torch.distributions.Normal(means, variance.sqrt())
    exact = normal.log_prob(images[:, None]).sum(2)
    found = transclip._log_density(images, means, variance)
    torch.testing.assert_close(found - found[:1], exact - exact[:1])
    affinity = torch.tensor([[-math.inf, 4.0, 1.0, 2.0, 3.0]])
    assert transclip._nearest(affinity).tolist() == [[0, 4, 0, 2, 3]]


def test_transclip_assigns_each_image_whatever_their_order(noisy: Task) -> None:
    images = noisy.features[:, 0]
    found = transclip.assign(noisy, images)
    torch.testing.assert_close(found.sum(1), torch.ones(48))
    torch.testing.assert_close(transclip.assign(noisy, images.flip(0)).flip(0), found)
