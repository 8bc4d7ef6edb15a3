"""Validation images calibrate the classifiers and take part in the choice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussians import SCALE, Task, task
from torch.nn import functional as F

from dspt.classifier.fit import Fitted, fit_classifiers
from dspt.classifier.linear import LinearClassifier
from dspt.classifier.validation import Validation
from dspt.config import ClassifierName
from dspt.data.splits import CrossFit


def fitted(of: Task, validation: Validation | None, classifier: ClassifierName = "blend") -> Fitted:
    everyone = np.ones(len(of.labels), np.bool_)
    crossfit = CrossFit(tuple(fold.numpy() for fold in of.folds), everyone)
    return fit_classifiers(
        of.prompts,
        of.zero_shot,
        of.features,
        of.labels,
        crossfit,
        logit_scale=SCALE,
        classifier=classifier,
        validation=validation,
    )


def validation_of(of: Task, every: int = 5) -> Validation:
    return Validation(of.test[::every], of.test_truth[::every])


def test_an_overconfident_classifier_gets_a_higher_temperature() -> None:
    of = task(1)
    images = validation_of(of)
    good = LinearClassifier.from_text(of.zero_shot, SCALE)
    good = good.with_temperature(images.temperature(good))
    assert images.temperature(good) == 1.0
    for factor in (0.25, 4.0):
        found = images.temperature(good.with_temperature(1 / factor))
        assert found == pytest.approx(factor, rel=0.3)
    # One wrong label in 200 does not decide.
    labels = images.labels.clone()
    labels[0] = (labels[0] + 1) % 5
    assert Validation(images.features, labels).temperature(good) == pytest.approx(1.0, rel=0.2)


def test_the_likelihood_counts_every_class_the_same() -> None:
    of = task(1)
    classifier = LinearClassifier.from_text(of.zero_shot, SCALE)
    images = validation_of(of)
    repeated = torch.where(images.labels == 0, 9, 1)
    uneven = Validation(
        images.features.repeat_interleave(repeated, 0), images.labels.repeat_interleave(repeated)
    )
    assert len(uneven) > 2 * len(images)
    expected = images.log_likelihood(classifier)
    assert uneven.log_likelihood(classifier) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("classifier", ["blend", "prompt"])
def test_all_classifiers_are_calibrated_and_none_predicts_otherwise(
    classifier: ClassifierName,
) -> None:
    of = task(1, rate=0.25)
    # Photos that are harder than those in training: all confidence is too high.
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(of.test[::5].shape, generator=generator)
    hard = Validation(F.normalize(of.test[::5] + 0.4 * noise, dim=1), of.test_truth[::5])
    before, after = fitted(of, None, classifier), fitted(of, hard, classifier)
    for name in ("zero_shot", "prompt", "tuned"):
        one, other = getattr(before, name), getattr(after, name)
        assert torch.equal(one.logits(of.test).argmax(1), other.logits(of.test).argmax(1))
        assert hard.log_likelihood(other) > hard.log_likelihood(one)
    assert after.temperatures["zero_shot"] > before.temperatures["zero_shot"]
    expected = LinearClassifier.from_text(of.zero_shot, SCALE / after.temperatures["zero_shot"])
    torch.testing.assert_close(after.zero_shot.matrix, expected.matrix)
    assert ("tuned" in after.temperatures) == (classifier == "prompt")
    assert torch.equal(before.ensemble.posterior, after.ensemble.posterior)
    assert " on 150 training images and on 200 images in val/ it gives " in after.why


def test_validation_images_can_turn_the_choice() -> None:
    """In val/ zero-shot is right; the training images alone say otherwise."""
    of = task(1, zero_shot_error=1.0, prompt_error=0.8)
    assert fitted(of, None, "prompt").served == "tuned"
    ours, theirs = of.zero_shot, of.prompts[0]
    # What zero-shot says less what the prompt says of it
    own = F.normalize(ours - 0.8 * theirs - (ours - 0.8 * theirs).mean(0), dim=1).repeat(100, 1)
    found = fitted(of, Validation(own, torch.arange(5).repeat(100)), "prompt")
    assert found.served == "zero_shot"
    few = Validation(own[:5], torch.arange(5))
    assert fitted(of, few, "prompt").served == "tuned"  # 5 images against 150


@pytest.mark.parametrize(("error", "served"), [(0.3, "zero_shot"), (3.0, "tuned")])
def test_one_image_per_class_is_checked_on_val(error: float, served: str) -> None:
    of = task(1, per_class=1, zero_shot_error=error, prompt_error=1.0)
    found = fitted(of, validation_of(of), "prompt")
    assert not found.ensemble.scored.any()
    assert found.served == served
    assert ". On 200 images in val/ it gives the recorded label a probability of " in found.why
