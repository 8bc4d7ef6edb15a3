"""Add classes to a tuned model by name, without photos and without tuning.

A prompt with a shared context needs only the name, and so does zero-shot. An ensemble also has
class means of images (`classifier.ensemble`), which a name does not provide. Without them a new
class loses to almost any other, because the logits of the means are larger than those of the text.
The row of a new class is the sum of

- its two text embeddings with the ensemble's weights,
- as means, the combination of the tuned classes' means that best predicts its zero-shot embedding
  from theirs (ridge regression): classes with similar names contribute most,
- a bias of one standard deviation of the means' logits, about the level of the best wrong class of
  an image. Raising unseen classes by a constant is the calibrated stacking of Chao et al.,
  ECCV 2016.

Accuracy (`python -m benchmarks.add_class`: three data sets, 0 to 50 % wrong labels, one class held
out at a time): 72 % on images of the old classes (78 % before) and 72 % on images of the new one.
Tuning with photos of the new class gives 76 and 78 %, zero-shot 40 and 46 %, the tuned prompt alone
65 and 41 %. The texts without the bias give the new class 6 %.

At a loss of 4 points on the old classes, the bias alone gives the new class 50 %, with the texts
54 %, and with the means 60 %. A bias of 1.25 deviations gives more, for another 4 points of the old
classes. Fitting the bias to each model, on its own classes held out in turn, was not better than
the constant. Several new classes are distinguished by their names alone: of two added at once 65 %
are right (old classes 80 % before, 69 % after), of three 53 %. A lower bias for more of them did
not help.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dspt.backbones.base import Backbone
from dspt.classifier.linear import LinearClassifier
from dspt.data.class_words import class_words, words_of
from dspt.data.findings import Findings
from dspt.data.hostile.limits import Limits
from dspt.data.names import confusable_key
from dspt.errors import ArtifactError, ConfigError
from dspt.kit.text import printable
from dspt.model.artifact import Manifest, TunedModel
from dspt.model.predict import FeatureClassifier
from dspt.prompt.learner import PromptLearner, zero_shot_embeddings

BIAS = 1.0
"""Bias of a new class, in standard deviations of the class means' logits."""
RIDGE = 0.3
"""Penalty of the regression, as a multiple of the mean squared length of the centred embeddings."""
_PARTS = ("zero_shot", "prompt", "class_means")
_LATER = " Added by name later, without photos, so not measured: "
_NAMED = 10


def add_classes(model: TunedModel, new: Mapping[str, str | None], backbone: Backbone) -> TunedModel:
    """Return `model` with further classes; the rows of the existing classes do not change.

    new: name of each class -> its words in the prompt (None: the name, with spaces for `_` and
    `-`). Adding classes one by one gives the same as adding them at once. The metrics move to
    `metrics["before"]`, because they apply to the previous classes only.

    Raises DatasetError with all invalid names, PromptTooLong, ConfigError for a class-specific
    context, ArtifactError if the weights of the ensemble are missing, and BackboneMismatch.
    """
    manifest = model.manifest
    if manifest.config.class_specific_context:
        raise ConfigError(
            "this model has a separate context for each class, which a class without photos cannot "
            "have. Tune with class_specific_context off, or with photos of the new classes",
            param="class_specific_context",
        )
    names, words = _checked(manifest.classes, manifest.class_words, new)
    FeatureClassifier(model, backbone)  # raises for another backbone
    tuned = manifest.classes[: _tuned(manifest)]
    added = [*manifest.classes[len(tuned) :], *names]
    extended = manifest.model_copy(
        update={
            "classes": [*tuned, *added],
            "class_words": [*manifest.class_words, *words],
            "why": _why(manifest.why, added),
            "metrics": {
                "added_classes": added,
                "before": manifest.metrics.get("before", manifest.metrics),
                "blend": manifest.metrics.get("blend"),
            },
        }
    )
    blend = None
    if model.blend is not None and manifest.served == "tuned":
        blend = _extended_ensemble(model, extended.class_words, len(tuned), backbone)
    else:  # raises PromptTooLong
        FeatureClassifier(TunedModel(model.context, extended), backbone)
    return TunedModel(model.context, extended, blend)


