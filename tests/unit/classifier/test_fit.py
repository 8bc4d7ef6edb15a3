"""From class embeddings to the classifier that is served."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from gaussians import SCALE, Task, task
from torch import Tensor

from dspt.classifier.ensemble import fit_ensemble
from dspt.classifier.fit import Fitted, choose_served, fit_classifiers, held_out_logits
from dspt.classifier.linear import LinearClassifier
from dspt.classifier.weights import calibrated_log_likelihood
from dspt.config import ClassifierName
from dspt.data.splits import CrossFit
from dspt.errors import Cancelled


def crossfit_of(of: Task, train_mask: Tensor | None = None) -> CrossFit:
    """The folds that the task's prompts were made for."""
    mask = np.ones(len(of.labels), np.bool_) if train_mask is None else train_mask.numpy()
    return CrossFit(tuple(fold.numpy() for fold in of.folds), mask)


def fitted(
    of: Task,
    classifier: ClassifierName = "blend",
    fit: Tensor | None = None,
    scale: float = SCALE,
    kept: Tensor | None = None,
) -> Fitted:
    return fit_classifiers(
        of.prompts,
        of.zero_shot,
        of.features,
        of.labels,
        crossfit_of(of, fit),
        logit_scale=scale,
        classifier=classifier,
        kept=kept,
    )


def same(one: LinearClassifier, other: LinearClassifier) -> bool:
    return torch.equal(one.matrix, other.matrix) and torch.equal(one.bias, other.bias)


def test_hands_over_what_it_was_made_from() -> None:
    of = task(1, rate=0.25)
    found = fitted(of)
    assert same(found.zero_shot, LinearClassifier.from_text(of.zero_shot, SCALE))
    assert same(found.prompt, LinearClassifier.from_text(of.prompts[0], SCALE))
    torch.testing.assert_close(found.held_out_prompt, of.texts[1].held_out_logits)
    expected = fit_ensemble(of.features, of.labels, of.texts, of.folds)
    matrix = found.ensemble.classifier.matrix
    torch.testing.assert_close(matrix, expected.classifier.matrix, atol=1e-4, rtol=1e-5)
    assert same(found.tuned, found.ensemble.classifier.rounded())
    assert found.served == "tuned"
    assert found.served_classifier is found.tuned
    assert of.accuracy(found.tuned) > of.accuracy(of.prompts[0])


def test_the_prompt_alone_where_it_is_asked_for() -> None:
    of = task(1, rate=0.25)
    found = fitted(of, "prompt")
    assert found.tuned is found.prompt
    assert same(found.ensemble.classifier, fitted(of).ensemble.classifier)  # it judges the labels
    assert found.served == "tuned"
    assert found.served_classifier is found.prompt


def test_without_a_tuned_prompt_zero_shot_and_the_class_means_remain() -> None:
    of = task(1, rate=0.25)
    found = fit_classifiers(
        None, of.zero_shot, of.features, of.labels, crossfit_of(of), logit_scale=SCALE
    )
    assert same(found.prompt, found.zero_shot)
    torch.testing.assert_close(found.held_out_prompt, of.texts[0].held_out_logits)
    expected = fit_ensemble(of.features, of.labels, of.texts[:1], of.folds)
    # The logits of zero-shot differ by rounding.
    torch.testing.assert_close(found.tuned.matrix, expected.classifier.matrix, atol=1e-2, rtol=1e-3)
    assert len(found.ensemble.weights) == 2
    assert found.served == "tuned"
    assert found.why.startswith("Serving zero-shot with class means. In")
    assert of.accuracy(found.tuned) > of.accuracy(of.zero_shot)


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
    assert same(blend.tuned, blend.ensemble.classifier.rounded())


@pytest.mark.parametrize("classifier", ["blend", "prompt"])
def test_says_how_likely_both_make_the_labels(classifier: ClassifierName) -> None:
    of = task(1, rate=0.25)
    found = fitted(of, classifier)
    zero_shot, prompt = (
        calibrated_log_likelihood(t.held_out_logits, of.labels, found.ensemble.scored)
        for t in of.texts
    )
    tuned = found.ensemble.log_likelihood if classifier == "blend" else prompt
    assert found.why == (
        "Serving the tuned classifier. In cross-validation on 150 training images it gives the "
        f"recorded label a probability of {math.exp(tuned):.2f} on average; zero-shot gives "
        f"{math.exp(zero_shot):.2f}. (Geometric means, corrected for label noise.)"
    )


@pytest.mark.parametrize("rate", [0.0, 0.25])
def test_zero_shot_is_served_where_tuning_made_the_prompt_worse(rate: float) -> None:
    of = task(1, rate=rate, zero_shot_error=0.4, prompt_error=1.2)
    found = fitted(of, "prompt")
    assert found.served == "zero_shot"
    assert found.served_classifier is found.zero_shot
    assert found.why.startswith("Serving zero-shot. ")
    # the blend knows better than to listen to that prompt
    assert fitted(of).served == "tuned"


@pytest.mark.parametrize("classifier", ["blend", "prompt"])
def test_one_image_per_class_is_served_unchecked(classifier: ClassifierName) -> None:
    found = fitted(task(1, per_class=1), classifier)
    assert found.served == "tuned"
    assert "It was not checked against zero-shot" in found.why
    assert not found.ensemble.scored.any()


