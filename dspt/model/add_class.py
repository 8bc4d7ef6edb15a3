"""Classes added to a tuned model by their names alone: no photo of them, no tuning.

A prompt with a shared context needs the name only, and so does zero-shot. A blend also has class
means of images (`classifier.ensemble`), which a name does not give; without
them a new class loses to
almost any other, because their logits are larger than those of the text. Its row gets instead

- the two texts with the blend's weights,
- as means the combination of the tuned classes' means that predicts them best from zero-shot
  embeddings (ridge regression): a new class looks a little like those whose names are close,
- a bias of one standard deviation of the means' logits, which is where the best of the classes that
  an image does not show stands. To raise classes never seen above those seen by a constant is
  Chao et al.'s calibrated stacking, ECCV 2016.

How well (`python -m benchmarks.add_class`: three data sets, 0 to 50 % wrong labels, one class left
out at a time): 72 % of the old classes' images are right, 78 % before, and 72 % of the new one's.
Tuned anew with photos of it these are 76 and 78 %; zero-shot has 40 and 46 %, the tuned prompt
alone 65 and 41 %, and with its texts but no bias the new class has 6 %.

Where the old classes lose 4 points, the bias alone finds 50 % of the new class, with the texts
54 %, with the means too 60 %. A bias of 1.25 deviations finds more, at 4 points more of the old
classes. To fit it to each model, on its own classes left out in turn, was no better than the
constant. What tells several new classes from one another is their names alone: of two added at once
65 % are right (old classes 80 % before, 69 % after), of three 53 %; a lower bias for more of them
did not help.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

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
"""Of a new class, in standard deviations of the class means' logits."""
RIDGE = 0.3
"""Penalty of the regression, as a multiple of the mean squared length of the centred embeddings."""
_PARTS = ("zero_shot", "prompt", "class_means")
_LATER = " Added by name later, without photos, so not measured: "
_NAMED = 10


def add_classes(model: TunedModel, new: Mapping[str, str | None], backbone: Backbone) -> TunedModel:
    """`model` with further classes; the rows of those that it has stay as they are.

    new: name of each class -> its words in the prompt (None: the name, blanks for `_` and `-`).
    Classes added one after the other come out as those added at once. What was measured moves to
    `metrics["before"]`: it holds without the new classes only.

    Raises DatasetError with all that is wrong about the names, PromptTooLong, ConfigError where
    each class has a context of its own, ArtifactError where the weights of a blend are not told,
    and BackboneMismatch.
    """
    manifest = model.manifest
    if manifest.config.class_specific_context:
        raise ConfigError(
            "this model has a context of its own for each class, tuned on photos of that class; "
            "there is none for a class without photos. Tune with class_specific_context off, or "
            "with photos of the new classes",
            param="class_specific_context",
        )
    names, words = _checked(manifest.classes, manifest.class_words, new)
    FeatureClassifier(model, backbone)  # refuses another backbone
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
        blend = _extended_blend(model, extended.class_words, len(tuned), backbone)
    else:  # the words are all that it needs, but they have to fit
        FeatureClassifier(TunedModel(model.context, extended), backbone)
    return TunedModel(model.context, extended, blend)


def _checked(
    classes: Sequence[str], words: Sequence[str], new: Mapping[str, str | None]
) -> tuple[list[str], list[str]]:
    """Names and words of the new classes; DatasetError with everything that is wrong."""
    findings = Findings()
    by_name = {unicodedata.normalize("NFC", name.strip()): text for name, text in new.items()}
    if not by_name:
        findings.problem("", "no_classes", "name at least one class to add")
    if len(by_name) < len(new):
        findings.problem("", "same_class_words", "a class is named twice")
    if len(classes) + len(by_name) > (most := Limits().max_classes):
        findings.problem("", "too_many_classes", f"{most:,} classes are allowed in one model")
    findings.refuse_if_any()
    there = {confusable_key(words_of(name)): name for name in classes}
    for name in by_name:
        if known := there.get(confusable_key(words_of(name))):
            message = f"the model has this class already, as {printable(known)!r}"
            findings.problem(printable(name), "class_exists", message)
    findings.refuse_if_any()
    given = dict(zip(classes, words, strict=True))
    given |= {name: text for name, text in by_name.items() if text is not None}
    found = class_words([*classes, *by_name], given, findings)
    findings.refuse_if_any()
    return list(by_name), list(found[len(classes) :])


def _extended_blend(
    model: TunedModel, words: Sequence[str], tuned: int, backbone: Backbone
) -> LinearClassifier:
    """The blend with rows for all `words`; those before `tuned` have class means."""
    assert model.blend is not None
    zero_shot_weight, prompt_weight, means_weight = _weights(model.manifest.metrics)
    config = model.manifest.config
    prompts = PromptLearner(backbone, words, n_ctx=config.n_ctx, ctx_init=config.ctx_init)
    with torch.inference_mode():
        prompt = prompts.encode(model.context[None].to(prompts.device))[0].cpu()
    zero_shot = zero_shot_embeddings(backbone, words).cpu()
    text = backbone.logit_scale * (zero_shot_weight * zero_shot + prompt_weight * prompt)
    matrix, bias = model.blend.matrix.cpu(), model.blend.bias.cpu()
    there = len(matrix)
    shares = _closeness(zero_shot[:tuned], zero_shot[there:])
    means = shares @ (matrix[:tuned] - text[:tuned])
    return LinearClassifier(
        torch.cat([matrix, text[there:] + means]),
        torch.cat([bias, shares @ bias[:tuned] + BIAS * means_weight]),
    )


def _closeness(known: Tensor, new: Tensor) -> Tensor:
    """How much of each known class is in each new one: (C, D), (K, D) -> (K, C).

    Ridge regression on the centred embeddings, in its dual form. Rows sum to 0.
    """
    centre = known.mean(0)
    known, new = known - centre, new - centre
    kernel = known @ known.T
    kernel.diagonal().add_((RIDGE * kernel.diagonal().mean()).clamp_min(1e-6))
    found: Tensor = torch.linalg.solve(kernel, known @ new.T).T
    return found


def _weights(metrics: Mapping[str, Any]) -> tuple[float, float, float]:
    """Of the blend's parts. The file may be a stranger's."""
    blend = metrics.get("blend")
    found = [blend.get(part) if isinstance(blend, Mapping) else None for part in _PARTS]
    zero_shot, prompt, means = (each if isinstance(each, float) else math.nan for each in found)
    if not (zero_shot >= 0 and prompt >= 0 and 0 <= means < math.inf):
        raise ArtifactError(
            "this model does not tell the weights of its blend (metrics.blend), so what a name is "
            "worth in it is not known; tune it again"
        )
    return zero_shot, prompt, means


def _tuned(manifest: Manifest) -> int:
    """How many of the classes, the first, were tuned on photos; the others were added before.

    Two at least, whatever a stranger's file says.
    """
    added = manifest.metrics.get("added_classes")
    count = len(manifest.classes) - (len(added) if isinstance(added, list) else 0)
    return (
        count if count >= 2 and manifest.classes[count:] == (added or []) else len(manifest.classes)
    )


def _why(why: str, added: Sequence[str]) -> str:
    named = ", ".join(map(printable, added[:_NAMED])) + (", ..." if added[_NAMED:] else "")
    return why.partition(_LATER)[0][:1000] + _LATER + named[:500] + "."