def _checked(
    classes: Sequence[str], words: Sequence[str], new: Mapping[str, str | None]
) -> tuple[list[str], list[str]]:
    """Return names and words of the new classes. Raises DatasetError with all problems."""
    findings = Findings()
    by_name = {unicodedata.normalize("NFC", name.strip()): text for name, text in new.items()}
    if not by_name:
        findings.problem("", "no_classes", "add at least one class")
    if len(by_name) < len(new):
        findings.problem("", "same_class_words", "class names must be distinct")
    if len(classes) + len(by_name) > (most := Limits().max_classes):
        findings.problem("", "too_many_classes", f"a model can have at most {most:,} classes")
    findings.refuse_if_any()
    there = {confusable_key(words_of(name)): name for name in classes}
    for name in by_name:
        if known := there.get(confusable_key(words_of(name))):
            message = f"the model already has this class as {printable(known)!r}"
            findings.problem(printable(name), "class_exists", message)
    findings.refuse_if_any()
    given = dict(zip(classes, words, strict=True))
    given |= {name: text for name, text in by_name.items() if text is not None}
    found = class_words([*classes, *by_name], given, findings)
    findings.refuse_if_any()
    return list(by_name), list(found[len(classes) :])


def _extended_ensemble(
    model: TunedModel, words: Sequence[str], tuned: int, backbone: Backbone
) -> LinearClassifier:
    """Return the ensemble with rows for all `words`; the first `tuned` have class means."""
    assert model.blend is not None
    zero_shot_weight, prompt_weight, means_weight = _weights(model.manifest.metrics)
    prompts = PromptLearner.of_config(backbone, words, model.manifest.config)
    with torch.inference_mode():
        prompt = prompts.encode(model.context[None].to(prompts.device))[0].cpu()
    zero_shot = zero_shot_embeddings(backbone, words).cpu()
    text = backbone.logit_scale * (zero_shot_weight * zero_shot + prompt_weight * prompt)
    matrix, bias = model.blend.matrix.cpu(), model.blend.bias.cpu()
    there = len(matrix)
    text = F.pad(text, (0, matrix.shape[1] - text.shape[1]))  # for penultimate features
    shares = _closeness(zero_shot[:tuned], zero_shot[there:])
    means = shares @ (matrix[:tuned] - text[:tuned])
    new = LinearClassifier(
        text[there:] + means, shares @ bias[:tuned] + BIAS * means_weight
    ).rounded()
    return LinearClassifier(torch.cat([matrix, new.matrix]), torch.cat([bias, new.bias]))


def _closeness(known: Tensor, new: Tensor) -> Tensor:
    """Return the weight of each known class in each new one: (C, D), (K, D) -> (K, C).

    Ridge regression on the centred embeddings, in dual form. Rows sum to 0.
    """
    centre = known.mean(0)
    known, new = known - centre, new - centre
    kernel = known @ known.T
    kernel.diagonal().add_((RIDGE * kernel.diagonal().mean()).clamp_min(1e-6))
    found: Tensor = torch.linalg.solve(kernel, known @ new.T).T
    return found


def _weights(metrics: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return the weights of the ensemble's parts from untrusted metrics. Raises ArtifactError."""
    blend = metrics.get("blend")
    found = [blend.get(part) if isinstance(blend, Mapping) else None for part in _PARTS]
    zero_shot, prompt, means = (each if isinstance(each, float) else math.nan for each in found)
    if not (zero_shot >= 0 and prompt >= 0 and 0 <= means < math.inf):
        raise ArtifactError(
            "this model does not contain the weights of its ensemble (metrics.blend), which a new "
            "class needs; tune the model again"
        )
    return zero_shot, prompt, means


def _tuned(manifest: Manifest) -> int:
    """Return how many classes were tuned on photos; they come before those added by name.

    The metrics are untrusted: a list of added classes that does not match is ignored.
    """
    added = manifest.metrics.get("added_classes")
    count = len(manifest.classes) - (len(added) if isinstance(added, list) else 0)
    return (
        count if count >= 2 and manifest.classes[count:] == (added or []) else len(manifest.classes)
    )


def _why(why: str, added: Sequence[str]) -> str:
    named = ", ".join(map(printable, added[:_NAMED])) + (", ..." if added[_NAMED:] else "")
    return why.partition(_LATER)[0][:1000] + _LATER + named[:500] + "."
