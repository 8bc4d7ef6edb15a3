"""From class embeddings to the classifier that is served."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from gaussians import SCALE, Task, task
from torch import Tensor

from dspt.classifier.ensemble import calibrated_log_likelihood, fit_ensemble
from dspt.classifier.fit import Fitted, fit_classifiers
from dspt.classifier.linear import LinearClassifier
from dspt.config import ClassifierName
from dspt.data.crossfit import CrossFit
from dspt.errors import Cancelled


def crossfit_of(of: Task, fit: Tensor | None = None) -> CrossFit:
    """A plan over all rows whose folds are those that the task's prompts were made for."""
    rows = np.arange(len(of.given))
    learned = rows if fit is None else np.flatnonzero(fit.numpy())
    plan = CrossFit.plan(rows, learned, of.given.numpy(), "dspt", 0.1, 1)
    return dataclasses.replace(plan, judged=tuple(fold.numpy() for fold in of.folds))


def fitted(
    of: Task,
    classifier: ClassifierName = "blend",
    fit: Tensor | None = None,
    scale: float = SCALE,
) -> Fitted:
    return fit_classifiers(
        of.prompts,
        of.zero_shot,
        of.features,
        of.given,
        crossfit_of(of, fit),
        logit_scale=scale,
        classifier=classifier,
    )


def same(one: LinearClassifier, other: LinearClassifier) -> bool:
    return torch.equal(one.matrix, other.matrix) and torch.equal(one.bias, other.bias)


def test_hands_over_what_it_was_made_from() -> None:
    of = task(1, rate=0.25)
    found = fitted(of)
    assert same(found.zero_shot, LinearClassifier.from_text(of.zero_shot, SCALE))
    assert same(found.prompt, LinearClassifier.from_text(of.prompts[0], SCALE))
    torch.testing.assert_close(found.held_out_prompt, of.texts[1].held_out)
    expected = fit_ensemble(of.features, of.given, of.texts, of.folds)
    torch.testing.assert_close(found.blend.classifier.matrix, expected.classifier.matrix)
    assert same(found.tuned, found.blend.classifier)
    assert found.served == "tuned"
    assert found.served_classifier is found.tuned
    assert of.accuracy(found.tuned) > of.accuracy(of.prompts[0])


def test_the_prompt_alone_where_it_is_asked_for() -> None:
    of = task(1, rate=0.25)
    found = fitted(of, "prompt")
    assert found.tuned is found.prompt
    assert same(found.blend.classifier, fitted(of).blend.classifier)  # it judges the labels
    assert found.served == "tuned"
    assert found.served_classifier is found.prompt


def test_what_is_not_a_blend_gets_a_temperature() -> None:
    of = task(1, rate=0.25)
    found = fitted(of, "prompt", scale=8 * SCALE)
    cold = found.temperatures
    assert set(cold) == {"zero_shot", "tuned"}
    assert min(cold.values()) > 2
    for name, classes, classifier in (
        ("zero_shot", of.zero_shot, found.zero_shot),
        ("tuned", of.prompts[0], found.tuned),
    ):
        expected = LinearClassifier.from_text(classes, 8 * SCALE / cold[name])  # type: ignore[index]
        torch.testing.assert_close(classifier.matrix, expected.matrix)
    blend = fitted(of, scale=8 * SCALE)
    assert set(blend.temperatures) == {"zero_shot"}
    assert same(blend.tuned, blend.blend.classifier)


@pytest.mark.parametrize("classifier", ["blend", "prompt"])
def test_says_how_likely_both_make_the_labels(classifier: ClassifierName) -> None:
    of = task(1, rate=0.25)
    found = fitted(of, classifier)
    zero_shot, prompt = (
        calibrated_log_likelihood(t.held_out, of.given, found.blend.judged) for t in of.texts
    )
    tuned = found.blend.log_likelihood if classifier == "blend" else prompt
    assert found.why.startswith("Tuned: on 150 training images, each judged by models that have")
    assert f"a probability of {math.exp(tuned):.3f} " in found.why
    assert found.why.endswith(f"zero-shot {math.exp(zero_shot):.3f}.")


@pytest.mark.parametrize("rate", [0.0, 0.25])
def test_zero_shot_is_served_where_tuning_made_the_prompt_worse(rate: float) -> None:
    of = task(1, rate=rate, zero_shot_error=0.4, prompt_error=1.2)
    found = fitted(of, "prompt")
    assert found.served == "zero_shot"
    assert found.served_classifier is found.zero_shot
    assert found.why.startswith("Zero-shot: ")
    # the blend knows better than to listen to that prompt
    assert fitted(of).served == "tuned"


@pytest.mark.parametrize("classifier", ["blend", "prompt"])
def test_one_image_per_class_is_served_unchecked(classifier: ClassifierName) -> None:
    found = fitted(task(1, per_class=1), classifier)
    assert found.served == "tuned"
    assert found.why.startswith("Tuned, unchecked: ")
    assert not found.blend.judged.any()


@pytest.mark.parametrize("classifier", ["blend", "prompt"])
def test_images_that_are_not_learned_from_change_nothing(classifier: ClassifierName) -> None:
    of = task(2, rate=0.5, swapped=True)
    fit = torch.arange(len(of.given)) % 3 != 0
    expected = fitted(of, classifier, fit)
    features, given = of.features.clone(), of.given.clone()
    features[~fit] = of.zero_shot[0]
    given[~fit] = (given[~fit] + 1) % 5
    found = fitted(dataclasses.replace(of, features=features, given=given), classifier, fit)
    assert same(found.tuned, expected.tuned)
    assert same(found.served_classifier, expected.served_classifier)
    assert (found.served, found.why) == (expected.served, expected.why)
    assert f"on {int(fit.sum())} training images" in found.why
    # they are judged all the same, now as the class that they look like
    assert not torch.equal(found.blend.log_p[~fit], expected.blend.log_p[~fit])


@pytest.mark.parametrize("calls", [0, 1, 11])
def test_can_be_cancelled_while_it_fits(calls: int) -> None:
    of = task(1, rate=0.25, per_class=4)
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > calls

    with pytest.raises(Cancelled, match="fitting"):
        fit_classifiers(
            of.prompts,
            of.zero_shot,
            of.features,
            of.given,
            crossfit_of(of),
            logit_scale=SCALE,
            should_stop=should_stop,
        )
    assert asked == calls + 1
