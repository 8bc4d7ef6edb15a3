"""Which labels to check: every file judged by models that were not tuned on it.

Cross-fitting (Northcutt et al., JAIR 2021) keeps a model from agreeing with a label just because
it has learned it. What such a model says of an image and the label that the image carries are put
together by a model of the label noise (dspt.labels.noise_model), whose posterior ranks the labels.

It is averaged over the optima that the ensemble climbs to, and nothing else that was tried ranks
better: mixtures with neighbours in feature space, suppression, zero-shot CLIP and cross-validated
logistic regression (benchmarks/audit_quality has the figures). Suspects are labels likelier wrong
than right; confident learning's thresholds (Northcutt et al., eq. 1) called 11 and 17 % of the
right labels of two sets of clothes wrong, where this rule called 0 to 6 % wrong on these and three
more sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from dspt.labels.noise_rate import NoiseRate, estimate_noise_rate
from dspt.prompt.losses import suppression

if TYPE_CHECKING:
    from dspt.classifier.fit import Fitted

CLEAR_OF_CHANCE = 3.0
"""Standard errors by which agreement with the given labels must exceed chance."""


@dataclass(frozen=True)
class AuditEntry:
    """One training file: how likely its given label is wrong, and what it may be instead."""

    file: str
    given: str
    suggested: str
    """The likeliest class other than the given one."""
    score: float
    """Probability that the given label is wrong, after all evidence."""
    p_tuned: float
    """Probability of the given class, by a classifier that has not seen this file."""
    p_zero_shot: float
    suppression: float
    """|DSPT gradient| / |cross-entropy gradient|: near 0, the label would be ignored as noise."""
    suspect: bool
    """Whether a person should look: the label is likelier wrong than right."""


@dataclass(frozen=True)
class AuditReport:
    """All training files, the most suspicious first."""

    can_tell: bool
    """False where the ranking is no better than chance; then nothing is called suspect."""
    why: str
    entries: tuple[AuditEntry, ...]
    noise_rate: NoiseRate | None = None
    """Share of wrong labels; None where nothing can be told."""

    @property
    def suspects(self) -> tuple[AuditEntry, ...]:
        return tuple(entry for entry in self.entries if entry.suspect)

    def to_dict(self) -> dict[str, Any]:
        return {
            "can_tell": self.can_tell,
            "why": self.why,
            "noise_rate": asdict(self.noise_rate) if self.noise_rate else None,
            "suspects": len(self.suspects),
            "entries": [asdict(entry) for entry in self.entries],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What to_dict gave. Audits from before there was a noise rate have none."""
        entries = tuple(AuditEntry(**entry) for entry in data["entries"])
        rate = data.get("noise_rate")
        return cls(data["can_tell"], data["why"], entries, NoiseRate(**rate) if rate else None)


def audit_fitted(
    files: Sequence[str],
    classes: Sequence[str],
    given: Tensor,
    features: Tensor,
    fitted: Fitted,
) -> AuditReport:
    """Rank the training files by what the classifiers fitted to them have found.

    given: (N,) class of each file; features: (N, D), unit length, as they were fitted on.
    """
    blend = fitted.blend
    judged = blend.judged
    return audit_labels(
        files,
        classes,
        given,
        log_p=blend.log_p,
        posterior=blend.averaged_posterior,
        zero_shot=fitted.zero_shot.probabilities(features),
        suppressed=suppression(fitted.held_out_prompt, given),
        noise_rate=estimate_noise_rate(
            blend.log_p[judged], blend.posterior[judged], given[judged], blend.noise
        ),
    )


def audit_labels(
    files: Sequence[str],
    classes: Sequence[str],
    given: Tensor,
    *,
    log_p: Tensor,
    posterior: Tensor,
    zero_shot: Tensor,
    suppressed: Tensor,
    noise_rate: NoiseRate | None = None,
) -> AuditReport:
    """Rank the training files by how likely their given label is wrong.

    given: (N,) class of each file; log_p: (N, C) log probabilities by a classifier that has not
    seen the file; posterior: (N, C) probability of the true class after the given label, too;
    zero_shot: (N, C) probabilities; suppressed: (N,) `suppression` of the tuned prompt;
    noise_rate: to be reported if anything can be told.
    """
    if not files:
        return AuditReport(False, "there are no labels to judge.", ())
    p_right = _of_given(posterior, given)
    p_tuned = _of_given(log_p.exp(), given)
    p_zero_shot = _of_given(zero_shot, given)
    suggested = posterior.scatter(1, given[:, None], -1).argmax(1)
    can_tell, why = _better_than_chance(log_p, given)
    if not can_tell:
        noise_rate = None
    if noise_rate is not None:
        why += (
            f" About {noise_rate.estimate:.0%} of the labels are wrong; with a probability of 90 % "
            f"it is between {noise_rate.low:.0%} and {noise_rate.high:.0%}."
        )
    suspect = (p_right < 0.5) & can_tell
    if suspect.float().mean() > 0.5:
        why += (
            " More than half of the labels are in question: either most are wrong, or the classes "
            "are too hard for the backbone. Look at some before you act on the list."
        )
    # Labels that the posterior holds for equally right, such as those of images that no other
    # image of their class can vouch for, are in the order of the classifier's own probability.
    order = p_tuned.argsort(stable=True)
    order = order[p_right[order].argsort(stable=True)]
    entries = tuple(
        AuditEntry(
            file=files[i],
            given=classes[int(given[i])],
            suggested=classes[int(suggested[i])],
            score=1 - float(p_right[i]),
            p_tuned=float(p_tuned[i]),
            p_zero_shot=float(p_zero_shot[i]),
            suppression=float(suppressed[i]),
            suspect=bool(suspect[i]),
        )
        for i in order.tolist()
    )
    return AuditReport(can_tell, why, entries, noise_rate)


def _of_given(probabilities: Tensor, given: Tensor) -> Tensor:
    return probabilities.gather(1, given[:, None]).squeeze(1)


def _better_than_chance(probabilities: Tensor, given: Tensor) -> tuple[bool, str]:
    """Whether models that did not see a label agree with it more often than chance would."""
    predicted = probabilities.argmax(1)
    n, n_classes = probabilities.shape
    agreement = float((predicted == given).float().mean())
    share_given = torch.bincount(given, minlength=n_classes).double() / n
    share_predicted = torch.bincount(predicted, minlength=n_classes).double() / n
    chance = float((share_given * share_predicted).sum())
    error = (chance * (1 - chance) / n) ** 0.5
    said = f"{agreement:.1%} of the given labels, where chance would give {chance:.1%}"
    if agreement - chance <= CLEAR_OF_CHANCE * error:
        return False, (
            f"models that were not tuned on an image agree with {said}: the ranking is no better "
            "than chance, so no label is called wrong. More images, cleaner labels, class words "
            "that describe what is seen, or a stronger backbone would help."
        )
    return True, f"models that were not tuned on an image agree with {said}."
