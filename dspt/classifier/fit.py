"""From tuned contexts to the classifier that is served, on cached features alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dspt.classifier.choice import Served, choose_served
from dspt.classifier.ensemble import (
    Ensemble,
    TextClassifier,
    calibrated_log_likelihood,
    fit_ensemble,
)
from dspt.classifier.linear import LinearClassifier
from dspt.classifier.temperature import fit_temperature
from dspt.config import ClassifierName
from dspt.data.crossfit import CrossFit


@dataclass(frozen=True)
class Fitted:
    """The classifiers that came out, and which of them is to be served."""

    zero_shot: LinearClassifier
    prompt: LinearClassifier
    """The tuned prompt alone."""
    temperatures: dict[Served, float]
    """What the logits of zero-shot, and of the tuned prompt if that is `tuned`, were divided by. A
    blend's are fitted as weights of its parts."""
    tuned: LinearClassifier
    """`prompt`, or its blend with zero-shot and the class means, as was asked for."""
    held_out_prompt: Tensor
    """(N, C): logits of the training images by prompts not tuned on them."""
    blend: Ensemble
    """Also where the prompt is served alone: it knows most about the labels."""
    served: Served
    why: str
    """A sentence with the figures of the choice."""

    @property
    def served_classifier(self) -> LinearClassifier:
        return self.tuned if self.served == "tuned" else self.zero_shot


def fit_classifiers(
    classes: Tensor,
    zero_shot: Tensor,
    features: Tensor,
    given: Tensor,
    crossfit: CrossFit,
    *,
    logit_scale: float,
    classifier: ClassifierName = "blend",
    should_stop: Callable[[], bool] = lambda: False,
) -> Fitted:
    """Ensemble, judge and choose. Raises Cancelled once `should_stop()` is true.

    classes: (1 + folds, C, D), class embeddings of the prompt to be served and of
    `crossfit.runs`; zero_shot: (C, D); features: (N, D) of the training rows, centre crops;
    given: (N,) their labels. All embeddings have unit length.
    """
    untuned = LinearClassifier.from_text(zero_shot, logit_scale)
    prompt = LinearClassifier.from_text(classes[0], logit_scale)
    held_out_prompt = crossfit.held_out_logits(classes[1:], features, logit_scale)
    texts = [
        TextClassifier(untuned.matrix, logit_scale * features @ zero_shot.T),
        TextClassifier(prompt.matrix, held_out_prompt),
    ]
    fit = torch.from_numpy(crossfit.learned).to(features.device)
    folds = [torch.from_numpy(fold).to(features.device) for fold in crossfit.judged]
    blend = fit_ensemble(features, given, texts, folds, fit, should_stop=should_stop)
    judged = blend.judged
    found = {
        name: fit_temperature(text.held_out[judged], given[judged], blend.noise)
        for name, text in zip(("zero_shot", "prompt"), texts, strict=True)
    }
    untuned, prompt = (
        untuned.with_temperature(found["zero_shot"]),
        prompt.with_temperature(found["prompt"]),
    )
    temperatures: dict[Served, float] = {"zero_shot": found["zero_shot"]}
    if classifier == "blend":
        tuned, evidence = blend.classifier, blend.log_likelihood
    else:
        tuned, evidence = prompt, calibrated_log_likelihood(held_out_prompt, given, judged)
        temperatures["tuned"] = found["prompt"]
    bar = calibrated_log_likelihood(texts[0].held_out, given, judged)
    served, why = choose_served(evidence, bar, int(judged.sum()))
    return Fitted(untuned, prompt, temperatures, tuned, held_out_prompt, blend, served, why)