@pytest.mark.parametrize("classifier", ["blend", "prompt"])
def test_images_that_are_not_learned_from_change_nothing(classifier: ClassifierName) -> None:
    of = task(2, rate=0.5, swapped=True)
    fit = torch.arange(len(of.labels)) % 3 != 0
    expected = fitted(of, classifier, fit)
    features, labels = of.features.clone(), of.labels.clone()
    features[~fit] = of.zero_shot[0]
    labels[~fit] = (labels[~fit] + 1) % 5
    found = fitted(dataclasses.replace(of, features=features, labels=labels), classifier, fit)
    assert same(found.tuned, expected.tuned)
    assert same(found.served_classifier, expected.served_classifier)
    assert (found.served, found.why) == (expected.served, expected.why)
    assert f"on {int(fit.sum())} training images" in found.why
    # they are judged all the same, now as the class that they look like
    assert not torch.equal(found.ensemble.log_p[~fit], expected.ensemble.log_p[~fit])


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
            of.labels,
            crossfit_of(of),
            logit_scale=SCALE,
            should_stop=should_stop,
        )
    assert asked == calls + 1


@pytest.mark.parametrize("prompts", [True, False])
def test_reports_the_rounds_of_the_fit(prompts: bool) -> None:
    of = task(1, rate=0.25, per_class=4)
    steps: list[tuple[int, int]] = []
    fit_classifiers(
        of.prompts if prompts else None,
        of.zero_shot,
        of.features,
        of.labels,
        crossfit_of(of),
        logit_scale=SCALE,
        progress=lambda done, total: steps.append((done, total)),
    )
    total = 12 if prompts else 8
    assert steps == [(done, total) for done in range(total)]


def test_held_out_logits_come_from_the_prompt_of_the_fold() -> None:
    of = task(1)
    found = held_out_logits(of.prompts[1:], of.features, of.folds, 30.0)
    assert found.shape == (150, 5)
    for embeddings, rows in zip(of.prompts[1:], of.folds, strict=True):
        for row in rows.tolist():
            torch.testing.assert_close(found[row], 30.0 * embeddings @ of.features[row])


@pytest.mark.parametrize(
    ("tuned", "zero_shot", "expected"),
    [
        (0.75, 0.5, ("the tuned classifier", "0.75", "zero-shot", "0.50")),
        (0.5, 0.75, ("zero-shot", "0.75", "the tuned classifier", "0.50")),
        (0.5, 0.5, ("the tuned classifier", "0.50", "zero-shot", "0.50")),
        (1e-4, 2e-4, ("zero-shot", "0.0002", "the tuned classifier", "0.0001")),
        (1.0, 0.999, ("the tuned classifier", "1.00", "zero-shot", "1.00")),
    ],
)
def test_the_likelier_one_is_served_and_tuning_in_a_tie(
    tuned: float, zero_shot: float, expected: tuple[str, str, str, str]
) -> None:
    served, why = choose_served(math.log(tuned), math.log(zero_shot), 1700)
    name, own, other, others = expected
    assert served == ("tuned" if name == "the tuned classifier" else "zero_shot")
    assert why == (
        f"Serving {name}. In cross-validation on 1,700 training images it gives the recorded label "
        f"a probability of {own} on average; {other} gives {others}. (Geometric means, corrected "
        "for label noise.)"
    )


def test_a_classifier_without_a_tuned_prompt_is_not_called_tuned() -> None:
    for tuned, expected in (
        (0.75, "Serving zero-shot with class means. In"),
        (0.25, "; zero-shot with class means gives 0.25."),
    ):
        name = "zero-shot with class means"
        assert expected in choose_served(math.log(tuned), math.log(0.5), 9, name=name)[1]


def test_without_images_to_compare_on_tuned_is_served_unchecked() -> None:
    served, why = choose_served(math.nan, math.nan, 0)
    assert served == "tuned"
    assert why == (
        "Serving the tuned classifier. It was not checked against zero-shot: cross-validation "
        "needs at least two images per class to tune on, besides those held out to measure on. "
        "Add images to have it checked."
    )


def test_confirmed_labels_are_the_truth_and_their_share_of_wrong_labels_is_zero() -> None:
    of = task(3, rate=0.4)
    names = [str(row) for row in range(len(of.labels))]

    def review(kept: Tensor | None, labels: Tensor) -> tuple[Fitted, float]:
        found = fitted(dataclasses.replace(of, labels=labels), kept=kept)
        report = found.audit(names, list("abcde"), labels, of.features)
        assert report.noise_rate is not None
        assert not any(entry.suspect for entry in report.entries if entry.kept)
        return found, report.noise_rate.estimate

    half = torch.arange(len(of.labels)) % 2 == 0
    corrected = torch.where(half, of.truth, of.labels)
    found, rate = review(half, corrected)
    chosen = found.ensemble.posterior.gather(1, corrected[:, None])[:, 0]
    assert torch.equal(chosen[half], torch.ones(int(half.sum())))
    assert not torch.equal(chosen[~half], torch.ones(int((~half).sum())))
    planted = float((corrected != of.truth).float().mean())
    assert rate == pytest.approx(planted, abs=0.05)
    unconfirmed, _ = review(None, corrected)
    right, without = (
        int((each.ensemble.posterior.argmax(1) == of.truth).sum()) for each in (found, unconfirmed)
    )
    assert right >= without
    everything, rate = review(torch.ones_like(half), of.labels)
    assert rate == 0
    assert everything.audit(names, list("abcde"), of.labels, of.features).suspects == ()
